"""Plain text as training data: what is read, and how rows are made of it.

There is one way from text to rows. The text is read as a stream and tokenised once into a store on disk
(`corpus.store`); rows are ranges of the store (`corpus.rows`). Memory does not grow with the text: per row two bytes
stay in it, per sentence and per token none.

What a row is made of (sentences, pairs, windows) is drawn once, from the seed, and is the same in every epoch; only
masks change from epoch to epoch, and those are drawn in training. What is held out for validation depends on the text
and the share alone, so that runs with other seeds and lengths are scored on the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bertpress.config import Config

Format = Literal["documents", "lines"]


def _one_is_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _off_is_a_word(value: Any) -> Any:
    return "off" if value is False else value  # YAML reads the bare word as false


Files = Annotated[tuple[str, ...], BeforeValidator(_one_is_several), Field(min_length=1)]


class CorpusSpec(Config):
    """Which text, and how rows are made of it. `Format` says which fields count: the others must be left alone."""

    files: Files
    """Files, patterns (`*.txt`) and folders: text (.txt), .jsonl and .parquet, also gzipped (.gz). Of a folder with a
    file train*, only the files of that name are read."""
    text_column: str = "text"
    """Column of .jsonl and .parquet files with the text; a row is a line, or several if it holds line breaks."""
    format: Literal["auto", "documents", "lines"] = "auto"
    """documents: a sentence per line, blank lines between documents. lines: a sentence or short paragraph per line,
    which has nothing to do with the next. auto: documents if a blank line separates text anywhere in a file."""
    next_sentence: Literal["random50", "consecutive", "none"] = "none"
    """documents: none packs one segment per row; consecutive makes pairs of neighbouring text; random50 takes the
    second half of every other pair from another document, as BERT did."""
    short_probability: float = Field(default=0.1, ge=0, le=1)
    """documents with pairs: share of the documents whose rows are shorter, of a length drawn once per document."""
    pack: Annotated[Literal["concat", "off"], BeforeValidator(_off_is_a_word)] = "concat"
    """lines: concat fills each row with whole consecutive lines; off makes a row of each line."""
    pair_probability: float | None = Field(default=None, ge=0, le=1)
    """lines without packing: how often a line and the next become a pair; by default 0.5 if the tokenizer tells
    segments apart, else 0."""
    overflow: Literal["split", "truncate"] = "split"
    """What becomes of a line that is longer than a row: several rows, or one with its beginning. Pairs of documents are
    always cut."""
    validation: Annotated[float, Field(ge=0, lt=1)] | Files = 0.01
    """Share of the text to hold out (whole documents, or runs of lines; at most 200,000 tokens), or files with the
    validation text."""

    @model_validator(mode="after")
    def _pairs_are_not_packed(self) -> CorpusSpec:
        if self.pair_probability and self.pack == "concat":
            raise ValueError(f"pair_probability={self.pair_probability:g} needs pack=off; packed rows have one segment")
        return self

    @model_validator(mode="after")
    def _fields_have_an_effect(self) -> CorpusSpec:
        if self.format != "auto" and (reason := self.idle(self.format)):
            raise ValueError(f"{reason}, but the text is set to format={self.format}: change one")
        return self

    def idle(self, format: Format) -> str | None:
        """What a field that was changed would need to have an effect on text of this format; None if all have one."""
        for name, is_idle, needed in IDLE:
            if is_idle(self, format) and (value := getattr(self, name)) != CorpusSpec.model_fields[name].default:
                return f"{name}={value} needs {needed}"
        return None


IDLE: tuple[tuple[str, Callable[[CorpusSpec, Format], bool], str], ...] = (
    ("pack", lambda spec, format: format == "documents", "format=lines"),
    ("pair_probability", lambda spec, format: format == "documents", "format=lines"),
    ("next_sentence", lambda spec, format: format == "lines", "format=documents"),
    (
        "short_probability",
        lambda spec, format: format == "lines" or spec.next_sentence == "none",
        "format=documents and pairs (next_sentence=random50 or consecutive)",
    ),
    (
        "overflow",
        lambda spec, format: format == "documents" and spec.next_sentence != "none",
        "format=lines or next_sentence=none",
    ),
)
"""(field, whether it has no effect, what it needs)"""
