"""What the compact classes of all architectures share: layers of unequal shape, and skipping tokens between layers.

A folder saved from these classes holds this code beside the weights, so that it loads without bertpress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .packed_attention import PACKED
from .token_selection import Decide, Policy, Settings
from .walks import BACKENDS, Trace, Walk, WalkedLayers


@dataclass(frozen=True)
class Places:
    """Where an architecture keeps the parts of its layers; paths start at the encoder or at a layer."""

    layers: str = "encoder.layer"
    attention: str = "attention.self"
    projections: tuple[str, str, str] = ("query", "key", "value")
    """of `attention`"""
    heads: str = "num_attention_heads"
    """the attribute of `attention`"""
    attention_output: str = "attention.output.dense"
    inner: str = "intermediate.dense"
    outer: str = "output.dense"


def reshape(layer: nn.Module, places: Places, heads: int, intermediate_size: int) -> None:
    """Give a stock layer fewer heads and another inner width, in place; its new parts have no weights of meaning."""
    attention: Any = layer.get_submodule(places.attention)
    width = heads * attention.attention_head_size
    setattr(attention, places.heads, heads)
    hidden = layer.get_submodule(places.attention_output).out_features
    for name in places.projections:
        attention.set_submodule(name, nn.Linear(hidden, width))
    if hasattr(attention, "all_head_size"):
        attention.all_head_size = width
    layer.set_submodule(places.attention_output, nn.Linear(width, hidden))
    layer.set_submodule(places.inner, nn.Linear(hidden, intermediate_size))
    layer.set_submodule(places.outer, nn.Linear(intermediate_size, hidden))


def check_shapes(shapes: Sequence[Mapping[str, Any]], depth: int) -> None:
    """Refuse layer shapes that do not describe an encoder of `depth` layers.

    Raises:
        ValueError: what does not fit.
    """
    if len(shapes) != depth:
        raise ValueError(f"layer_shapes must describe {depth} layers, got {len(shapes)}")
    for index, shape in enumerate(shapes):
        if set(shape) - {"heads", "intermediate_size", "origin"} or not {"heads", "intermediate_size"} <= set(shape):
            raise ValueError(f"layer_shapes[{index}] must have heads, intermediate_size and origin, got {dict(shape)}")
        if min(shape["heads"], shape["intermediate_size"]) < 1:
            raise ValueError(f"layer_shapes[{index}] must be at least 1 wide, got {dict(shape)}")


class CompactEncoder:
    """Mixed into an architecture's bare model, before it."""

    places: ClassVar[Places] = Places()
    token_outputs = True
    """the result is the state of every token; a head that reads the first one's needs no more than that"""

    def __init__(self, config: Any, **options: Any) -> None:
        super().__init__(config, **options)
        config.auto_map = self.auto_map()
        layers: Any = self.get_submodule(self.places.layers)  # type: ignore[attr-defined]
        if config.layer_shapes is not None:
            check_shapes(config.layer_shapes, len(layers))
            for layer, shape in zip(layers.children(), config.layer_shapes, strict=True):
                reshape(layer, self.places, shape["heads"], shape["intermediate_size"])
        self.settings: Settings | None = None
        if config.token_reduction is not None:
            self._prepare_reduction(config, layers)
        self.post_init()  # type: ignore[attr-defined]

    @classmethod
    def auto_map(cls) -> dict[str, str]:
        """Auto classes of transformers to the classes of this architecture's file that they load."""
        file, stem = cls.__module__.rpartition(".")[2], cls.__name__.removesuffix("Model")
        heads = {f"AutoModel{head}": f"{file}.{stem}{head}" for head in HEADS}
        return {"AutoConfig": f"{file}.{stem}Config", "AutoModel": f"{file}.{stem}Model", **heads}

    def _prepare_reduction(self, config: Any, layers: nn.ModuleList) -> None:
        settings = self.settings = Settings.of(config.token_reduction, len(layers))
        count = len(settings.layers) if settings.selector == "policy" else 0
        self.policies = nn.ModuleList(Policy(config.hidden_size, settings.policy_hidden) for _ in range(count))
        self.set_submodule(self.places.layers, WalkedLayers(layers.children()))  # type: ignore[attr-defined]
        if config._attn_implementation == "sdpa":
            self.set_attn_implementation(PACKED)  # type: ignore[attr-defined]

    def forward(self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **options: Any) -> Any:
        """The stock forward pass; of a reduced model through a walk.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 where there is a token.
            options: those of the stock class, and for a reduced model those of `new_walk`, or a `walk`.
        """
        forward: Callable[..., Any] = super().forward  # type: ignore[misc]
        if self.settings is None:
            return forward(input_ids, attention_mask=attention_mask, **options)
        seen: Any = input_ids if input_ids is not None else options["inputs_embeds"]
        shape = seen.shape[:2]
        config: Any = self.config  # type: ignore[attr-defined]
        self._check_length(shape[1])
        if attention_mask is None:
            attention_mask = torch.ones(shape, device=seen.device)
        if attention_mask.dim() != 2:
            raise ValueError(f"expected an attention mask of (batch, length), got one of {attention_mask.dim()} axes")
        collect = bool(options.pop("output_hidden_states", config.output_hidden_states))
        own = {name: options.pop(name) for name in WALK_OPTIONS if name in options}
        walk = options.pop("walk", None)
        if walk is None:
            walk = self.new_walk(attention_mask.bool(), input_ids, collect=collect, **own)
        result = forward(input_ids, attention_mask=None, walk=walk, output_hidden_states=False, **options)
        if walk.collected is not None:
            result.hidden_states = tuple(walk.collected)
        return result

    def _check_length(self, length: int) -> None:
        config: Any = self.config  # type: ignore[attr-defined]
        offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        if length > config.max_position_embeddings - offset:
            raise ValueError(
                f"the input is {length} tokens long, the model has {config.max_position_embeddings - offset} positions"
            )

    def new_walk(
        self,
        valid: Tensor,
        input_ids: Tensor | None = None,
        *,
        backend: str | None = None,
        profile: str | None = None,
        token_threshold: float | Sequence[float] | None = None,
        min_keep: int | None = None,
        max_keep: int | None = None,
        force_keep: Tensor | None = None,
        actions: Tensor | None = None,
        token_outputs: bool | None = None,
        trace: Trace | None = None,
        collect: bool = False,
    ) -> Walk:
        """A forward pass with the model's own decisions.

        Args:
            valid: (batch, length) True where there is a token.
            input_ids: (batch, length), for tokens that are always kept.
            backend: packed (default), gather or masked; the same results, at another cost.
            profile: the name of other thresholds or shares that the configuration holds.
            token_threshold: in place of the thresholds, one number or one for each decision.
            min_keep: tokens that each row keeps at least.
            max_keep: tokens that each row keeps at most.
            force_keep: (batch, length) True where a token must go on.
            actions: (batch, length, decisions) True where a token goes on, in place of the selector's decisions.
            token_outputs: give every token's last state, not the first one's alone.
            trace: filled with what happened.
            collect: keep the states after every layer.
        """
        assert self.settings is not None
        settings = self.settings if profile is None else self.settings.with_profile(profile)
        if token_threshold is not None:
            given = token_threshold if isinstance(token_threshold, Sequence) else [token_threshold]
            thresholds = tuple(given) * (len(settings.layers) if len(given) == 1 else 1)
            settings = replace(settings, thresholds=thresholds, shares=None)
        changed = {"min_keep": min_keep, "max_keep": max_keep}
        settings = replace(settings, **{name: value for name, value in changed.items() if value is not None})
        if settings.always_keep and input_ids is not None:
            kept = torch.isin(input_ids, torch.tensor(settings.always_keep, device=input_ids.device))
            force_keep = kept if force_keep is None else kept | force_keep.bool()
        decide = Decide(
            settings,
            self.policies,
            None if force_keep is None else force_keep.bool().flatten(),
            None if actions is None else actions.bool().flatten(0, 1),
        )
        return self.walk_of(valid, decide, backend, token_outputs, settings.selector == "attention" and actions is None,
                            collect=collect, trace=trace)  # fmt: skip

    def walk_of(
        self,
        valid: Tensor,
        decide: Any,
        backend: str | None = None,
        token_outputs: bool | None = None,
        needs_received: bool = False,
        **options: Any,
    ) -> Walk:
        """A forward pass with the decisions of `decide`."""
        assert self.settings is not None
        attention = self.config._attn_implementation  # type: ignore[attr-defined]
        backend = backend or ("packed" if attention == PACKED else "masked")
        if backend not in BACKENDS:
            raise ValueError(f"the backend must be one of {', '.join(BACKENDS)}, got {backend}")
        if attention != PACKED and (backend == "packed" or needs_received):
            raise ValueError(f"this needs the attention '{PACKED}', but the model has '{attention}'")
        if backend == "masked":
            options["additive"] = attention == "eager"
        depth = len(self.get_submodule(self.places.layers))  # type: ignore[attr-defined]
        wanted = self.token_outputs if token_outputs is None else token_outputs
        return BACKENDS[backend](valid, depth, self.settings.layers, decide, wanted, needs_received, **options)


HEADS = ("ForMaskedLM", "ForQuestionAnswering", "ForSequenceClassification", "ForTokenClassification")
"""What the names of the classes with a head end with."""
WALK_OPTIONS = (
    "backend",
    "profile",
    "token_threshold",
    "min_keep",
    "max_keep",
    "force_keep",
    "actions",
    "token_outputs",
    "trace",
)
"""Options of a forward pass that belong to `CompactEncoder.new_walk`."""


class CompactHead:
    """Mixed into an architecture's model with a head, before it: its encoder becomes the compact one."""

    encoder_class: ClassVar[Any]
    reads_first_token: ClassVar[bool] = False
    """the head needs the first token's state only"""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        name = self.base_model_prefix  # type: ignore[attr-defined]
        stock = getattr(self, name)
        options = {"add_pooling_layer": stock.pooler is not None} if hasattr(stock, "pooler") else {}
        encoder = self.encoder_class(config, **options)
        encoder.token_outputs = not self.reads_first_token
        setattr(self, name, encoder)
        self.post_init()  # type: ignore[attr-defined]
