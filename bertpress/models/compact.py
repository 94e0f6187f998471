"""What the compact classes of all architectures share: layers of unequal shape, and skipping tokens between layers.

A folder saved from these classes holds this code beside the weights, so that it loads without bertpress.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .deciding import Decide, forced
from .layer_shapes import Places, check_shapes, reshape
from .packed_attention import PACKED
from .policy import Policy
from .shared_choices import Shared
from .token_selection import Settings
from .walks import BACKENDS, Trace, Walk, WalkedLayers


class CompactEncoder:
    """Mixed into an architecture's bare model, before it."""

    places: ClassVar[Places] = Places()
    counts_tokens: ClassVar[bool] = False
    """positions are given to tokens alone, padding left out, from behind the padding token's number on"""
    token_outputs = True
    """the result is the state of every token; a head that reads the first one's needs no more than that"""

    def __init__(self, config: Any, **options: Any) -> None:
        super().__init__(config, **options)  # type: ignore[call-arg]
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

    def set_profile(self, name: str | None) -> None:
        """Choose the thresholds or shares of a named profile for the passes to come; None: those of the model itself.

        Raises:
            ValueError: a model that skips no tokens, or no such profile.
        """
        config: Any = self.config  # type: ignore[attr-defined]
        if config.token_reduction is None:
            raise ValueError("this model skips no tokens, so it has no profiles")
        layers: Any = self.get_submodule(self.places.layers)  # type: ignore[attr-defined]
        self.settings = Settings.of(config.token_reduction, len(layers)).changed(name)

    def __init_subclass__(cls, **options: Any) -> None:
        """Give `forward` the stock one's signature: trainers and tokenizers look up there what a model takes."""
        super().__init_subclass__(**options)

        def forward(self: Any, *args: Any, **given: Any) -> Any:
            return CompactEncoder.forward(self, *args, **given)

        stock: Any = super()
        cls.forward = functools.wraps(stock.forward)(forward)  # type: ignore[method-assign]

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, *args: Any, **options: Any
    ) -> Any:
        """The stock forward pass; of a reduced model through a walk.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 where there is a token.
            args: further ones of the stock class.
            options: those of the stock class, and for a reduced model those of `new_walk`, or a `walk`.
        """
        forward: Callable[..., Any] = super().forward  # type: ignore[misc]
        if self.settings is None:
            return forward(input_ids, attention_mask, *args, **options)
        config: Any = self.config  # type: ignore[attr-defined]
        options.update(zip([*inspect.signature(type(self).forward).parameters][3:], args, strict=False))
        seen = input_ids if input_ids is not None else options.get("inputs_embeds")
        if seen is None:
            raise ValueError("expected input_ids or inputs_embeds, got neither")
        valid = torch.ones(seen.shape[:2], device=seen.device) if attention_mask is None else attention_mask
        if valid.dim() != 2:
            raise ValueError(f"expected an attention mask of (batch, length), got one of {valid.dim()} axes")
        if options.get("position_ids") is None:
            self._check_length(valid)
        as_tuple = options.pop("return_dict", config.return_dict) is False
        wanted = options.pop("output_hidden_states", config.output_hidden_states)
        own = {name: options.pop(name) for name in WALK_OPTIONS if name in options}
        walk = options.pop("walk", None)
        if walk is None:
            walk = self.new_walk(valid.bool(), input_ids, collect=bool(wanted), **own)
        result = forward(input_ids, walk=walk, output_hidden_states=False, return_dict=True, **options)
        if walk.collected is not None:
            result["hidden_states"] = _chosen(walk.collected, wanted)
        return result.to_tuple() if as_tuple else result

    def _check_length(self, valid: Tensor) -> None:
        """Refuse tokens without a position."""
        config: Any = self.config  # type: ignore[attr-defined]
        most = config.max_position_embeddings - (config.pad_token_id + 1 if self.counts_tokens else 0)
        length = valid.shape[1]
        if length > most and self.counts_tokens:
            length = int(valid.sum(1).max())
        if length > most:
            raise ValueError(f"the input is {length} tokens long, the model has {most} positions")

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # looks at the mask
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
        groups: Tensor | None = None,
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
            force_keep: (batch, length) True where a token must go on; padding never does, which a warning says.
            actions: (batch, length, decisions) True where a token goes on, in place of the selector's decisions.
            groups: (batch,) where options share decisions, equal numbers for those of a question; each is one by itself
                if nothing is given.
            token_outputs: give every token's last state, not the first one's alone.
            trace: filled with what happened.
            collect: keep the states after every layer.
        """
        assert self.settings is not None
        settings = self.settings.changed(profile, token_threshold, min_keep, max_keep)
        marked = None if force_keep is None else forced(force_keep, valid)
        if settings.always_keep:
            if input_ids is None:
                raise ValueError("always_keep names tokens by their ids: give input_ids instead of inputs_embeds")
            kept = torch.isin(input_ids, torch.tensor(settings.always_keep, device=input_ids.device))
            marked = kept if marked is None else kept | marked
        decide = Decide(
            settings,
            self.policies,
            None if marked is None else marked.flatten(),
            None if actions is None else actions.bool().flatten(0, 1),
            self._shared(valid, input_ids, groups) if settings.shared else None,
        )
        looks = settings.selector == "attention" and actions is None
        if looks and settings.min_tokens:
            looks = int(valid.sum(1).max()) >= settings.min_tokens
        return self.walk_of(valid, decide, backend, token_outputs, looks, collect=collect, trace=trace)

    def _shared(self, valid: Tensor, input_ids: Tensor | None, groups: Tensor | None) -> Shared:
        """What the options of each question have in common."""
        if input_ids is None:
            raise ValueError("options that share decisions are compared by their ids: give input_ids")
        rows = torch.arange(len(input_ids), device=input_ids.device)
        return Shared.of(rows if groups is None else groups, input_ids, valid)

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
            what = "packed execution" if backend == "packed" else "a selector that looks at the attention received"
            raise ValueError(
                f"{what} needs the attention '{PACKED}', but the model has '{attention}'; call "
                f"model.set_attn_implementation('{PACKED}')"
            )
        depth = len(self.get_submodule(self.places.layers))  # type: ignore[attr-defined]
        wanted = self.token_outputs if token_outputs is None else token_outputs
        if wanted and not self.token_outputs and not bool(valid[:, 0].all()):
            raise ValueError(
                "with token_outputs the head reads each row's first place, which is padding here: pad on the right"
            )
        options["additive"] = attention == "eager"
        return BACKENDS[backend](valid, depth, self.settings.layers, decide, wanted, needs_received, **options)


HEADS = (
    "ForMaskedLM",
    "ForQuestionAnswering",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForMultipleChoice",
)
"""What the names of the classes with a head end with."""
WALK_OPTIONS = (
    "backend",
    "profile",
    "token_threshold",
    "min_keep",
    "max_keep",
    "force_keep",
    "actions",
    "groups",
    "token_outputs",
    "trace",
)
"""Options of a forward pass that belong to `CompactEncoder.new_walk`."""


def _chosen(states: Sequence[Tensor], wanted: bool | int | Sequence[int] | None) -> tuple[Tensor | None, ...]:
    """What `output_hidden_states` asks for: all, or those of some numbers and None for the others."""
    if wanted is None or isinstance(wanted, bool):
        return tuple(states)
    numbers = {number % len(states) for number in ([wanted] if isinstance(wanted, int) else wanted)}
    return tuple(state if number in numbers else None for number, state in enumerate(states))


class CompactHead:
    """Mixed into an architecture's model with a head, before it: its encoder becomes the compact one."""

    encoder_class: ClassVar[Any]
    reads_first_token: ClassVar[bool] = False
    """the head needs the first token's state only"""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        name = self.base_model_prefix  # type: ignore[attr-defined]
        stock = getattr(self, name)
        options = {"add_pooling_layer": stock.pooler is not None} if hasattr(stock, "pooler") else {}
        encoder = self.encoder_class(config, **options)
        encoder.token_outputs = not self.reads_first_token
        setattr(self, name, encoder)
        self.post_init()  # type: ignore[attr-defined]


