"""What the models of a run read, where `bertpress explain` left a trace beside their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bertpress.reports import trace_page
from bertpress.reports.curves import read_log
from bertpress.values import mapping, number, words

FILE = "trace.jsonl"
"""In the folder of a step"""
MOST_ROWS = 10


@dataclass(frozen=True)
class Walked:
    """Where a model decides about tokens."""

    layers: tuple[int, ...]
    depth: int


class Record(BaseModel):
    """A row of a trace as far as a report shows it; see `explaining.Explanation`."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    row: int
    texts: list[str]
    tokens: list[str]
    offsets: list[list[int]]
    text: list[int | None]
    special: list[bool]
    scores: list[list[float | None]]
    kept: list[list[bool]]
    last_layer: list[int]
    prediction: str | float | None = None
    probability: float | None = None
    label: str | float | None = None
    right: bool | None = None

    def fits(self, decisions: int) -> bool:
        """Whether every token has all that is said of tokens, and stands in a text."""
        tokens = len(self.tokens)
        told = (self.offsets, self.text, self.special, self.scores, self.kept, self.last_layer)
        return all(len(column) == tokens for column in told) and all(
            len(self.offsets[at]) == 2
            and len(self.scores[at]) == len(self.kept[at]) == decisions
            and self._stands(self.text[at], *self.offsets[at])
            for at in range(tokens)
        )

    def _stands(self, text: int | None, begin: int, end: int) -> bool:
        return text is None or (0 <= text < len(self.texts) and 0 <= begin <= end <= len(self.texts[text]))


def traces_of(folder: Path, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The traces of a run's steps, and notes on those that cannot be shown.

    Args:
        rows: of the run's report.

    Returns:
        `name`, `layers`, `depth` and the first `rows` of each.
    """
    found, notes = [], []
    for row in rows:
        if not (folder / row["folder"] / FILE).is_file():
            continue
        kept = row["token_reduction"].get("kept")
        layers = [number(mapping(entry), "layer") for entry in kept] if isinstance(kept, list) else []
        records = _records(folder / row["folder"] / FILE, len(layers))
        if row["layers"] is None or None in layers or not layers or not records:
            notes.append(f"the trace of {words(row['name'])} is not shown: {FILE} is none of this model")
            continue
        places = [int(layer) for layer in layers if layer is not None]
        found.append({"name": row["name"], "layers": places, "depth": int(row["layers"]), "rows": records})
    return found, notes


def _records(file: Path, decisions: int) -> list[dict[str, Any]]:
    """The first rows of a trace; none if one of them is no row of this model's."""
    try:
        rows = [Record.model_validate(entry) for entry in read_log(file)[:MOST_ROWS]]
    except ValidationError:
        return []
    return [row.model_dump(exclude_none=True) for row in rows] if all(row.fits(decisions) for row in rows) else []


def shown(trace: dict[str, Any]) -> list[trace_page.Shown]:
    """The rows of a trace in pieces of text."""
    walked = Walked(tuple(trace["layers"]), trace["depth"])
    return [trace_page.shown_row(record, walked) for record in trace["rows"]]


def legend(trace: dict[str, Any]) -> list[str]:
    """What each level of shading means."""
    return trace_page.legend(Walked(tuple(trace["layers"]), trace["depth"]))


def shades(traces: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Class of a trace, by its number of decisions, to the shade of each level."""
    return {f".decisions-{len(trace['layers'])}": trace_page.shades(len(trace["layers"])) for trace in traces}
