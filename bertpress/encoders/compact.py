"""From a stock model to a compact one and back, with the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertpress.encoders import shapes_of
from bertpress.errors import RequestError
from bertpress.models import COMPACT, architecture_of, is_compact, module_of, register

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

WHY_NOT: dict[str, str] = {
    "modernbert": "its attention turns states by their positions and looks through sliding windows, so that tokens in "
    "one row without gaps would seem to stand where they do not",
    "deberta-v2": "its attention adds the distance between positions to its scores, so that tokens in one row without "
    "gaps would seem nearer than they are",
}
"""Architectures without compact classes: what stands against them."""
COMPACT_ONLY = ("multi-hop",)
"""Kinds of head that transformers has no classes of."""


def compact_config(config: PretrainedConfig, **fields: Any) -> PretrainedConfig:
    """The configuration of a compact model like that of `config`, with these of its fields.

    Args:
        fields: `layer_shapes` and `token_reduction`; what is not given stays as it is.

    Raises:
        RequestError: there is no compact class of this architecture.
    """
    architecture = architecture_of(config)
    if architecture not in COMPACT:
        why = f" ({WHY_NOT[architecture]})" if architecture in WHY_NOT else ""
        raise RequestError(f"There is no compact {architecture}{why}; there are: {', '.join(COMPACT)}.")
    register()  # a folder saved from a class that is not registered would lack its code
    cls: Any = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}Config")
    values = {name: value for name, value in config.to_dict().items() if name not in ("model_type", "architectures")}
    result: PretrainedConfig = cls(**{**values, **fields})
    return result


def compact(model: PreTrainedModel, **fields: Any) -> PreTrainedModel:
    """A compact copy of a model, with the same head and weights; the given one is left as it was.

    Weights that only the copy has, those of new policies, are drawn as the architecture draws its own; policies that
    it has no place for are left out.

    Args:
        fields: `layer_shapes` (only where the model has such layers already) and `token_reduction`.

    Raises:
        RequestError: there is no compact class of this architecture.
    """
    config = compact_config(model.config, **fields)
    cls: Any = getattr(module_of(architecture_of(config)), f"Compact{head_class(model)}")
    result: PreTrainedModel = cls(config)
    return _copied(model.state_dict(), result.to(model.device)).train(model.training)


def stock_config(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration of the stock model that a compact one of equal layers would be without token reduction."""
    base: Any = type(config).__mro__[1]
    dropped = ("model_type", "architectures", "auto_map", "layer_shapes", "token_reduction")
    result: PretrainedConfig = base(**{name: value for name, value in config.to_dict().items() if name not in dropped})
    return result


def stock_class(model: PreTrainedModel) -> type[PreTrainedModel] | None:
    """The class of models like this one that are not compact; None where the head has none."""
    if not is_compact(model.config):
        return type(model)
    stock = next(base for base in type(model).__mro__ if base.__module__.startswith("transformers."))
    return stock if stock.__name__ == head_class(model) else None


def head_class(model: PreTrainedModel) -> str:
    """The name of a model's class as transformers has it, or would have it: BertForTokenClassification."""
    return type(model).__name__.removeprefix("Compact")


def new_model(model: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """A model with the head of `model`, of another configuration and random weights.

    It is of a compact class where `config` is compact, or where the head has no stock class.

    Raises:
        RequestError: there is no compact class of this architecture.
    """
    stock = stock_class(model)
    if stock is not None and not is_compact(config):
        return stock(config)
    config = config if is_compact(config) else compact_config(config)
    result: PreTrainedModel = getattr(module_of(architecture_of(config)), f"Compact{head_class(model)}")(config)
    return result


def check_head(config: PretrainedConfig, head: str | None) -> None:
    """Refuse a kind of head that only compact classes have, for an architecture without.

    Raises:
        RequestError: says why there is none.
    """
    if head in COMPACT_ONLY and architecture_of(config) not in COMPACT:
        architecture = architecture_of(config)
        why = f" ({WHY_NOT[architecture]})" if architecture in WHY_NOT else ""
        raise RequestError(
            f"A {head} head has classes of ours only, and there is no compact {architecture}{why}; "
            f"there are: {', '.join(COMPACT)}."
        )


def uneven_heads(config: PretrainedConfig) -> list[int]:
    """The number of heads of each layer, if they are not all as many as the configuration says; else nothing."""
    heads = [count for count, _ in shapes_of(config)]
    return heads if set(heads) - {config.num_attention_heads} else []


def without_decisions(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a reduced model that skips nothing and decides nothing, in the same packed execution."""
    return compact(model, token_reduction={"layers": []})


def freeze_decisions(model: PreTrainedModel) -> None:
    """Train nothing of what decides about tokens, in place: no gradient of a loss reaches it through a decision."""
    for policy in getattr(model.base_model, "policies", ()):
        policy.requires_grad_(False)


def _copied(weights: Mapping[str, Any], model: PreTrainedModel) -> PreTrainedModel:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    strange = [name for name in (*unexpected, *missing) if "policies" not in name.split(".")]
    if strange:
        raise ValueError(f"the weights do not fit a {type(model).__name__}: {', '.join(strange[:4])}")
    return model