class CompactChoice(CompactHead):
    """Mixed into an architecture's model with a score for each option, before it."""

    reads_first_token = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Give `forward` the stock one's signature, as `CompactEncoder` does."""
        super().__init_subclass__(**options)

        def forward(self: Any, *args: Any, **given: Any) -> Any:
            return CompactChoice.forward(self, *args, **given)

        stock: Any = super()
        cls.forward = functools.wraps(stock.forward)(forward)  # type: ignore[method-assign]

    def forward(self, input_ids: Tensor | None = None, *args: Any, **given: Any) -> Any:
        """The stock forward pass; where options share decisions, with those of a question as one group.

        Args:
            input_ids: (batch, options, length).
            args: further ones of the stock class.
            given: those of the stock class, and for a reduced model those of `CompactEncoder.new_walk`, or a `walk`;
                `groups` (batch * options,) where the options of a question are rows of a batch.
        """
        settings = self.base_model.settings  # type: ignore[attr-defined]
        if settings is not None and settings.shared and input_ids is not None and not {"walk", "groups"} & given.keys():
            rows = torch.arange(len(input_ids), device=input_ids.device)
            given["groups"] = rows.repeat_interleave(input_ids.shape[1])
        return super().forward(input_ids, *args, **given)  # type: ignore[misc]
