from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer

from bertpress.engine.loading import packaged_minilm
from bertpress.errors import RequestError
from bertpress.tasks.reading.features import MARKERS, Reader, Tokens, most_context
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.windows import cuts

from .fixtures import MRQA_CONTEXT


def reader(max_length=32, tokenizer=None, **settings):
    return Reader(tokenizer or make_tokenizer(), max_length, ReadingSettings(**settings))


def windows_of(made, question, context, answers=(), training=False):
    """The windows of one question; answers are pairs of text and place, or None."""
    records: dict[str, Any] = {"question": [question], "context": [context]}
    if answers is not None:
        records |= {
            "answer_texts": [[text for text, _ in answers]],
            "answer_starts": [[start for _, start in answers]],
            "accepted": [[]],
        }
    (windows,) = made.windows_of(records, training)
    return windows


def naive_most_context(windows, position):
    """_check_is_max_context of run_squad.py in other words: the window in which a position has most context."""
    best, owner = None, None
    for number, (start, stop) in enumerate(windows):
        last = stop - 1
        if start <= position <= last:
            score = min(position - start, last - position) + 0.01 * (last - start + 1)
            if best is None or score > best:
                best, owner = score, number
    return owner


def test_most_context_is_that_of_the_original():
    generator = random.Random(0)
    for _ in range(200):
        windows = cuts(generator.randint(1, 90), generator.randint(1, 20), generator.randint(1, 25))
        found = most_context(windows)
        owners = [naive_most_context(windows, position) for position in range(windows[-1][1])]
        for number, (first, stop) in enumerate(found):
            assert [owner == number for owner in owners] == [first <= place < stop for place in range(len(owners))]
    assert most_context([(0, 0)]) == [(0, 0)]
    assert most_context([(0, 8), (4, 12)]) == [(0, 6), (6, 12)]


@pytest.mark.parametrize(
    ("start", "length", "tokens"),
    [(0, 3, (0, 0)), (1, 1, (0, 0)), (4, 5, (1, 1)), (2, 3, (0, 1)), (3, 1, None), (4, 6, (1, 2)), (0, 99, (0, 3))],
)
def test_answers_become_the_fewest_tokens_that_cover_them(start, length, tokens):
    # "the housed ay": the, house, ##d, ay
    made = Tokens([1, 2, 3, 4], np.array([0, 4, 9, 11]), np.array([3, 9, 10, 13]))
    assert made.of(start, length) == tokens


def test_a_short_text_has_one_window_as_the_tokenizer_would_frame_it():
    tokenizer = make_tokenizer()
    question, context = "was the house old", "The house was green and quick"
    (window,) = windows_of(reader(), question, context, [("green", 14)])
    expected = tokenizer(question, context)
    assert window["input_ids"] == expected["input_ids"]
    assert window["token_type_ids"] == expected["token_type_ids"]
    at = window["text_at"]
    assert [context[a:b] for a, b in zip(window["char_starts"], window["char_ends"], strict=True)] == context.split()
    assert tokenizer.convert_ids_to_tokens(window["input_ids"][at : at + 2]) == ["the", "house"]
    assert (window["starts"], window["ends"]) == ([at + 3], [at + 3])
    assert (window["most_from"], window["most_to"]) == (at, at + 6)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_windows_hold_every_answer_that_fits_where_it_stands(family):
    generator = random.Random(1)
    words = ["house", "road", "day", "zebra", "a", "café", "the", "9", "—", "green"]
    for _ in range(60):
        context = " ".join(generator.choice(words) for _ in range(generator.randint(1, 50)))
        question = " ".join(generator.choice(words) for _ in range(generator.randint(1, 12)))
        first = generator.randrange(len(context))
        text = context[first : first + generator.randint(1, 25)].strip()
        first = context.find(text, first)
        made = reader(tokenizer=make_tokenizer(family), step=generator.randint(1, 30), question_length=5)
        seen = set()
        for window in windows_of(made, question, context, [(text, first)] if text else []):
            size = len(window["char_starts"])
            assert len(window["input_ids"]) <= 32
            assert ("token_type_ids" in window) == (family == "bert")
            at = window["text_at"]
            seen |= set(window["char_starts"].tolist())
            (start,), (end,) = window["starts"], window["ends"]
            # the answer's characters, by the offsets of the tokens that were chosen
            inside = text and window["char_starts"][0] <= first and window["char_ends"][-1] >= first + len(text)
            if start:
                assert at <= start <= end < at + size
                cover = context[window["char_starts"][start - at] : window["char_ends"][end - at]]
                assert text in cover
                assert window["char_ends"][start - at] > first, "no token too many"
                assert window["char_starts"][end - at] < first + len(text)
            else:
                assert end == 0
                assert not inside
        assert seen == set(made.tokens(context).starts.tolist())


def test_questions_are_cut_but_never_to_more_than_half_of_a_window():
    long = " ".join(["house"] * 40)
    context = " ".join(["road"] * 40)
    for length, expected in ((3, 3), (64, 14)):  # 29 tokens beside three special ones
        for window in windows_of(reader(question_length=length), long, context):
            assert window["text_at"] == expected + 2
            assert len(window["char_starts"]) <= 29 - expected
    with pytest.raises(RequestError, match="at least 5 tokens, got max_length 4"):
        reader(max_length=4)


