"""Loading of models with a multi-hop head, for which transformers has no class that loads by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertpress.encoders.compact import check_head, compact_config
from bertpress.models import COMPACT, architecture_of, is_compact, module_of, register

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class AutoModelForMultiHop:
    """Loads a compact model with a multi-hop head from its folder, or from a stock model's, which gives the encoder."""

    @staticmethod
    def from_pretrained(folder: str, config: PretrainedConfig | None = None, **options: Any) -> Any:
        """As transformers' classes; code of a folder is never run.

        Raises:
            RequestError: there is no compact class of this architecture.
        """
        from transformers import AutoConfig

        register()
        options.pop("trust_remote_code", None)
        cls, config = found(AutoConfig.from_pretrained(folder) if config is None else config)
        return cls.from_pretrained(folder, config=config, **options)

    @staticmethod
    def from_config(config: PretrainedConfig, **options: Any) -> Any:
        """A model with random weights.

        Raises:
            RequestError: there is no compact class of this architecture.
        """
        cls, config = found(config)
        return cls._from_config(config, **options)


def found(config: PretrainedConfig) -> tuple[Any, PretrainedConfig]:
    """The class for a configuration, compact or not, and the configuration of its models."""
    check_head(config, "multi-hop")
    architecture = architecture_of(config)
    cls = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}ForMultiHop")
    return cls, config if is_compact(config) else compact_config(config)
