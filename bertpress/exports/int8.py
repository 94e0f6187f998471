"""A graph in int8: throughout, or as much of it as a bound on the loss allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.comparison.comparing import NotComparable
from bertpress.engine.evaluation import logits_of
from bertpress.errors import RequestError
from bertpress.exports import OnnxExport, inputs, leaving_out
from bertpress.exports.quantizing import parts_of, quantize, saturates
from bertpress.exports.session import Feed, OnnxModel

if TYPE_CHECKING:
    import numpy as np

    from bertpress.tasks.task import Task


class Int8:
    """One graph on its way to int8.

    Args:
        plain: the graph in fp32.
        task: gives training rows, and a development split to score; None: nothing is scored.
        wanted: what is asked for.
        file: the graph that is written.
        work: a folder for graphs that are not kept.
    """

    def __init__(
        self,
        plain: OnnxModel,
        task: Task | None,
        wanted: OnnxExport,
        file: Path,
        work: Path,
        say: Callable[[str], None],
    ) -> None:
        self.plain, self.task, self.wanted, self.file, self.work, self.say = plain, task, wanted, file, work, say
        self.parts = parts_of(plain.file, plain.config)
        self.sensitivity: dict[str, float] | None = None
        self.logits: np.ndarray | None = None
        """what the graph as it is written says of the development split; None where that was not asked"""
        self._tried: dict[tuple[str, ...], np.ndarray] = {}

    def run(self) -> dict[str, Any]:
        """Write the graph, and keep its `logits`; what the export's record says of it.

        Raises:
            AnswerNo: the bound does not hold.
        """
        left_out: tuple[str, ...] = ()
        paired: dict[str, Any] | None
        if self.wanted.max_drop is not None:
            chosen = leaving_out.leave_out(len(self.parts), self._order, self.wanted.max_drop, self._attempt)
            self._write(chosen.left_out)  # the last one that was tried may be another
            left_out, paired = chosen.left_out, dict(chosen.test)
        else:
            self._write(())
            paired = self._loss()
        self.logits = self._tried.get(left_out)
        return {
            "parts": list(self.parts),
            "seven_bits": saturates(),
            "left_out": list(left_out),
            "sensitivity": self.sensitivity,
            "paired": paired,
        }

    @cached_property
    def _rows(self) -> list[Feed]:
        """Training rows on which ranges and sensitivities are measured."""
        assert self.task is not None
        return inputs.task_feeds(self.plain, self.task, self.task.encoded("train"), self.wanted.calibration_rows)

    @cached_property
    def _reference(self) -> np.ndarray:
        """What the graph in fp32 says of the development split."""
        return self._logits(self.plain)

    def _logits(self, graph: OnnxModel) -> np.ndarray:
        assert self.task is not None
        return logits_of(graph, self.task, self.task.encoded(self.task.dev_split))

    @property
    def _ranges(self) -> list[Feed] | None:
        return self._rows if self.wanted.calibration == "static" else None

    def _order(self) -> Sequence[str]:
        """The parts, the most sensitive first."""
        if self.sensitivity is None:
            self.say(f"measuring how sensitive {len(self.parts)} parts are")
            found = leaving_out.sensitivities(self.plain, self.parts, self._rows, self.work, self._ranges)
            self.sensitivity = found
        return list(self.sensitivity)

    def _write(self, left_out: Sequence[str]) -> None:
        nodes = [node for part, names in self.parts.items() if part not in left_out for node in names]
        quantize(self.plain.file, self.file, nodes, self._ranges)

    def _attempt(self, left_out: tuple[str, ...]) -> leaving_out.Trial:
        """The graph without some parts, and what it loses."""
        self._write(left_out)
        return self._scored(left_out)

    def _scored(self, left_out: tuple[str, ...]) -> leaving_out.Trial:
        assert self.task is not None
        logits = self._logits(OnnxModel(self.file, self.plain.config, self.plain.threads))
        self._tried[left_out] = logits
        try:
            test = leaving_out.compared(self.task, logits, self._reference)
        except NotComparable as error:
            raise RequestError(f"int8 cannot be compared with fp32 on {self.task.name}: {error}.") from None
        trial = leaving_out.Trial(left_out, test)
        self.say(str(trial))
        return trial

    def _loss(self) -> dict[str, Any] | None:
        """What int8 throughout loses; None where nobody can tell."""
        if self.task is None or not self.task.has_labels(self.task.dev_split):
            return None
        try:
            return dict(self._scored(()).test)
        except RequestError as error:
            self.say(str(error))
            return None