def test_the_step_goes_from_start_to_start():
    context = " ".join(["road"] * 60)
    for step, starts in ((10, [0, 10, 20, 30, 40]), (28, [0, 28, 56]), (1024, [0, 28, 56])):
        windows = windows_of(reader(step=step), "house", context)
        assert [int(window["char_starts"][0]) // 5 for window in windows] == starts


def test_empty_texts_and_questions():
    tokenizer = make_tokenizer()
    (window,) = windows_of(reader(), "house", "")
    assert window["input_ids"] == tokenizer("house")["input_ids"]
    assert (len(window["char_starts"]), window["starts"], window["most_from"] == window["most_to"]) == (0, [0], True)
    (window,) = windows_of(reader(), "", "the road")
    assert window["input_ids"] == tokenizer("", "the road")["input_ids"]
    assert window["text_at"] == 2
    (window,) = windows_of(reader(), "house", "the road", None)
    assert "starts" not in window


LONG = " ".join(["road"] * 30 + ["green"] + ["road"] * 29)  # the answer at token 30, character 150
ANSWERS = [("green", 150), ("road", 0), ("road green", 145)]


def test_windows_without_the_answer_point_at_the_first_token_or_are_left_out_in_training():
    kept = windows_of(reader(), "house", LONG, ANSWERS[:1], training=True)
    assert [window["ends"] != [0] for window in kept] == [False, True, False]
    drop = reader(drop_windows_without_answer=True)
    assert len(windows_of(drop, "house", LONG, ANSWERS[:1], training=False)) == 3
    (window,) = windows_of(drop, "house", LONG, ANSWERS[:1], training=True)
    assert window["input_ids"] == kept[1]["input_ids"]
    assert len(windows_of(drop, "house", LONG, [], training=True)) == 3, "a question without answer keeps them"
    too_long = [(LONG[:200], 0)]
    assert len(windows_of(drop, "house", LONG, too_long, training=True)) == 1, "but one always stays"


def test_all_answers_or_the_first_and_at_most_so_many():
    def spans(**settings):
        windows = windows_of(reader(**settings), "house", LONG, ANSWERS)
        return [list(zip(window["starts"], window["ends"], strict=True)) for window in windows]

    at = 3
    assert spans() == [[(at, at)], [(at + 2, at + 2), (at + 1, at + 2)], [(0, 0)]]
    assert spans(answers="first") == [[(0, 0)], [(at + 2, at + 2)], [(0, 0)]]
    assert spans(max_answer_positions=1) == [[(at, at)], [(at + 2, at + 2)], [(0, 0)]]


def test_a_text_is_tokenised_once_for_the_questions_on_it(monkeypatch):
    made = reader()
    texts = []

    class Backend:
        def __init__(self, backend):
            self.encode_batch, self._encode = backend.encode_batch, backend.encode

        def encode(self, text, **options):
            texts.append(text)
            return self._encode(text, **options)

    made.backend = Backend(made.backend)
    for contexts in (["a road", "a road", "a day"], ["a day", "a road"]):
        list(made.windows_of({"question": ["house"] * len(contexts), "context": contexts}, False))
    assert texts == ["a road", "a day", "a road"]


@pytest.fixture(scope="module")
def minilm():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(packaged_minilm())


def test_markers_become_one_token_each(minilm):
    made = reader(64, minilm)
    tokens = made.tokens(MRQA_CONTEXT)
    pieces = minilm.convert_ids_to_tokens(tokens.ids)
    assert [piece for piece in pieces if piece.startswith("[")] == ["[unused2]", "[unused1]", "[unused1]"]
    for piece, start, end in zip(pieces, tokens.starts, tokens.ends, strict=True):
        shown = MRQA_CONTEXT[start:end].lower()
        assert piece.removeprefix("##") == {marker.lower(): token for marker, token in MARKERS.items()}.get(
            shown, shown
        )
    plain = reader(64).tokens(MRQA_CONTEXT)  # a vocabulary without such tokens
    assert len(plain.ids) > len(tokens.ids)
    (window,) = windows_of(made, "when", MRQA_CONTEXT, [("1066", 36)])
    assert minilm.convert_ids_to_tokens(window["input_ids"])[window["starts"][0]] == "106"


TEXT = "William’s duchy, the caf\u00e9 \U0001f600 in Rouen,\u00a0fell in 1204; 征服 ended it."


@pytest.fixture(scope="module", params=["byte-level", "metaspace"])
def pieces(request):
    """A tokenizer whose tokens take the space before them with them, as RoBERTa's or XLM-RoBERTa's do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if request.param == "byte-level":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        backend.train_from_iterator(
            [TEXT], trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
        )
        backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    else:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.train_from_iterator(
            [TEXT] * 3, trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>")
        )
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", model_input_names=["input_ids", "attention_mask"], **names
    )


@pytest.mark.parametrize("answer", ["William", "caf\u00e9 \U0001f600", "\U0001f600", "Rouen", "1204", "征服", "it."])
def test_answers_are_found_again_whatever_the_tokens_are(pieces, answer):
    made = reader(200, pieces)
    (window,) = windows_of(made, "when did it fall", TEXT, [(answer, TEXT.index(answer))])
    assert window["input_ids"] == pieces("when did it fall", TEXT)["input_ids"]
    at, (start,), (end,) = window["text_at"], window["starts"], window["ends"]
    assert at <= start <= end
    cover = TEXT[window["char_starts"][start - at] : window["char_ends"][end - at]]
    assert answer in cover
    assert len(cover) <= len(answer) + 6, "at most a piece that goes beyond it"
    assert start == at or window["char_ends"][start - 1 - at] <= TEXT.index(answer)
