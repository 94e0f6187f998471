"""BERT with layers of unequal shape and token reduction; saved beside the weights of such a model."""

from __future__ import annotations

from typing import Any

from transformers import BertConfig
from transformers.models.bert.modeling_bert import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertPreTrainedModel,
)

from .compact import CompactChoice, CompactEncoder, CompactHead
from .multihop import MultiHopHead


class CompactBertConfig(BertConfig):
    """The stock configuration and what makes a model compact."""

    model_type = "compact_bert"
    layer_shapes: list[dict[str, Any]] | None = None
    """for each layer its heads, its intermediate_size, and the layer of the start model that it comes from"""
    token_reduction: dict[str, Any] | None = None
    """the fields of `Settings`"""


class CompactBertModel(CompactEncoder, BertModel):
    """The bare encoder."""

    config_class = CompactBertConfig


class CompactBertForSequenceClassification(CompactHead, BertForSequenceClassification):
    """A class or a score for each row."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel
    reads_first_token = True


class CompactBertForMaskedLM(CompactHead, BertForMaskedLM):
    """A word for each token."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel


class CompactBertForTokenClassification(CompactHead, BertForTokenClassification):
    """A class for each token."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel


class CompactBertForQuestionAnswering(CompactHead, BertForQuestionAnswering):
    """A span of tokens for each row."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel


class CompactBertForMultipleChoice(CompactChoice, BertForMultipleChoice):
    """A score for each option."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel


class CompactBertForMultiHop(MultiHopHead, BertPreTrainedModel):
    """An answer from several paragraphs, and the sentences that it rests on, for each row."""

    config_class = CompactBertConfig
    encoder_class = CompactBertModel
