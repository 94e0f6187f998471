"""Compact models: one class per architecture that holds layers of unequal shape and skips tokens.

These files are saved beside a compact model's weights and import nothing of bertpress but each other.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from transformers import PreTrainedConfig

PREFIX = "compact_"
"""What the type of every compact model begins with."""
COMPACT: dict[str, str] = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "distilbert": "DistilBert",
    "electra": "Electra",
}
"""Architecture to what transformers' classes of it begin with; its compact model is of type ``compact_...``."""


def is_compact(config: PreTrainedConfig) -> bool:
    """True for the configuration of a compact model."""
    return str(config.model_type).startswith(PREFIX)


def is_reduced(config: PreTrainedConfig) -> bool:
    """True for the configuration of a model that skips tokens between its layers."""
    return getattr(config, "token_reduction", None) is not None


def skips_tokens(config: PreTrainedConfig) -> bool:
    """True for the configuration of such a model that does so: one may be left without any decision."""
    return is_reduced(config) and bool(config.token_reduction.get("layers"))


def shares_choices(config: PreTrainedConfig) -> bool:
    """True for the configuration of a model that skips the same tokens for all options of a question."""
    return is_reduced(config) and bool(config.token_reduction.get("shared"))


def architecture_of(config: PreTrainedConfig) -> str:
    """The stock architecture of a model, compact or not: bert, xlm-roberta, ..."""
    kind = str(config.model_type)
    return kind.removeprefix(PREFIX).replace("_", "-") if is_compact(config) else kind


def module_of(architecture: str) -> ModuleType:
    """The file of an architecture's compact classes."""
    return import_module(f".compact_{architecture.replace('-', '_')}", __name__)


@cache
def register() -> None:
    """Let transformers' auto classes know the compact ones in this process, so that they run no code from a folder."""
    import transformers

    for architecture, prefix in COMPACT.items():
        module = module_of(architecture)
        config: Any = getattr(module, f"Compact{prefix}Config")
        transformers.AutoConfig.register(config.model_type, config, exist_ok=True)
        config.register_for_auto_class()
        for auto, path in getattr(module, f"Compact{prefix}Model").auto_map().items():
            found = getattr(module, path.partition(".")[2])
            if found is not config:
                getattr(transformers, auto).register(config, found, exist_ok=True)
                found.register_for_auto_class(auto)
