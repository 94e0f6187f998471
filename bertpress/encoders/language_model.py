"""The head of a masked-language model on hidden states that were chosen first, so that logits exist only for those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LanguageHead:
    """Names of one architecture; paths start at the whole model."""

    modules: tuple[str, ...]
    """applied one after the other to the encoder's last hidden state"""
    takes_embeddings: bool = False
    """the module also wants the embedding of words, with which it multiplies"""


LANGUAGE_HEADS: dict[str, tuple[LanguageHead, ...]] = {
    "bert": (LanguageHead(("cls",)),),
    "roberta": (LanguageHead(("lm_head",)),),
    "xlm-roberta": (LanguageHead(("lm_head",)),),
    "distilbert": (LanguageHead(("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector")),),
    "electra": (LanguageHead(("generator_predictions", "generator_lm_head")),),
    "modernbert": (LanguageHead(("head", "decoder")),),
    # two forms, told apart by the configuration's field `legacy`
    "deberta-v2": (LanguageHead(("cls",)), LanguageHead(("lm_predictions",), takes_embeddings=True)),
}
"""Architecture to its heads; a model has the first whose modules it has."""


def language_head_of(model: PreTrainedModel) -> LanguageHead:
    """The row of a masked-language model.

    Raises:
        RequestError: an architecture without a row.
    """
    kind = model.config.model_type
    for head in LANGUAGE_HEADS.get(kind, ()):
        if all(hasattr(model, name) for name in head.modules):
            return head
    raise RequestError(
        f"Masked-language models of type '{kind}' ({type(model).__name__}) are not supported; "
        f"supported: {', '.join(LANGUAGE_HEADS)}."
    )


def masked_lm_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits over the vocabulary, shape (..., vocabulary), of last hidden states of shape (..., width).

    Args:
        model: a masked-language model.
        hidden: rows of the last hidden state of `model.base_model`; any choice of positions.
    """
    head = language_head_of(model)
    for name in head.modules:
        module = model.get_submodule(name)
        hidden = module(hidden, model.get_input_embeddings()) if head.takes_embeddings else module(hidden)
    return hidden
