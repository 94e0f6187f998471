"""What a finished model can be turned into for other runtimes: settings of each format, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bertpress.config import Config, build
from bertpress.errors import RequestError, nearest
from bertpress.files import read_json, reading

RECORD = "export.json"
"""Says what an export is; written last, so that its presence means that the export is whole."""
GRAPH = "model.onnx"
SCHEMA = 1
ROWS = 256
"""Training rows that ranges and sensitivities are measured on, where nothing else is said."""


class OnnxExport(Config):
    """One graph for ONNX Runtime, for any batch size and length."""

    name: ClassVar[str] = "onnx"

    precision: Literal["fp32", "int8"] = "fp32"
    """numbers that weights are stored as and products are computed in"""
    calibration: Literal["dynamic", "static"] = "dynamic"
    """int8: ranges of states are measured in each pass (dynamic), or once on training rows of the task (static)"""
    calibration_rows: int = Field(ROWS, ge=1)
    """int8: training rows that ranges and sensitivities are measured on, at most"""
    max_drop: float | None = Field(None, ge=0)
    """int8: most points of the primary metric that may be lost; the most sensitive parts stay fp32 until that holds"""
    execution: Literal["gather", "masked"] = "gather"
    """of a model that skips tokens: leave them out (gather), or compute and hide them, which is no faster, for runtimes
    whose shapes may not depend on the data (masked)"""

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        if self.precision == "fp32" and (self.calibration == "static" or self.max_drop is not None):
            wrong = "calibration: static" if self.calibration == "static" else "max_drop"
            raise ValueError(f"{wrong} is about int8, but the precision is fp32; set precision to int8")
        if self.calibration_rows != ROWS and not self.needs_task:
            raise ValueError(
                "calibration_rows are for static calibration or max_drop, and neither is set; leave it out"
            )
        return self

    @property
    def folder(self) -> str:
        """The name of its folder in a run."""
        others = [word for word in (self.calibration, self.execution) if word in ("static", "masked")]
        return "-".join([self.name, self.precision, *others])

    @property
    def needs_task(self) -> bool:
        """True if it takes rows with labels or training rows."""
        return self.calibration == "static" or self.max_drop is not None


EXPORTS: dict[str, type[OnnxExport]] = {OnnxExport.name: OnnxExport}
"""Format to its settings."""


def of_format(name: str, settings: Mapping[str, Any]) -> OnnxExport:
    """What is asked of a format.

    Raises:
        RequestError: there is no such format, or a setting is wrong.
    """
    if name not in EXPORTS:
        raise RequestError(f"There is no export format '{name}'{nearest(name, list(EXPORTS))}.")
    return build(EXPORTS[name], settings, where=name)


def is_export(folder: str | Path) -> bool:
    """True for a folder that holds a whole export."""
    return (Path(folder) / RECORD).is_file() and (Path(folder) / GRAPH).is_file()


def read_record(folder: str | Path) -> dict[str, Any]:
    """What an export says of itself.

    Raises:
        RequestError: the file is damaged, or of a newer version.
    """
    file = Path(folder) / RECORD
    with reading(file, "export the model again"):
        record: dict[str, Any] = read_json(file)
        schema = int(record["schema"])
    if schema > SCHEMA:
        raise RequestError(f"{file} has schema {schema}, and this version reads up to {SCHEMA}; update bertpress.")
    return record
