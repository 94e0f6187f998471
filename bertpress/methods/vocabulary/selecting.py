"""A model with the rows of some tokens alone: in its embeddings and, tied or not, in a language model's outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bertpress.encoders.compact import new_model
from bertpress.methods.vocabulary.rewriting import numbering

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def ids_of_config(config: PretrainedConfig) -> dict[str, int | list[int]]:
    """Fields of a configuration that name tokens by their ids."""
    named = {name: value for name, value in config.to_dict().items() if name.endswith("_token_id")}
    return {name: value for name, value in named.items() if value is not None}


def with_tokens(config: PretrainedConfig, kept: Sequence[int]) -> PretrainedConfig:
    """A copy of `config` for these tokens alone; ids that it names follow, None where the token is gone."""
    numbers, result = numbering(kept), copy.deepcopy(config)
    result.vocab_size = len(kept)
    for name, value in ids_of_config(config).items():
        setattr(result, name, [numbers[each] for each in value] if isinstance(value, list) else numbers.get(value))
    reduction: Mapping[str, Any] = getattr(config, "token_reduction", None) or {}
    if "always_keep" in reduction:
        result.token_reduction = {**reduction, "always_keep": [numbers[each] for each in reduction["always_keep"]]}
    return result


def select_tokens(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A copy of `model` that knows these tokens alone; to them it says what it said before.

    Tensors that have another size in the result are those with an entry for each token.

    Args:
        kept: old ids, rising.
    """
    result = new_model(model, with_tokens(model.config, kept))
    chosen, before = torch.tensor(kept), model.state_dict()
    after = {}
    for name, value in result.state_dict().items():
        after[name] = before[name].cpu()
        for dimension, (own, other) in enumerate(zip(value.shape, before[name].shape, strict=True)):
            if own != other:
                after[name] = after[name].index_select(dimension, chosen)
    result.load_state_dict(after)
    return result.to(model.device).train(model.training)
