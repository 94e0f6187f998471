"""Which method presses which kind of task on which architecture: what is promised, tested, and shown in the docs.

`python tests/contract/support.py` writes the table of docs/encoders.md anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
PLACE = re.compile(r"<!-- support -->\n.*?<!-- /support -->", flags=re.DOTALL)
METHODS = {"finetune": "F", "theseus": "T", "tinybert": "B", "trbert": "R", "yoco": "Y", "vocabulary": "V"}
"""Methods and how the table shortens them."""
PROMISED = ("bert", "roberta", "distilbert", "electra")
"""Architectures with which every method presses every kind of task."""
ARCHITECTURES = (*PROMISED, "modernbert", "deberta-v2")
KINDS = (
    "classification",
    "masked-lm",
    "tagging",
    "mrc",
    "qa",
    "multihop",
    "candidates",
    "choice",
    "embedding",
)
REASONS = {
    "skipping": "TR-BERT and YOCO-BERT need a [compact model](#compact-models), and there is none: attention looks at "
    "positions, so tokens cannot be skipped",
    "head": "The head of `multihop` is a class of ours, saved with compact models only",
}
"""Why a cell is refused."""


def refusal(method: str, kind: str, architecture: str) -> str | None:
    """A key of `REASONS`, or None for what works."""
    if architecture in PROMISED:
        return None
    if method in ("trbert", "yoco"):
        return "skipping"
    return "head" if kind == "multihop" else None


def cells() -> Iterator[tuple[str, str, str]]:
    """(method, kind, architecture) of the whole matrix."""
    return ((method, kind, architecture) for method in METHODS for kind in KINDS for architecture in ARCHITECTURES)


def table() -> str:
    """The matrix in Markdown: a row for each kind of task, in a cell the methods that work, and reasons below."""
    legend = ", ".join(f"{letter} {method}" for method, letter in METHODS.items())
    lines = [f"{legend}. `xlm-roberta` is as `roberta`.", ""]
    lines += ["| Kind of task | " + " | ".join(f"`{name}`" for name in ARCHITECTURES) + " |"]
    lines += ["|---" * (len(ARCHITECTURES) + 1) + "|"]
    used: list[str] = []
    for kind in KINDS:
        found = [_cell(kind, architecture, used) for architecture in ARCHITECTURES]
        lines.append(f"| `{kind}` | " + " | ".join(found) + " |")
    lines += ["", *(f"{number}. {REASONS[reason]}." for number, reason in enumerate(used, 1))]
    return "\n".join(lines)


def _cell(kind: str, architecture: str, used: list[str]) -> str:
    """Letters of the methods that work, and the numbers of the reasons why others do not."""
    why = {method: refusal(method, kind, architecture) for method in METHODS}
    reasons = list(dict.fromkeys(reason for reason in why.values() if reason))
    used += [reason for reason in reasons if reason not in used]
    letters = " ".join(letter for method, letter in METHODS.items() if why[method] is None)
    numbers = ", ".join(str(number) for number in sorted(used.index(reason) + 1 for reason in reasons))
    return " ".join(part for part in (letters, f"({numbers})" if numbers else "") if part)


def filled(page: str) -> str:
    """The text of a page with the table in its place."""
    return PLACE.sub(lambda _: f"<!-- support -->\n{table()}\n<!-- /support -->", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
