"""Data augmentation of TinyBERT: each text again with some of its words replaced (arXiv 1909.10351, algorithm 1).

Idea: a student needs more sentences than a small data set has, and the teacher labels any sentence for free. A word
that is one token for the model is masked and the masked-language model proposes others for its place; any other word is
replaced by its neighbours among word vectors. Then the text is copied N times, each eligible word being replaced with
probability p by one of its candidates.

Phases: words (`words`), candidates (`candidates`, `vectors`), copies (`sampling`), all of it in shards that survive a
kill (`augmenting`).

How we differ from the paper and its code: replacements are spliced into the original text, so whatever is not replaced
stays as it was; the K candidates are taken after what cannot be a word (and the word itself) is left out, not before;
one pass over large batches replaces a pass per word, with the masked-language model's head applied to masked positions
only; pairs are (A', B) and (A, B'), which the original program meant but did not do; draws are a function of seed, row
and column, so that nothing else but rounding has a say in the result; without word vectors the model's own input
embeddings serve.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bertpress.config import Config


def _valid_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(
            rf"expected a regular expression of Python ('{error}'); letters of any language are [^\W\d_]+"
        ) from None
    return text


class Augmentation(Config):
    """Replace words of the training texts by what a masked-language model or word vectors propose."""

    samples: int | None = Field(None, ge=1)
    """augmented copies of a text; default: TinyBERT's of the task (GLUE: 10 to 30), else 20"""
    masked_lm: str | None = None
    """masked-language model that proposes words: folder or hub name"""
    vectors: str | None = None
    """word vectors in GloVe's text format (also .gz, .zip); default: the model's own input embeddings"""
    single_piece: Literal["masked-lm", "vectors", "keep"] | None = None
    """who proposes for words that are one token; default: masked-lm where one is given, else vectors"""
    multi_piece: Literal["vectors", "keep"] = "vectors"
    """who proposes for words of several tokens"""
    replace_probability: float = Field(0.4, gt=0, le=1)
    """probability with which an eligible word is replaced in a copy"""
    candidates: int = Field(15, ge=1)
    """largest number of candidates for a word"""
    context: Literal["pair", "single"] = "pair"
    """what the masked-language model sees: masked and original text, or the masked text alone"""
    exclude_original: bool = True
    """never propose the word itself"""
    stopwords: str = "en"
    """words that stay: en (173 common English words), none, or a file with a word per line"""
    word_pattern: Annotated[str, AfterValidator(_valid_pattern)] = "[A-Za-z]+"
    r"""regular expression that a whole word must match to be replaced; letters of any language: [^\W\d_]+"""
    word_segments: str | None = None
    """file with the texts segmented by spaces, a text per line, for languages that write none (Chinese)"""
    pair_mode: Literal["independent", "both"] = "independent"
    """texts of a pair: one augmented beside the original other (up to 2N + 1 rows), or both at once (N + 1)"""
    vector_limit: int = Field(100_000, ge=1)
    """rows that are read from the file of word vectors"""
    token_budget: int = Field(16_384, ge=1)
    """tokens in a batch of the masked-language model; changes speed and memory, and what rounding decides"""
    seed: int = Field(42, ge=0, lt=2**63)
    """of the draws"""

    @model_validator(mode="after")
    def _fits(self) -> Augmentation:
        if self.masked_lm is None and self.single_piece == "masked-lm":
            raise ValueError("single_piece masked-lm needs a masked-language model: give masked_lm (--masked-lm)")
        if self.masked_lm is None and self.word_segments is not None:
            raise ValueError("word_segments needs a masked-language model: give masked_lm (--masked-lm)")
        if self.masked_lm is not None and self.single_rule() != "masked-lm" and self.word_segments is None:
            raise ValueError(f"masked_lm is given, but single_piece {self.single_piece} does not use it: leave one out")
        if self.vectors is not None and not self.uses_vectors():
            raise ValueError("vectors is given, but no words are looked up in it: set single_piece or multi_piece")
        if self.single_rule() == "keep" and self.multi_piece == "keep":
            raise ValueError("single_piece and multi_piece are both keep, so no word would be replaced: change one")
        return self

    def single_rule(self) -> Literal["masked-lm", "vectors", "keep"]:
        """Who proposes for words that are one token, the default resolved."""
        if self.single_piece is not None:
            return self.single_piece
        return "vectors" if self.masked_lm is None else "masked-lm"

    def samples_of(self, task: str) -> int:
        """Number of augmented copies for a task, the default resolved."""
        return self.samples if self.samples is not None else SAMPLES.get(task, 20)

    def most_rows(self, task: str, columns: Sequence[str]) -> int:
        """Rows that a row becomes at most, itself included."""
        texts = len(columns) if self.pair_mode == "independent" else 1
        return 1 + texts * self.samples_of(task)

    def uses_vectors(self) -> bool:
        """Whether any word is looked up among word vectors."""
        return "vectors" in (self.single_rule(), self.multi_piece)


SAMPLES = {
    "glue/cola": 30,
    "glue/mnli": 10,
    "glue/mrpc": 30,
    "glue/sst2": 20,
    "glue/stsb": 30,
    "glue/qqp": 10,
    "glue/qnli": 20,
    "glue/rte": 30,
}
"""N of the published program; the paper says 20 everywhere."""
