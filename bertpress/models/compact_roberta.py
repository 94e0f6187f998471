"""RoBERTa with layers of unequal shape and token reduction; saved beside the weights of such a model."""

from __future__ import annotations

from typing import Any

from transformers import RobertaConfig
from transformers.models.roberta.modeling_roberta import (
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    RobertaPreTrainedModel,
)

from .compact import CompactChoice, CompactEncoder, CompactHead
from .multihop import MultiHopHead


class CompactRobertaConfig(RobertaConfig):
    """The stock configuration and what makes a model compact."""

    model_type = "compact_roberta"
    layer_shapes: list[dict[str, Any]] | None = None
    """for each layer its heads, its intermediate_size, and the layer of the start model that it comes from"""
    token_reduction: dict[str, Any] | None = None
    """the fields of `Settings`"""


class CompactRobertaModel(CompactEncoder, RobertaModel):
    """The bare encoder."""

    config_class = CompactRobertaConfig
    counts_tokens = True


class CompactRobertaForSequenceClassification(CompactHead, RobertaForSequenceClassification):
    """A class or a score for each row."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel
    reads_first_token = True


class CompactRobertaForMaskedLM(CompactHead, RobertaForMaskedLM):
    """A word for each token."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel


class CompactRobertaForTokenClassification(CompactHead, RobertaForTokenClassification):
    """A class for each token."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel


class CompactRobertaForQuestionAnswering(CompactHead, RobertaForQuestionAnswering):
    """A span of tokens for each row."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel


class CompactRobertaForMultipleChoice(CompactChoice, RobertaForMultipleChoice):
    """A score for each option."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel


class CompactRobertaForMultiHop(MultiHopHead, RobertaPreTrainedModel):
    """An answer from several paragraphs, and the sentences that it rests on, for each row."""

    config_class = CompactRobertaConfig
    encoder_class = CompactRobertaModel
