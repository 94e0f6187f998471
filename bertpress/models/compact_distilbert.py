"""DistilBERT with layers of unequal shape and token reduction; saved beside the weights of such a model."""

from __future__ import annotations

from typing import Any

from transformers import DistilBertConfig
from transformers.models.distilbert.modeling_distilbert import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    DistilBertPreTrainedModel,
)

from .compact import CompactChoice, CompactEncoder, CompactHead
from .layer_shapes import Places
from .multihop import MultiHopHead


class CompactDistilBertConfig(DistilBertConfig):
    """The stock configuration and what makes a model compact."""

    model_type = "compact_distilbert"
    layer_shapes: list[dict[str, Any]] | None = None
    """for each layer its heads, its intermediate_size, and the layer of the start model that it comes from"""
    token_reduction: dict[str, Any] | None = None
    """the fields of `Settings`"""


class CompactDistilBertModel(CompactEncoder, DistilBertModel):
    """The bare encoder."""

    config_class = CompactDistilBertConfig
    places = Places(
        layers="transformer.layer",
        attention="attention",
        projections=("q_lin", "k_lin", "v_lin"),
        heads="n_heads",
        attention_output="attention.out_lin",
        inner="ffn.lin1",
        outer="ffn.lin2",
    )


class CompactDistilBertForSequenceClassification(CompactHead, DistilBertForSequenceClassification):
    """A class or a score for each row."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel
    reads_first_token = True


class CompactDistilBertForMaskedLM(CompactHead, DistilBertForMaskedLM):
    """A word for each token."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel


class CompactDistilBertForTokenClassification(CompactHead, DistilBertForTokenClassification):
    """A class for each token."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel


class CompactDistilBertForQuestionAnswering(CompactHead, DistilBertForQuestionAnswering):
    """A span of tokens for each row."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel


class CompactDistilBertForMultipleChoice(CompactChoice, DistilBertForMultipleChoice):
    """A score for each option."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel


class CompactDistilBertForMultiHop(MultiHopHead, DistilBertPreTrainedModel):
    """An answer from several paragraphs, and the sentences that it rests on, for each row."""

    config_class = CompactDistilBertConfig
    encoder_class = CompactDistilBertModel
