"""Whether a checkpoint holds what its architecture runs, and nothing else that its answers depend on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertpress.encoders import encoder_of
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_weights(name: str, model: PreTrainedModel, head: str | None, info: Mapping[str, Any]) -> list[str]:
    """The weights that a checkpoint lacks, which are those of its head.

    Further layers of the same kind may be left out: so one loads the lower layers of a model.

    Args:
        info: what transformers says of the loading.

    Raises:
        RequestError: a decoder, or an encoder that lacks weights or has others than its architecture.
    """
    if getattr(model.config, "is_decoder", False):
        raise RequestError(f"{name} is a decoder (is_decoder in its config.json); give an encoder.")
    if unknown := _unknown(model, info["unexpected_keys"]):
        raise RequestError(
            f"{name} has {len(unknown)} encoder weights that a {model.config.model_type} has no place for (the first: "
            f"{unknown[0]}), and would answer otherwise without them; bertpress import opens checkpoints of the "
            "original programs."
        )
    missing = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    prefix = f"{model.base_model_prefix}." if head else ""
    encoder = [key for key in missing if key.startswith(prefix) and "pooler" not in key]
    if encoder:
        raise RequestError(
            f"{name} lacks {len(encoder)} encoder weights that its config.json asks for (the first: {encoder[0]}); "
            "give a complete model."
        )
    return missing


def _unknown(model: PreTrainedModel, unexpected: set[str]) -> list[str]:
    """Of the weights that were not loaded, those inside of the encoder that are none of a further layer."""
    holder = encoder_of(model.config).layers.partition(".")[0]
    places = {re.sub(r"\d+", "0", key) for key in model.base_model.state_dict()}
    keys = sorted(key.removeprefix(f"{model.base_model_prefix}.") for key in unexpected)
    return [key for key in keys if key.startswith(f"{holder}.") and re.sub(r"\d+", "0", key) not in places]
