"""Vocabularies made from the text itself, as tokenizers of BERT's kind.

`wordpiece` learns frequent pieces of words with the `tokenizers` library. `characters` has a piece for each character,
which suits Chinese: BERT's normaliser sets each Chinese character apart, so that its piece is the character itself,
while letters of a word after the first get the usual prefix.

The library numbers the pieces inside words by an order that changes from process to process, and breaks ties by these
numbers. They are therefore counted here first and handed over in a fixed order; the same text then always gives the
same vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from bertpress.corpus import CorpusSpec
from bertpress.corpus.reading import find_files, read_lines
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import BertTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREFIX = "##"
SMALLEST = 100
MOST_LINES = 1_000_000
"""Of more lines, evenly spaced ones are counted: the library keeps every different word in memory."""
SEEN_SHARE = 0.9999
"""Of the characters of the text, so many get a piece; the rest are misprints and rare signs."""


def build_tokenizer(
    spec: CorpusSpec,
    kind: Literal["wordpiece", "characters"] = "wordpiece",
    size: int = 30_522,
    lowercase: bool = True,
    max_length: int = 512,
    say: Callable[[str], None] = lambda _: None,
) -> BertTokenizer:
    """A tokenizer for the text of `spec.files`, with BERT's special tokens; save it with `save_pretrained`.

    Args:
        kind: what pieces are; see the module.
        size: the most entries, special tokens included.
        lowercase: letters in lower case and without accents, as BERT's uncased models have them.
        max_length: that the tokenizer remembers as its model's.

    Raises:
        RequestError: no text, or a size that leaves no room for the characters.
    """
    from transformers import BertTokenizer

    if size < SMALLEST:
        raise RequestError(f"Expected a vocabulary of at least {SMALLEST} entries, got {size}: give more.")
    empty = BertTokenizer(do_lower_case=lowercase).backend_tokenizer
    lines = sum(1 for _ in _lines(spec, say))
    if not lines:
        raise RequestError(f"Expected text in {', '.join(spec.files)}, found none: give other files.")
    firsts, insides = _count_characters(_sample(spec, lines), empty)
    room = size - len(SPECIAL)
    if kind == "characters":
        pieces = _character_pieces(firsts, insides, room)
    else:
        alphabet = _character_pieces(firsts, insides, room // 2, SEEN_SHARE)
        pieces = _word_pieces(_sample(spec, lines), empty, alphabet, size)
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *pieces])}
    say(f"The vocabulary has {len(vocabulary):,} entries, made from {lines:,} lines.")
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase, model_max_length=max_length)


def _lines(spec: CorpusSpec, say: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    for path in find_files(spec.files, say):
        yield from (line for line in read_lines(path, spec.text_column) if line is not None)


def _sample(spec: CorpusSpec, lines: int) -> Iterator[str]:
    return islice(_lines(spec), 0, None, -(-lines // MOST_LINES))


def _count_characters(lines: Iterator[str], backend: Any) -> tuple[Counter[str], Counter[str]]:
    """How often each character begins a word, and how often it stands inside."""
    firsts: Counter[str] = Counter()
    insides: Counter[str] = Counter()
    while batch := list(islice(lines, 1000)):
        words: Counter[str] = Counter()
        for text in batch:
            normal = backend.normalizer.normalize_str(text)
            words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
        for word, times in words.items():
            firsts[word[0]] += times
            for character in word[1:]:
                insides[character] += times
    return firsts, insides


def _character_pieces(firsts: Counter[str], insides: Counter[str], most: int, share: float = 1.0) -> list[str]:
    """At most `most` pieces for the most frequent characters, so many as make up `share` of the text.

    A character that stands inside words has two, one with the prefix.
    """
    total = firsts + insides
    wanted, seen = share * total.total(), 0
    pieces: list[str] = []
    for character in sorted(total, key=lambda each: (-total[each], each)):
        own = [character, PREFIX + character] if insides[character] else [character]
        if seen >= wanted or len(pieces) + len(own) > most:
            break
        pieces += own
        seen += total[character]
    return pieces


def _word_pieces(lines: Iterator[str], backend: Any, alphabet: list[str], size: int) -> list[str]:
    """The alphabet and frequent pieces made of it, in the order they were learned."""
    from tokenizers import Tokenizer, models, trainers

    single = [piece for piece in alphabet if not piece.startswith(PREFIX)]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[*SPECIAL, *alphabet],  # numbered first, in this order
        initial_alphabet=single,
        limit_alphabet=len(single),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    learner.train_from_iterator(lines, trainer)
    vocabulary = learner.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)[len(SPECIAL) :]
