"""What an augmentation has made, in sentences: of the command, and of a recipe's step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEW = 0.05
"""Share of replaced words below which the augmented rows are hardly new."""


def told(made: Mapping[str, Any]) -> list[str]:
    """Rows and replaced words.

    Args:
        made: the manifest.
    """
    return [
        f"{made['rows']} rows, {made['original_rows']} of them original",
        f"replaced in a copy, on average: {100 * made['share_of_eligible']:.1f} % of the eligible words, "
        f"{100 * made['share_of_words']:.1f} % of all words",
    ]


def warnings(made: Mapping[str, Any]) -> list[str]:
    """What a user should look into before anything is trained on the rows."""
    few = f"warning: fewer than {100 * FEW:.0f} % of the words were replaced"
    return [few] if made["share_of_words"] < FEW else []
