"""What each architecture is made of, read from its configuration: the parts that cost parameters or multiply-adds.

One function per architecture, in the table `SHAPES`. It refuses values of the configuration that it does not cover.
This module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    inputs: int
    outputs: int
    bias: bool = True
    tied: bool = False  # the weight is that of the token embeddings, which count already

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.outputs * (not self.tied) + self.outputs * self.bias

    @property
    def macs(self) -> int:
        """Multiply-adds for one row."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Convolution:
    """A convolution along the tokens that keeps width and length."""

    width: int
    kernel: int
    groups: int

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.macs + self.width

    @property
    def macs(self) -> int:
        """Multiply-adds for one token."""
        return self.width * (self.width // self.groups) * self.kernel


@dataclass(frozen=True)
class Norm:
    """A LayerNorm."""

    width: int
    bias: bool = True
    macs = 0

    @property
    def parameters(self) -> int:
        """Scale and shift."""
        return self.width * (1 + self.bias)


@dataclass(frozen=True)
class Table:
    """Embeddings; looking rows up multiplies nothing."""

    rows: int
    width: int
    macs = 0

    @property
    def parameters(self) -> int:
        """One vector per row."""
        return self.rows * self.width


Part = Linear | Convolution | Norm | Table
Tops = Mapping[str | None, tuple[Part, ...]]  # by the kind of head; None is the bare model


@dataclass(frozen=True)
class Relative:
    """Products of attention with embeddings of relative positions, which are projected once for the whole batch."""

    rows: int
    projections: tuple[Linear, ...]
    shared: bool  # the projections are those of the tokens' queries and keys
    products: int  # of the tokens' queries with positions (c2p), of their keys with positions (p2c)

    @property
    def parameters(self) -> int:
        """The projections, where they are not shared."""
        return 0 if self.shared else sum(part.parameters for part in self.projections)


@dataclass(frozen=True)
class Layer:
    """One encoder layer: self-attention and a feed-forward block."""

    parts: tuple[Part, ...]  # applied to each token
    attention: int  # width of all heads together
    relative: Relative | None = None

    @property
    def parameters(self) -> int:
        """Everything that belongs to this layer alone."""
        return sum(part.parameters for part in self.parts) + (self.relative.parameters if self.relative else 0)

    def macs(self, tokens: int, batch: int = 1) -> int:
        """Its parts per token, `tokens` squared for QK^T and for AV, and what relative positions add."""
        each = tokens * sum(part.macs for part in self.parts) + 2 * tokens**2 * self.attention
        if self.relative is None:
            return batch * each
        each += self.relative.products * tokens * self.relative.rows * self.attention
        return batch * each + self.relative.rows * sum(part.macs for part in self.relative.projections)


@dataclass(frozen=True)
class Shape:
    """All that decides the cost of a model, whatever its architecture; the layers need not be alike."""

    tokens: tuple[Part, ...]  # below, between and above the layers, applied to each token
    layers: tuple[Layer, ...]
    tops: Tops  # what stands on the layers, a pooler included, as applied to one token


def shape_of(config: PreTrainedConfig) -> Shape:
    """The parts of the model that `config` describes.

    Raises:
        RequestError: an architecture that is not in `SHAPES`, or a value that its function does not cover.
    """
    kind = str(config.model_type).removeprefix("compact_").replace("_", "-")
    if kind not in SHAPES:
        known = ", ".join(SHAPES)
        raise RequestError(f"The cost of a '{config.model_type}' model is not known; known: {known}.")
    return SHAPES[kind](config)


def _only(config: PreTrainedConfig, **covered: Any) -> None:
    """Refuse a field of the configuration whose value differs from the one that is covered."""
    for name, expected in covered.items():
        value = getattr(config, name, expected)
        if value != expected:
            raise RequestError(
                f"The cost of a '{config.model_type}' model is known for {name} {expected} only, not {value}."
            )


def _layer(hidden: int, intermediate: int, relative: Relative | None = None) -> Layer:
    """Query, key, value, attention output, the feed-forward block, and a norm after each of the two blocks."""
    project = Linear(hidden, hidden)
    feed_forward = (Linear(hidden, intermediate), Linear(intermediate, hidden))
    return Layer((project,) * 4 + feed_forward + (Norm(hidden),) * 2, hidden, relative)


def _two_linears(config: PreTrainedConfig) -> tuple[Linear, Linear]:
    """A pooler, or the first layer of a head, and the layer that gives the logits."""
    return Linear(config.hidden_size, config.hidden_size), Linear(config.hidden_size, config.num_labels)


def _masked_lm(config: PreTrainedConfig, width: int, spare_bias: bool = False) -> tuple[Part, ...]:
    """A linear layer to the `width` of the token embeddings, a norm, and an output per token of the vocabulary.

    A `spare_bias` is a second name for the last bias, and a second bias where nothing is tied.
    """
    tied = getattr(config, "tie_word_embeddings", True)
    spare = (Table(1, config.vocab_size),) * (spare_bias and not tied)
    return Linear(config.hidden_size, width), Norm(width), Linear(width, config.vocab_size, tied=tied), *spare


def _tops(config: PreTrainedConfig, masked_lm: tuple[Part, ...], pooler: bool = False) -> Tops:
    """The bare model with or without a pooler, the classifier with two linear layers."""
    two = _two_linears(config)
    return {None: two[:pooler], "sequence-classification": two, "masked-lm": masked_lm}


def _bert(config: PreTrainedConfig) -> Shape:
    """BERT, RoBERTa and XLM-R: the first two linear layers on top have other names, but the same sizes."""
    _only(config, is_decoder=False, add_cross_attention=False)
    hidden = config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return Shape(
        tokens=(Table(rows, hidden), Norm(hidden)),
        layers=(_layer(hidden, config.intermediate_size),) * config.num_hidden_layers,
        tops=_tops(config, _masked_lm(config, hidden, spare_bias=True), pooler=True),
    )


def _distilbert(config: PreTrainedConfig) -> Shape:
    return Shape(
        tokens=(Table(config.vocab_size + config.max_position_embeddings, config.dim), Norm(config.dim)),
        layers=(_layer(config.dim, config.hidden_dim),) * config.n_layers,
        tops=_tops(config, _masked_lm(config, config.dim)),
    )


def _electra(config: PreTrainedConfig) -> Shape:
    _only(config, is_decoder=False, add_cross_attention=False)
    width, hidden = config.embedding_size, config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    project = () if width == hidden else (Linear(width, hidden),)
    return Shape(
        tokens=(Table(rows, width), Norm(width), *project),
        layers=(_layer(hidden, config.intermediate_size),) * config.num_hidden_layers,
        tops=_tops(config, _masked_lm(config, width)),
    )


def _modernbert(config: PreTrainedConfig) -> Shape:
    """A sliding window masks products, but eager attention computes them all."""
    hidden, inner = config.hidden_size, config.intermediate_size
    norm = Norm(hidden, config.norm_bias)
    first = (
        Linear(hidden, 3 * hidden, config.attention_bias),
        Linear(hidden, hidden, config.attention_bias),
        norm,
        Linear(hidden, 2 * inner, config.mlp_bias),  # values and gates
        Linear(inner, hidden, config.mlp_bias),
    )
    others = Layer((norm, *first), hidden)  # layer 0 has no norm before its attention
    head = (Linear(hidden, hidden, config.classifier_bias), norm)
    decoder = Linear(hidden, config.vocab_size, config.decoder_bias, config.tie_word_embeddings)
    return Shape(
        tokens=(Table(config.vocab_size, hidden), norm, norm),  # the second stands above the layers
        layers=(Layer(first, hidden), *(others,) * (config.num_hidden_layers - 1)),
        tops={
            None: (),
            "sequence-classification": (*head, Linear(hidden, config.num_labels)),
            "masked-lm": (*head, decoder),
        },
    )


def _relative(config: PreTrainedConfig) -> tuple[Relative, Table]:
    """What relative positions add to each layer of a DeBERTa-v2, and the embeddings that the layers share."""
    hidden, kinds = config.hidden_size, config.pos_att_type or []
    unbucketed = getattr(config, "max_relative_positions", -1)
    span = getattr(config, "position_buckets", -1)
    if span <= 0:
        span = unbucketed if unbucketed >= 1 else config.max_position_embeddings
    shared = getattr(config, "share_att_key", False)
    products = sum(kind in kinds for kind in ("c2p", "p2c"))
    projections = (Linear(hidden, hidden),) * (2 if shared else products)
    return Relative(2 * span, projections, shared, products), Table(2 * span, hidden)


def _deberta_v2(config: PreTrainedConfig) -> Shape:
    hidden = config.hidden_size
    width = getattr(config, "embedding_size", hidden)
    kernel = getattr(config, "conv_kernel_size", 0)
    _only(config, attention_head_size=hidden // config.num_attention_heads, pooler_hidden_size=hidden)
    if kernel > 0:
        _only(config, conv_kernel_size=kernel - kernel % 2 + 1)  # an even one would change the length
    rows = config.vocab_size + config.type_vocab_size + config.max_position_embeddings * config.position_biased_input
    tokens: list[Part] = [Table(rows, width), Norm(hidden)]
    if width != hidden:
        tokens.append(Linear(width, hidden, bias=False))
    relative = None
    if config.relative_attention:
        relative, shared_table = _relative(config)
        tokens.append(shared_table)
    if "layer_norm" in [kind.strip() for kind in getattr(config, "norm_rel_ebd", "none").lower().split("|")]:
        tokens.append(Norm(hidden))
    if kernel > 0:
        tokens += [Convolution(hidden, kernel, getattr(config, "conv_groups", 1)), Norm(hidden)]
    masked_lm = _masked_lm(config, width, spare_bias=True)
    if not getattr(config, "legacy", True):  # multiplies by the embeddings, whatever is to be tied
        masked_lm = Linear(hidden, hidden), Norm(hidden), Linear(hidden, config.vocab_size, tied=True)
    return Shape(
        tokens=tuple(tokens),
        layers=(_layer(hidden, config.intermediate_size, relative),) * config.num_hidden_layers,
        tops=_tops(config, masked_lm),
    )


SHAPES: dict[str, Callable[[PreTrainedConfig], Shape]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "distilbert": _distilbert,
    "electra": _electra,
    "modernbert": _modernbert,
    "deberta-v2": _deberta_v2,
}
