"""Where each architecture keeps its parts: one row of names per architecture, no code of transformers copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bertpress.errors import RequestError
from bertpress.models import architecture_of, is_compact

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Encoder:
    """Names of one architecture; paths start at the bare encoder (`model.base_model`), with or without a head."""

    layers: str
    """the list of layers that the encoder walks over"""
    depth_field: str
    """the configuration's number of layers"""
    heads: Mapping[str, tuple[str, ...]]
    """kind of head to the model's modules that are made anew with it, in the order of the forward pass; where a
    configuration decides between several, all are named and a model has one of them"""
    given_embeddings: tuple[str, ...] = ()
    """modules of heads that are called with the input embeddings too"""
    attention_dropout: str = "attention_probs_dropout_prob"
    """the configuration's dropout inside of attention"""
    positions_after: str | None = None
    """the configuration's row of the position table after which positions begin, where they do not begin at row 0"""
    per_layer: tuple[str, ...] = ()
    """lists of the configuration with an entry for each layer; None instead of a list says nothing of them"""
    first_layer: str | None = None
    """how layer 0 is built otherwise than the others, where it is"""
    inner_width: str = "intermediate_size"
    """the configuration's width inside of the feed-forward blocks"""
    other_widths: tuple[str, ...] = ()
    """further widths of the configuration that follow its hidden size where they equal it"""
    score_terms: str | None = None
    """what attention scores have besides products of queries and keys, where they have"""

    def depth(self, config: PretrainedConfig) -> int:
        """Number of layers."""
        return int(getattr(config, self.depth_field))

    def first_position(self, config: PretrainedConfig) -> int:
        """Row of the position table at which positions begin."""
        return 0 if self.positions_after is None else int(getattr(config, self.positions_after)) + 1

    def positions(self, config: PretrainedConfig) -> int:
        """Longest input in tokens, special ones included."""
        return int(config.max_position_embeddings) - self.first_position(config)

    def layer_list(self, model: PreTrainedModel) -> nn.Module:
        """The module that the encoder walks over."""
        layers: nn.Module = model.base_model.get_submodule(self.layers)
        return layers

    def set_layer_list(self, model: PreTrainedModel, layers: nn.Module) -> None:
        """Let the encoder walk over `layers` instead."""
        model.base_model.set_submodule(self.layers, layers)

    def head_parts(self, model: PreTrainedModel, head: str | None) -> list[str]:
        """Names of the modules of that kind of head in `model`; a bare model (None) has none."""
        return [part for part in self.heads[head] if hasattr(model, part)] if head else []

    def check_places(self, origins: Sequence[Sequence[int]]) -> None:
        """Refuse layers that would stand where the architecture builds them otherwise.

        Args:
            origins: for each layer of the result, the layers it is made of.

        Raises:
            RequestError: names what is special about the first layer.
        """
        if self.first_layer is None:
            return
        first, *others = (tuple(origin) for origin in origins)
        if first != (0,) or any(0 in origin for origin in others):
            made_of = ", ".join("+".join(map(str, origin)) for origin in (first, *others))
            raise RequestError(
                f"{self.first_layer}, so the first layer of the result, and no other, must be made of layer 0 alone; "
                f"got layers made of {made_of}."
            )


_MULTI_HOP = ("qa_outputs", "qa_classifier", "sent_linear", "sent_classifier")
_ROBERTA = Encoder(
    layers="encoder.layer",
    depth_field="num_hidden_layers",
    heads={
        "sequence-classification": ("classifier",),
        "token-classification": ("classifier",),
        "question-answering": ("qa_outputs",),
        "multiple-choice": ("classifier",),
        "multi-hop": _MULTI_HOP,
        "masked-lm": ("lm_head",),
    },
    positions_after="pad_token_id",
)

