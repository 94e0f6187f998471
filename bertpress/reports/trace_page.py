"""What a model reads, shown: texts shaded by the layers that each token went through, as a page and in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bertpress.reports import token_summary
from bertpress.reports.pages import page
from bertpress.reports.token_summary import after, token_text
from bertpress.values import as_written, cut, words

if TYPE_CHECKING:
    import rich.table
    import rich.text

    from bertpress.opened.explaining import Explanation
    from bertpress.reports.tables import Section

MOST_ROWS = 100
"""More are counted, but not shown."""
MOST_CHARACTERS = 300
"""of a piece of text; more are cut"""
READING = (
    "Each token is shaded by how many layers were computed for it; a token that is skipped keeps the state that it "
    "has. The first token of a row, which a classifier reads, always goes on. Shares are of all tokens, also of those "
    "that were skipped before; the multiply-adds are those of the tokens kept, padding left out."
)


class Walk(Protocol):
    """Where a model decides about tokens."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Decisions are made after so many layers."""

    @property
    def depth(self) -> int:
        """Layers of the model."""


class Piece(NamedTuple):
    """A stretch of a text."""

    text: str
    tokens: tuple[int, ...] = ()
    """numbers of the tokens that it is; none for what stands between tokens, or was cut off"""
    is_special: bool = False
    """the tokenizer put it there"""
    level: int | None = None
    """how many decisions kept it"""
    note: str = ""
    """what happened to it, in words"""


class Shown(NamedTuple):
    """A row as the page shows it."""

    number: int
    answer: str
    paragraphs: list[list[Piece]]
    facts: str
    tokens: list[list[str]]
    """of each token its text, what each decision said, and its layers"""


def pieces_of(text: str, spans: Iterable[tuple[int, Sequence[int]]]) -> list[Piece]:
    """A text as it was written, cut into tokens and what stands between them.

    Tokens that share their characters with the one before, such as the bytes of a letter, are one piece with it.

    Args:
        spans: number of each token, and where it begins and ends.
    """
    pieces: list[Piece] = []
    at = 0
    for number, (begin, end) in spans:
        begin = max(begin, at)
        while begin < end and text[begin].isspace():  # some tokenizers count the space before a word to it
            begin += 1
        if begin >= end:
            last = pieces.pop() if pieces else Piece("")
            pieces.append(last._replace(tokens=(*last.tokens, number)))
            continue
        pieces += [Piece(text[at:begin])] * (begin > at) + [Piece(text[begin:end], (number,))]
        at = end
    return [*pieces, Piece(text[at:])] if at < len(text) else pieces


def paragraphs_of(record: dict[str, Any]) -> list[list[Piece]]:
    """A row's texts in pieces, with the tokens that the tokenizer put before, between and behind them."""
    paragraphs: list[list[Piece]] = [[]]
    written: set[int | None] = set()
    for number, which in enumerate(record["text"]):
        if which is None:
            paragraphs[-1].append(Piece(record["tokens"][number], (number,), is_special=True))
        elif which not in written:
            if written:
                paragraphs.append([])
            written.add(which)
            spans = [(at, record["offsets"][at]) for at, text in enumerate(record["text"]) if text == which]
            paragraphs[-1] += pieces_of(record["texts"][which], spans)
    unread = [[Piece(text)] for which, text in enumerate(record["texts"]) if which not in written and text]
    return [*paragraphs, *unread]


def shown_row(record: dict[str, Any], explanation: Walk) -> Shown:
    """A row in words and pieces."""
    paragraphs = [
        [_noted(piece, record, explanation) for piece in pieces if piece.text] for pieces in paragraphs_of(record)
    ]
    tokens = len(record["tokens"])
    left = [sum(kept[step] for kept in record["kept"]) for step in range(len(explanation.layers))]
    counts = [f"{count} {after(layers)}" for count, layers in zip(left, explanation.layers, strict=True)]
    table = [
        [_one_line(token_text(record, number)), *_decisions(record, number), _depth(record, number, explanation)]
        for number in range(tokens)
    ]
    return Shown(record["row"], answer_of(record), paragraphs, f"{tokens} tokens: {', '.join(counts)}", table)


def answer_of(record: dict[str, Any]) -> str:
    """Prediction, its probability, and the label, as far as they are known."""
    prediction = record.get("prediction")
    answer = f"{prediction:.3f}" if isinstance(prediction, float) else words(prediction)
    if "probability" in record:
        answer += f" ({100 * record['probability']:.0f} %)"
    if "label" in record:
        label = record["label"]
        answer += f", label {f'{label:.3f}' if isinstance(label, float) else words(label)}"
    if "right" in record:
        answer += ": right" if record["right"] else ": wrong"
    return answer


