"""What each architecture is made of, read from its configuration: the parts that cost parameters or multiply-adds.

One function per architecture, in the table `SHAPES`. It refuses values of the configuration that it does not cover.
This module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertpress.costs.parts import Convolution, Decision, Layer, Linear, Norm, Part, Relative, Shape, Table, Tops
from bertpress.errors import RequestError
from bertpress.models import architecture_of, is_compact

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def shape_of(config: PreTrainedConfig) -> Shape:
    """The parts of the model that `config` describes.

    Raises:
        RequestError: an architecture that is not in `SHAPES`, or a value that its function does not cover.
    """
    architecture = architecture_of(config)
    if architecture not in SHAPES:
        known = ", ".join(SHAPES)
        raise RequestError(f"The cost of a '{config.model_type}' model is not known; known: {known}.")
    shape = SHAPES[architecture](config)
    return _compact(config, shape) if is_compact(config) else shape


def _compact(config: PreTrainedConfig, shape: Shape) -> Shape:
    """What a compact model has beside, or instead of, the parts of its architecture."""
    head = config.hidden_size // config.num_attention_heads
    if config.layer_shapes is not None:
        shapes = [(each["intermediate_size"], head * each["heads"]) for each in config.layer_shapes]
        shape = replace(shape, layers=tuple(_layer(config.hidden_size, *each) for each in shapes))
    if config.token_reduction is None:
        return shape
    reduction = config.token_reduction
    selector, width = reduction.get("selector", "policy"), reduction.get("policy_hidden", 32)
    policy = (Linear(config.hidden_size, width), Linear(width, 1)) if selector == "policy" else ()
    layers = reduction.get("layers", ())
    shares = reduction.get("shares") or [None] * len(layers)
    decisions = [
        Decision(layer, policy, selector == "attention", share) for layer, share in zip(layers, shares, strict=True)
    ]
    kept = {"least_kept": reduction.get("min_keep", 1), "most_kept": reduction.get("max_keep")}
    return replace(shape, decisions=tuple(decisions), least_tokens=reduction.get("min_tokens", 0), **kept)


def _only(config: PreTrainedConfig, **covered: Any) -> None:
    """Refuse a field of the configuration whose value differs from the one that is covered."""
    for name, expected in covered.items():
        value = getattr(config, name, expected)
        if value != expected:
            raise RequestError(
                f"The cost of a '{config.model_type}' model is known for {name} {expected} only, not {value}."
            )


BY_TOKEN = ("token-classification", "question-answering")
"""Kinds of head that are a linear layer over every token."""


def _layer(hidden: int, intermediate: int, heads: int | None = None, relative: Relative | None = None) -> Layer:
    """Query, key, value, attention output, the feed-forward block, and a norm after each of the two blocks.

    Args:
        heads: width of all heads together, where that is not the hidden size.
    """
    width = heads or hidden
    attention = (Linear(hidden, width),) * 3 + (Linear(width, hidden),)
    feed_forward = (Linear(hidden, intermediate), Linear(intermediate, hidden))
    return Layer(attention + feed_forward + (Norm(hidden),) * 2, width, relative)


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
    """The bare model with or without a pooler, the classifier with two linear layers, the heads of each token."""
    two = _two_linears(config)
    return {
        None: two[:pooler],
        "sequence-classification": two,
        **dict.fromkeys(BY_TOKEN, two[1:]),
        "multiple-choice": (two[0], Linear(config.hidden_size, 1)),
        "multi-hop": _multi_hop(config.hidden_size),
        "masked-lm": masked_lm,
    }


def _multi_hop(hidden: int) -> tuple[Linear, ...]:
    """Applied to each token; once to a row; two to each sentence: `cost.HeadRows` says how often."""
    return Linear(hidden, 2), Linear(hidden, 3), Linear(2 * hidden, hidden), Linear(hidden, 2)


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
    tops = dict(_tops(config, _masked_lm(config, width)))
    if not getattr(config, "summary_use_proj", True):
        tops["multiple-choice"] = (Linear(hidden, 1),)
    return Shape(
        tokens=(Table(rows, width), Norm(width), *project),
        layers=(_layer(hidden, config.intermediate_size),) * config.num_hidden_layers,
        tops=tops,
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
            **dict.fromkeys(("sequence-classification", *BY_TOKEN), (*head, Linear(hidden, config.num_labels))),
            "multiple-choice": (*head, Linear(hidden, 1)),
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
        layers=(_layer(hidden, config.intermediate_size, relative=relative),) * config.num_hidden_layers,
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
