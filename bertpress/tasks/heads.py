"""What a model's configuration says of its head: the names of its outputs, and how its task reads texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PARAMETERS = "task_specific_params"
"""The field that keeps settings by kind of task."""


def name_outputs(config: PretrainedConfig, names: Sequence[str]) -> None:
    """Let a configuration have outputs of these names, in place."""
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}


def require_outputs(config: PretrainedConfig, task: str, count: int, meaning: str) -> None:
    """Refuse a head with another number of outputs than a task needs.

    Raises:
        RequestError: says what these would be.
    """
    if config.num_labels != count:
        raise RequestError(
            f"The model's head has {config.num_labels} outputs, but {task} needs {count} ({meaning}); "
            "fine-tune the model on this task first."
        )


def kept_settings(config: PretrainedConfig, kind: str) -> dict[str, Any]:
    """The settings that a configuration keeps for a kind of task; empty where it has none."""
    return (getattr(config, PARAMETERS, None) or {}).get(kind) or {}


def keep_settings(config: PretrainedConfig, kind: str, settings: Mapping[str, Any]) -> None:
    """Let a configuration keep settings beside those of other kinds, in place."""
    setattr(config, PARAMETERS, {**(getattr(config, PARAMETERS, None) or {}), kind: dict(settings)})