def html(explanation: Explanation) -> str:
    """The explanation as one self-contained page."""
    rows = [shown_row(record, explanation) for record in explanation.rows[:MOST_ROWS]]
    count = len(explanation.rows)
    context = {
        "title": f"What {words(explanation.model)} reads",
        "about": f"{words(explanation.about)}: {count:,} row" + "s" * (count != 1),
        "cut_rows": f"The first {MOST_ROWS} of {count:,} rows are shown; all are counted." if count > MOST_ROWS else "",
        "figures": token_summary.figures(explanation),
        "sections": token_summary.tables(explanation),
        "rows": rows,
        "legend": legend(explanation),
        "shades": shades(len(explanation.layers)),
        "head": ["token", *(after(layers) for layers in explanation.layers), "layers"],
        "reading": READING,
    }
    return page("trace.html.jinja", context)


def legend(explanation: Walk) -> list[str]:
    """What each level of shading means, the lowest first."""
    ends = [*explanation.layers, explanation.depth]
    return [f"{end} of {explanation.depth} layers" for end in ends]


def shades(decisions: int) -> list[float]:
    """How much of the accent colour each level gets."""
    return [round(0.06 + 0.42 * level / max(1, decisions), 3) for level in range(decisions + 1)]


def _noted(piece: Piece, record: dict[str, Any], explanation: Walk) -> Piece:
    """A piece ready to be shown: no longer than there is room for, with what happened to its tokens."""
    text = as_written(cut(piece.text, MOST_CHARACTERS))
    if len(piece.text) > MOST_CHARACTERS:
        text += f" [{len(piece.text) - MOST_CHARACTERS:,} more characters]"
    if not piece.tokens:
        return piece._replace(text=text)
    notes = []
    for number in piece.tokens:
        decisions = zip(explanation.layers, _decisions(record, number), strict=True)
        told = [f"{after(layers)} {said}" for layers, said in decisions if said != "-"]
        notes.append(
            f"{_one_line(record['tokens'][number])}: {'; '.join(told)}; {_depth(record, number, explanation)} layers"
        )
    level = max(sum(record["kept"][number]) for number in piece.tokens)
    return piece._replace(text=text, level=level, note=" | ".join(notes))


def _decisions(record: dict[str, Any], number: int) -> list[str]:
    """What each decision said of a token: its score and whether it went on; a dash after it was skipped."""
    said, alive = [], True
    for score, kept in zip(record["scores"][number], record["kept"][number], strict=True):
        verdict = "kept" if kept else "skipped"
        said.append((verdict if score is None else f"{score:.3g} {verdict}") if alive else "-")
        alive = kept
    return said


def _depth(record: dict[str, Any], number: int, explanation: Walk) -> str:
    return f"{record['last_layer'][number] + 1} of {explanation.depth}"


def _one_line(text: str) -> str:
    return words(cut(text, MOST_CHARACTERS)) or "␣"


def shaded(record: dict[str, Any], explanation: Explanation) -> rich.text.Text:
    """A row for a terminal with colours."""
    from rich.text import Text

    line = _heading(record)
    for pieces in shown_row(record, explanation).paragraphs:
        for piece in pieces:
            style = "" if piece.level is None else style_of(piece.level, len(explanation.layers))
            line.append_text(Text(piece.text, style=style))
            line.append(" " * piece.is_special)
        line.append("\n")
    return line


def dotted(record: dict[str, Any], explanation: Explanation) -> rich.text.Text:
    """A row without colours: its text as each decision left it, with dots for what was skipped."""
    line = _heading(record)
    paragraphs = shown_row(record, explanation).paragraphs
    names = ["all", *map(after, explanation.layers)]
    for step, name in enumerate(names):
        line.append(f"{name:>{max(map(len, names))}}:")
        for pieces in paragraphs:
            line.append(" ")
            for piece in pieces:
                alive = piece.level is None or piece.level >= step
                line.append(piece.text if alive else "·" * len(piece.text))
                line.append(" " * piece.is_special)
        line.append("\n")
    return line


def _heading(record: dict[str, Any]) -> rich.text.Text:
    from rich.text import Text

    return Text.assemble((f"row {record['row']}: {answer_of(record)}\n", "bold"))


def style_of(level: int, top: int) -> str:
    """Dim for what was skipped first, else black or white on a blue that grows with the level."""
    if level == 0:
        return "dim"
    part = level / top
    red, green, blue = (round(light + (dark - light) * part) for light, dark in ((214, 31), (228, 95), (250, 191)))
    return f"{'white' if part > 0.7 else 'black'} on #{red:02x}{green:02x}{blue:02x}"


def section_table(section: Section) -> rich.table.Table:
    """A table of the summary for a terminal."""
    from rich.table import Column, Table
    from rich.text import Text

    columns = [Column(Text(name), justify="right" if place else "left") for place, name in enumerate(section.head)]
    shown = Table(*columns, title=Text(section.caption), title_justify="left")
    for row in section.rows:
        shown.add_row(*map(Text, row))
    return shown