ENCODERS: dict[str, Encoder] = {
    "bert": Encoder(
        layers="encoder.layer",
        depth_field="num_hidden_layers",
        heads={
            "sequence-classification": ("classifier",),
            "token-classification": ("classifier",),
            "question-answering": ("qa_outputs",),
            "multiple-choice": ("classifier",),
            "multi-hop": _MULTI_HOP,
            "masked-lm": ("cls",),
        },
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Encoder(
        layers="transformer.layer",
        depth_field="n_layers",
        heads={
            "sequence-classification": ("pre_classifier", "classifier"),
            "token-classification": ("classifier",),
            "question-answering": ("qa_outputs",),
            "multiple-choice": ("pre_classifier", "classifier"),
            "multi-hop": _MULTI_HOP,
            "masked-lm": ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
        },
        attention_dropout="attention_dropout",
        inner_width="hidden_dim",
    ),
    "electra": Encoder(
        layers="encoder.layer",
        depth_field="num_hidden_layers",
        heads={
            "sequence-classification": ("classifier",),
            "token-classification": ("classifier",),
            "question-answering": ("qa_outputs",),
            "multiple-choice": ("sequence_summary", "classifier"),
            "multi-hop": _MULTI_HOP,
            "masked-lm": ("generator_predictions", "generator_lm_head"),
        },
        other_widths=("embedding_size",),
    ),
    "modernbert": Encoder(
        layers="layers",
        depth_field="num_hidden_layers",
        heads={
            # what stands below it was trained with the masked-language model, like BERT's pooler
            "sequence-classification": ("classifier",),
            "token-classification": ("classifier",),
            "question-answering": ("classifier",),
            "multiple-choice": ("classifier",),
            "masked-lm": ("head", "decoder"),
        },
        attention_dropout="attention_dropout",
        per_layer=("layer_types",),
        first_layer="layer 0 of a ModernBERT has no norm before its attention",
    ),
    "deberta-v2": Encoder(
        layers="encoder.layer",
        depth_field="num_hidden_layers",
        heads={
            "sequence-classification": ("pooler", "classifier"),
            "token-classification": ("classifier",),
            "question-answering": ("qa_outputs",),
            "multiple-choice": ("pooler", "classifier"),
            "masked-lm": ("cls", "lm_predictions"),  # the second where the configuration's `legacy` is off
        },
        given_embeddings=("lm_predictions",),
        other_widths=("pooler_hidden_size", "embedding_size"),
        score_terms="products of content with relative positions",
    ),
}

REFUSED: dict[str, str] = {
    "albert": "its layers share their parameters, so there are no modules to replace and none to leave out",
}
"""Why an architecture cannot be supported, where it is not just that nobody has written its row."""


def encoder_of(config: PretrainedConfig) -> Encoder:
    """The row of the architecture of `config`, of which a compact model only describes its layers one by one.

    Raises:
        RequestError: an architecture without a row.
    """
    kind = architecture_of(config)
    if kind in ENCODERS:
        row = ENCODERS[kind]
        return replace(row, per_layer=(*row.per_layer, "layer_shapes")) if is_compact(config) else row
    why = f" ({REFUSED[kind]})" if kind in REFUSED else ""
    raise RequestError(f"Models of type '{kind}' are not supported{why}; supported: {', '.join(ENCODERS)}.")


def shapes_of(config: PretrainedConfig) -> tuple[tuple[int, int], ...]:
    """Heads and inner width of each layer of a model."""
    if shapes := getattr(config, "layer_shapes", None):
        return tuple((shape["heads"], shape["intermediate_size"]) for shape in shapes)
    encoder = encoder_of(config)
    return ((config.num_attention_heads, getattr(config, encoder.inner_width)),) * encoder.depth(config)


def check_length(max_length: int, most: int, whose: str = "positions of the model") -> None:
    """Refuse inputs that are longer than a model or a tokenizer allows.

    Args:
        whose: what there are `most` of, for the message.

    Raises:
        RequestError: names both numbers.
    """
    if max_length > most:
        raise RequestError(f"--max-length {max_length} is more than the {most} {whose}.")
