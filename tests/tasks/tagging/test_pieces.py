import pytest
from conftest import make_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bertpress.errors import RequestError
from bertpress.tasks.tagging import pieces
from bertpress.tasks.tagging.pieces import apart, pieces_of

TEXT = "the road, a zoo"
STARTS, ENDS = [0, 4, 8, 10, 12], [3, 8, 9, 11, 15]


def names(tokenizer, text=TEXT, starts=STARTS, ends=ENDS):
    found = pieces_of(tokenizer, text, starts, ends)
    return tokenizer.convert_ids_to_tokens(found.ids), found.words


def wrapped(backend, **special):
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def byte_level(prefix):
    """Byte pairs that join the letters of `Ġroad`, `road` and `Ġthe` one after the other."""
    letters = ["<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("r", "o"), ("ro", "a"), ("roa", "d"), ("Ġ", "road"), ("t", "h"), ("th", "e"), ("Ġ", "the")]
    words = {word: number for number, word in enumerate([*letters, *("".join(pair) for pair in merges)])}
    backend = Tokenizer(models.BPE(words, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    return wrapped(backend, unk_token="<unk>")


def sentence_piece(before=(), strip=False):
    """A mark for a space, some words with it, and all letters without."""
    words = ["<unk>", "▁", "▁the", "▁road", "the", "road", "▁a", ",", *"adehotrz"]
    backend = Tokenizer(models.Unigram([(word, -len(words) + len(word)) for word in words], unk_id=0))
    space = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.pre_tokenizer = pre_tokenizers.Sequence([*before, space]) if before else space
    if strip:
        backend.normalizer = normalizers.Strip()
    return wrapped(backend, unk_token="<unk>")


def test_word_pieces_are_those_of_a_tokenizer_that_is_given_the_words():
    tokenizer = make_tokenizer()
    found = pieces_of(tokenizer, TEXT, STARTS, ENDS)
    words = [TEXT[start:end] for start, end in zip(STARTS, ENDS, strict=True)]
    expected = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert found.ids == expected["input_ids"]
    assert found.words == expected.word_ids(0)
    assert found.words == [0, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize("prefix", [False, True])
def test_byte_pairs_have_the_mark_of_a_space_where_there_is_one(prefix):
    expected = (["Ġthe", "Ġroad", ",", "Ġ", "a", "Ġ", "z", "o", "o"], [0, 1, 2, 3, 3, 4, 4, 4, 4])
    assert names(byte_level(prefix)) == expected


def test_byte_pairs_of_words_that_stand_apart_are_those_of_a_tokenizer_with_a_space_before():
    tokenizer = byte_level(prefix=True)
    words = ["the", "road", "a", "zoo"]
    found = pieces_of(byte_level(prefix=False), " ".join(words), [0, 4, 9, 11], [3, 8, 10, 14])
    expected = tokenizer.backend_tokenizer.encode(words, is_pretokenized=True)
    assert (found.ids, found.words) == (expected.ids, expected.word_ids)


@pytest.mark.parametrize(
    ("before", "strip"), [((), False), ((), True), ((pre_tokenizers.WhitespaceSplit(),), False)], ids=str
)
def test_sentence_pieces_have_the_mark_of_a_space_where_there_is_one(before, strip):
    tokenizer = sentence_piece(before, strip)
    assert names(tokenizer) == (["▁the", "▁road", ",", "▁a", "▁", "z", "o", "o"], [0, 1, 2, 3, 4, 4, 4, 4])
    together = pieces_of(tokenizer, "theroad", [0, 3], [3, 7])
    assert tokenizer.convert_ids_to_tokens(together.ids) == ["the", "road"]


def test_a_normalizer_that_puts_a_mark_before_every_text_does_so_only_after_a_space():
    words = {word: number for number, word in enumerate(["<unk>", "▁the", "the", "▁", "road", "▁road"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = wrapped(backend, unk_token="<unk>")
    assert names(tokenizer, "the road", [0, 4], [3, 8])[0] == ["▁the", "▁road"]
    assert names(tokenizer, "theroad", [0, 3], [3, 7])[0] == ["the", "road"]


def test_a_word_that_the_tokenizer_leaves_out_is_unknown():
    text = "the \u3000 \u200b road"
    assert names(make_tokenizer(), text, [0, 4, 6, 7, 8], [3, 5, 7, 7, 12]) == (
        ["the", "[UNK]", "[UNK]", "[UNK]", "road"],
        [0, 1, 2, 3, 4],
    )


def test_a_word_without_a_token_needs_an_unknown_token():
    backend = Tokenizer(models.BPE({"a": 0}, []))
    backend.normalizer = normalizers.BertNormalizer()
    with pytest.raises(RequestError, match=r"no token for the word '\\u200b'"):
        pieces_of(wrapped(backend), "a\u200b", [0, 1], [1, 2])


def test_each_word_is_cut_once(monkeypatch):
    tokenizer = make_tokenizer.__wrapped__()
    calls = []
    original = pieces.Cutter._cut
    monkeypatch.setattr(pieces.Cutter, "_cut", lambda self, *word: calls.append(word) or original(self, *word))
    for _ in range(3):
        assert names(tokenizer, "a a a,a", [0, 2, 4, 5, 6], [1, 3, 5, 6, 7])[0] == ["a", "a", "a", "[UNK]", "a"]
    assert calls == [("a", True), (",", False), ("a", False)]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(pieces, "MOST_WORDS", 2)
    tokenizer = make_tokenizer.__wrapped__()
    names(tokenizer, "a b c d", [0, 2, 4, 6], [1, 3, 5, 7])
    assert len(pieces._CUTTERS[tokenizer].known) <= 2


@pytest.mark.parametrize(
    ("text", "starts", "expected"),
    [
        ("Hello, you", [0, 5, 7], [True, False, True]),
        ("London", [0], [True]),
        ("我们", [0, 1], [False, False]),
        ("a\u00a0b\u3000c", [0, 2, 4], [True, True, True]),
        (" a,b", [1, 2, 3], [True, False, False]),
        ("", [], []),
    ],
)
def test_which_words_stand_apart(text, starts, expected):
    assert apart(text, starts) == expected
