"""Text of which nothing is asked: what a bare encoder learns another's hidden states and attention from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.tasks.masked_lm import TextRows

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class PlainText(TextRows):
    """Rows of text for general distillation, with masked tokens if `masking` says which; no head, labels or score."""

    kind, head, asks = "encoder", None, False
    metrics, primary = (), "distance"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.repeats = self.masking is None

    def aligned(self, config: PretrainedConfig) -> PlainText:
        return self

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = super().collate(rows, draw)
        return {name: value for name, value in batch.items() if name != "labels"}

    def has_labels(self, split: str) -> bool:
        return False

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        self._refuse()

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        self._refuse()

    def score(self, logits: np.ndarray, split: str) -> dict[str, float]:
        return {}

    def chance_score(self, split: str) -> float:
        return 0.0

    def decode(self, logits: np.ndarray, split: str) -> list[dict[str, Any]]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RequestError(
            "Plain text for a bare encoder asks nothing, so there are no predictions to train or to score; use kind "
            "masked-lm, or only step 1 of tinybert (prediction: null)."
        )
