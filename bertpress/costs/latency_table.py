"""A table of measured latencies: what it holds, what it was measured under, and how far its sums are off.

The layers of an encoder run one after the other, so a model takes as long as what stands below and above its layers and
each of its layers: a sum, of which every term is measured once (`layer_timing.build`). No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bertpress.config import Config, build
from bertpress.errors import RequestError, beside
from bertpress.files import read_json, write_json

TOLERATED = 0.1
"""Mean error above which a correction is fitted."""
LEAST_NETWORKS = 6
"""A correction is fitted to half of so many networks at least."""


class Settings(Config):
    """What measured times depend on."""

    device: str
    machine: str
    """name of the processor or of the accelerator"""
    threads: int
    dtype: str
    batch_size: int
    tokens: int
    """length of the batch's longest text"""
    attention: str
    torch: str
    transformers: str
    architecture: str
    hidden_size: int
    head_size: int
    head: str | None
    """kind of head of the model"""
    outputs: int
    """width of its head: of the vocabulary, where that predicts tokens"""


class Timing(Config):
    """Median and the ends of its 95 % interval, in milliseconds."""

    median: float = Field(ge=0, allow_inf_nan=False)
    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0, allow_inf_nan=False)


class Correction(Config):
    """What a sum of the table becomes: ``intercept_ms + slope * sum``."""

    intercept_ms: float = Field(allow_inf_nan=False)
    slope: float = Field(gt=0, allow_inf_nan=False)
    error: float = Field(ge=0, allow_inf_nan=False)
    """mean relative error with it, on networks that it was not fitted to"""


class Validation(Config):
    """Exported sub-networks that were timed from end to end."""

    predicted_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]
    """had the machine been as fast as it was for the table"""
    drift: float = Field(gt=0, allow_inf_nan=False)
    """how many times as long the table's own layers took by then"""
    error: float = Field(ge=0, allow_inf_nan=False)
    """mean of |predicted / measured - 1|"""
    correction: Correction | None = None
    """where the error is above 10 % and the correction lessens it"""


class LatencyTable(Config):
    """Times of the parts of sub-networks, as they were measured under these settings."""

    settings: Settings
    base_ms: Timing
    """the model without layers: embeddings and head"""
    layers_ms: dict[str, Timing]
    """a layer of each shape, HEADSxWIDTH"""
    rounds: int
    """how often each was timed"""
    validation: Validation | None = None

    def save(self, path: Path) -> None:
        """Write it as JSON, in one step."""
        write_json(path, self.model_dump(mode="json"))

    def remark(self) -> str:
        """What a user should know of its accuracy."""
        found = self.validation
        if found is None:
            return "The table of latencies was not compared with measured sub-networks."
        text = f"Latencies by the table are off by {found.error:.1%} on average over {len(found.measured_ms)} networks"
        if found.correction is not None:
            made = found.correction
            text += f"; as {made.intercept_ms:.3g} ms + {made.slope:.3g} x the sum, which is used, by {made.error:.1%}"
        elif found.error > TOLERATED:
            text += f", more than {TOLERATED:.0%}, and no linear correction helps; measure it anew on an idle machine"
        if abs(found.drift - 1) > TOLERATED:
            text += f"; the machine itself then took {found.drift:.2f} times as long as for the table"
        return f"{text}."


def load_table(path: Path) -> LatencyTable:
    """A table from its file.

    Raises:
        RequestError: there is none, or it is something else.
    """
    if not path.is_file():
        raise RequestError(f"There is no table of latencies {path}{beside(path)}.")
    try:
        values = read_json(path)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise RequestError(f"{path} is no table of latencies: expected a mapping in JSON.")
    return build(LatencyTable, values, where=str(path))


def check_table(table: LatencyTable, settings: Settings) -> None:
    """Refuse a table that was measured under other settings than these.

    Raises:
        RequestError: lists the differences.
    """
    now = settings.model_dump()
    differing = [f"{name} {value}, now {now[name]}" for name, value in table.settings if value != now[name]]
    if differing:
        raise RequestError(
            f"The table of latencies was measured under other settings ({'; '.join(differing)}); go back to these, or "
            "measure it anew in another --out."
        )


def key_of(shape: tuple[int, int]) -> str:
    """What a table calls layers of these heads and this width."""
    return f"{shape[0]}x{shape[1]}"


def validation_of(predicted_ms: Sequence[float], measured_ms: Sequence[float], drift: float = 1) -> Validation:
    """How far predictions are off; above 10 %, with the linear correction of them if that helps.

    The correction is fitted to every other network, and judged on the rest.
    """
    predicted, measured = np.asarray(predicted_ms, dtype=np.float64), np.asarray(measured_ms, dtype=np.float64)
    error = mean_error(predicted, measured)
    found = Validation(
        predicted_ms=tuple(predicted.tolist()), measured_ms=tuple(measured.tolist()), drift=drift, error=error
    )
    if error <= TOLERATED or len(measured) < LEAST_NETWORKS:
        return found
    intercept, slope = linear_fit(predicted[::2], measured[::2])
    rest = mean_error(intercept + slope * predicted[1::2], measured[1::2])
    helps = slope > 0 and rest < mean_error(predicted[1::2], measured[1::2])
    if not helps:
        return found
    return found.model_copy(update={"correction": Correction(intercept_ms=intercept, slope=slope, error=rest)})


def mean_error(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Mean of |predicted / measured - 1|."""
    return float(np.mean(np.abs(predicted / measured - 1)))


def linear_fit(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope with the least sum of squares of ``(intercept + slope * predicted) / measured - 1``."""
    columns = np.stack([1 / measured, predicted / measured], axis=1)
    intercept, slope = np.linalg.lstsq(columns, np.ones(len(measured)), rcond=None)[0]
    return float(intercept), float(slope)
