"""From a stock model to a compact one and back, with the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.models import COMPACT, module_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

PREFIX = "compact_"
WHY_NOT: dict[str, str] = {
    "modernbert": "its attention turns states by their positions and looks through sliding windows, so that tokens in "
    "one row without gaps would seem to stand where they do not",
    "deberta-v2": "its attention adds the distance between positions to its scores, so that tokens in one row without "
    "gaps would seem nearer than they are",
}
"""Architectures without compact classes: what stands against them."""


def is_compact(config: PretrainedConfig) -> bool:
    """True for the configuration of a compact model."""
    return str(config.model_type).startswith(PREFIX)


def architecture_of(config: PretrainedConfig) -> str:
    """The stock architecture of a model, compact or not: bert, xlm-roberta, ..."""
    kind = str(config.model_type)
    return kind.removeprefix(PREFIX).replace("_", "-") if kind.startswith(PREFIX) else kind


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
    cls: Any = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}Config")
    values = {name: value for name, value in config.to_dict().items() if name not in ("model_type", "architectures")}
    result: PretrainedConfig = cls(**{**values, **fields})
    return result


def compact(model: PreTrainedModel, **fields: Any) -> PreTrainedModel:
    """A compact copy of a model, with the same head and weights; the given one is left as it was.

    Weights that only the copy has, those of new policies, are drawn as the architecture draws its own.

    Args:
        fields: `layer_shapes` (only where the model has such layers already) and `token_reduction`.

    Raises:
        RequestError: there is no compact class of this architecture.
    """
    config = compact_config(model.config, **fields)
    name = type(model).__name__.removeprefix("Compact")
    cls: Any = getattr(module_of(architecture_of(config)), f"Compact{name}")
    result: PreTrainedModel = cls(config)
    return _copied(model.state_dict(), result.to(model.device)).train(model.training)


def stock_config(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration of the stock model that a compact one of equal layers would be without token reduction."""
    base: Any = type(config).__mro__[1]
    dropped = ("model_type", "architectures", "auto_map", "layer_shapes", "token_reduction")
    result: PretrainedConfig = base(**{name: value for name, value in config.to_dict().items() if name not in dropped})
    return result


def _copied(weights: Mapping[str, Any], model: PreTrainedModel) -> PreTrainedModel:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    strange = [*unexpected, *(name for name in missing if ".policies." not in name)]
    if strange:
        raise ValueError(f"the weights do not fit a {type(model).__name__}: {', '.join(strange[:4])}")
    return model
