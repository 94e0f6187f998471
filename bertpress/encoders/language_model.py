"""Masked-language-model heads on the hidden states that the caller chooses, such as those of the masked tokens alone.

A head is by far the widest part of a small model: for a vocabulary of 30,000 and 15 % masked tokens, running it on
those alone saves more than the encoder costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bertpress.encoders import encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def masked_lm_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """What the model's own forward pass makes of the encoder's output.

    Args:
        model: with a masked-language-model head.
        hidden: last hidden states of any number of tokens, shape (..., width).

    Returns:
        logits, shape (..., vocabulary).
    """
    encoder = encoder_of(model.config)
    for name in encoder.head_parts(model, "masked-lm"):
        part = model.get_submodule(name)
        hidden = part(hidden, model.get_input_embeddings()) if name in encoder.given_embeddings else part(hidden)
    return hidden
