"""XLM-R with layers of unequal shape and token reduction; saved beside the weights of such a model."""

from __future__ import annotations

from typing import Any

from transformers import XLMRobertaConfig
from transformers.models.xlm_roberta.modeling_xlm_roberta import (
    XLMRobertaForMaskedLM,
    XLMRobertaForMultipleChoice,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
    XLMRobertaPreTrainedModel,
)

from .compact import CompactChoice, CompactEncoder, CompactHead
from .multihop import MultiHopHead


class CompactXLMRobertaConfig(XLMRobertaConfig):
    """The stock configuration and what makes a model compact."""

    model_type = "compact_xlm_roberta"
    layer_shapes: list[dict[str, Any]] | None = None
    """for each layer its heads, its intermediate_size, and the layer of the start model that it comes from"""
    token_reduction: dict[str, Any] | None = None
    """the fields of `Settings`"""


class CompactXLMRobertaModel(CompactEncoder, XLMRobertaModel):
    """The bare encoder."""

    config_class = CompactXLMRobertaConfig
    counts_tokens = True


class CompactXLMRobertaForSequenceClassification(CompactHead, XLMRobertaForSequenceClassification):
    """A class or a score for each row."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel
    reads_first_token = True


class CompactXLMRobertaForMaskedLM(CompactHead, XLMRobertaForMaskedLM):
    """A word for each token."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel


class CompactXLMRobertaForTokenClassification(CompactHead, XLMRobertaForTokenClassification):
    """A class for each token."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel


class CompactXLMRobertaForQuestionAnswering(CompactHead, XLMRobertaForQuestionAnswering):
    """A span of tokens for each row."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel


class CompactXLMRobertaForMultipleChoice(CompactChoice, XLMRobertaForMultipleChoice):
    """A score for each option."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel


class CompactXLMRobertaForMultiHop(MultiHopHead, XLMRobertaPreTrainedModel):
    """An answer from several paragraphs, and the sentences that it rests on, for each row."""

    config_class = CompactXLMRobertaConfig
    encoder_class = CompactXLMRobertaModel
