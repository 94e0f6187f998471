"""ELECTRA with layers of unequal shape and token reduction; saved beside the weights of such a model."""

from __future__ import annotations

from typing import Any

from transformers import ElectraConfig
from transformers.models.electra.modeling_electra import (
    ElectraForMaskedLM,
    ElectraForMultipleChoice,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
    ElectraPreTrainedModel,
)

from .compact import CompactChoice, CompactEncoder, CompactHead
from .multihop import MultiHopHead


class CompactElectraConfig(ElectraConfig):
    """The stock configuration and what makes a model compact."""

    model_type = "compact_electra"
    layer_shapes: list[dict[str, Any]] | None = None
    """for each layer its heads, its intermediate_size, and the layer of the start model that it comes from"""
    token_reduction: dict[str, Any] | None = None
    """the fields of `Settings`"""


class CompactElectraModel(CompactEncoder, ElectraModel):
    """The bare encoder."""

    config_class = CompactElectraConfig


class CompactElectraForSequenceClassification(CompactHead, ElectraForSequenceClassification):
    """A class or a score for each row."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel
    reads_first_token = True


class CompactElectraForMaskedLM(CompactHead, ElectraForMaskedLM):
    """A word for each token."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel


class CompactElectraForTokenClassification(CompactHead, ElectraForTokenClassification):
    """A class for each token."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel


class CompactElectraForQuestionAnswering(CompactHead, ElectraForQuestionAnswering):
    """A span of tokens for each row."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel


class CompactElectraForMultipleChoice(CompactChoice, ElectraForMultipleChoice):
    """A score for each option."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.electra.token_outputs = config.summary_type != "first"


class CompactElectraForMultiHop(MultiHopHead, ElectraPreTrainedModel):
    """An answer from several paragraphs, and the sentences that it rests on, for each row."""

    config_class = CompactElectraConfig
    encoder_class = CompactElectraModel
