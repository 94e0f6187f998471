"""Which tokens a model kept, counted over all rows: by kind of token, by position, by whether the answer was right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bertpress.reports.tables import Figure, Section

if TYPE_CHECKING:
    from bertpress.opened.explaining import Explanation

KINDS = ("special", "punctuation", "continues a word", "English stop word", "other")
Record = dict[str, Any]


def kinds_of(record: Record) -> list[str]:
    """The kind of each token of a row, of `KINDS`."""
    from bertpress.augmentation.words import stop_words

    stop, tail = stop_words("en"), record["tail"]
    found = []
    for number, special in enumerate(record["special"]):
        written = token_text(record, number).strip()
        is_whole = not any(tail[number : number + 2])
        if special:
            found.append("special")
        elif not any(char.isalnum() for char in written):
            found.append("punctuation")
        elif tail[number]:
            found.append("continues a word")
        else:
            found.append("English stop word" if is_whole and written.lower() in stop else "other")
    return found


def token_text(record: Record, number: int) -> str:
    """A token as it was written; one that the tokenizer added, by its name."""
    text, (start, end) = record["text"][number], record["offsets"][number]
    return str(record["tokens"][number] if text is None else record["texts"][text][start:end])


def deciles_of(record: Record) -> list[str]:
    """In which tenth of its row each token stands."""
    tokens = len(record["tokens"])
    return [f"{10 * tenth} to {10 * tenth + 10} %" for tenth in (10 * number // tokens for number in range(tokens))]


def answers_of(record: Record) -> list[str]:
    """Whether the prediction of each token's row was right; nothing where nobody knows."""
    if "right" not in record:
        return []
    return ["right answer" if record["right"] else "wrong answer"] * len(record["tokens"])


def after(layers: int) -> str:
    """When a decision is made."""
    return f"after {layers} layer" + "s" * (layers != 1)


def figures(explanation: Explanation) -> list[Figure]:
    """The numbers that say most."""
    passed = [last + 1 for record in explanation.rows for last in record["last_layer"]]
    detail = f"theoretical speed-up {1 / explanation.macs:.2f}x"
    found = [
        Figure(f"{100 * explanation.macs:.1f} %", "of the multiply-adds", detail),
        Figure(
            f"{sum(passed) / len(passed):.1f}", f"of {explanation.depth} layers per token", f"{len(passed):,} tokens"
        ),
    ]
    known = [record["right"] for record in explanation.rows if "right" in record]
    if known:
        found.append(Figure(f"{100 * sum(known) / len(known):.1f} %", "right answers", f"of {len(known):,} rows"))
    return found


def tables(explanation: Explanation) -> list[Section]:
    """The decisions, and what was kept of each group of tokens; groups without tokens are left out."""
    head = ["tokens", *(f"kept {after(layers)} %" for layers in explanation.layers), "layers per token"]
    groups: tuple[tuple[str, Callable[[Record], list[str]], Iterable[str]], ...] = (
        ("kind of token", kinds_of, KINDS),
        ("position in the row", deciles_of, [f"{tenth} to {tenth + 10} %" for tenth in range(0, 100, 10)]),
        ("answer", answers_of, ("right answer", "wrong answer")),
    )
    found = [_decisions(explanation)]
    for name, group_of, order in groups:
        counted = _counted(explanation, group_of)
        rows = [[group, *_cells(counted[group])] for group in order if group in counted]
        found.append(Section(f"Kept by {name}", [name, *head], rows))
    return [section for section in found if section.rows]


def _decisions(explanation: Explanation) -> Section:
    _, *kept, _ = _cells(_counted(explanation, lambda record: ["all"] * len(record["tokens"]))["all"])
    score = {"policy": "probability", "attention": "attention received"}.get(explanation.selector, explanation.selector)
    rows = [
        [after(layers), limit, share]
        for layers, limit, share in zip(explanation.layers, explanation.limits, kept, strict=True)
    ]
    return Section("Decisions", ["decision", f"goes on, by {score}", "kept %"], rows)


def _counted(explanation: Explanation, group_of: Callable[[Record], list[str]]) -> dict[str, list[int]]:
    """Group to its tokens, those kept at each decision, and the layers that they went through."""
    counted: dict[str, list[int]] = {}
    for record in explanation.rows:
        for group, kept, last in zip(group_of(record), record["kept"], record["last_layer"], strict=False):
            so_far = counted.setdefault(group, [0] * (len(kept) + 2))
            for place, value in enumerate((1, *kept, last + 1)):
                so_far[place] += value
    return counted


def _cells(counted: list[int]) -> list[str]:
    tokens, *kept, passed = counted
    return [f"{tokens:,}", *(f"{100 * count / tokens:.1f}" for count in kept), f"{passed / tokens:.1f}"]
