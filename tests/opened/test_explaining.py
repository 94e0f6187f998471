"""Records say what a forward pass of each row alone does, and where its tokens stand in the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROWS, make_model, make_tokenizer
from families import FAMILIES
from token_tasks import HEADS, label_fields, token_task, write_token_tasks

from bertpress import api
from bertpress.encoders.compact import compact
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.models.walks import Trace
from bertpress.opened.explaining import Explanation

TEXTS = [("Dull, broken; grey!", "a quick, \n Bright  book"), ("", ""), ("the", "green house was very clean dirtyx")]
CPU = Runtime(device="cpu")


def saved(folder: Path, family: str = "bert", kind: str = "classification", **reduction: Any) -> str:
    """The folder of a tiny model that skips tokens."""
    torch.manual_seed(0)
    model = make_model(family=family, head=HEADS[kind], **label_fields(kind))
    model = compact(model, token_reduction={"layers": [1, 2], "policy_hidden": 8, **reduction})
    for policy in model.base_model.policies:
        torch.nn.init.normal_(policy.outer.weight)
    model.save_pretrained(folder)
    make_tokenizer(family).save_pretrained(folder)
    return str(folder)


def explained(folder: str, **options: Any) -> Explanation:
    return api.explain(folder, texts=TEXTS, max_length=32, runtime=CPU, **options)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_record_is_what_the_row_alone_goes_through(family: str, tmp_path: Path) -> None:
    from bertpress.engine.loading import loader

    folder = saved(tmp_path / "model", family)
    model = loader("AutoModelForSequenceClassification").from_pretrained(folder).eval()
    tokenizer = make_tokenizer(family)
    for text, record in zip(TEXTS, explained(folder).rows, strict=True):
        batch = tokenizer(*([part] for part in text), return_tensors="pt")
        trace = Trace()
        with torch.no_grad():
            logits = model(**batch, trace=trace).logits
        alive = trace.alive()[0]
        assert record["kept"] == alive.tolist()
        assert record["last_layer"] == [(0, 1, 3)[count] for count in alive.sum(1).tolist()]
        scores = torch.tensor([[float("nan") if score is None else score for score in row] for row in record["scores"]])
        torch.testing.assert_close(scores, trace.scores()[0], equal_nan=True)
        assert record["tokens"] == tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
        assert record["prediction"] == model.config.id2label[int(logits.argmax())]
        assert record["probability"] == pytest.approx(float(logits.softmax(-1).max()))


def test_offsets_are_those_of_the_text_as_it_was_written(tmp_path: Path) -> None:
    for text, record in zip(TEXTS, explained(saved(tmp_path)).rows, strict=True):
        assert record["texts"] == list(text)
        for token, which, (start, end), special in zip(
            record["tokens"], record["text"], record["offsets"], record["special"], strict=True
        ):
            assert special == (which is None) == (token in ("[CLS]", "[SEP]"))
            if which is not None and token != "[UNK]":
                assert text[which][start:end].lower() == token.removeprefix("##")
    tokens, tail = record["tokens"], record["tail"]
    assert list(zip(tokens, tail, strict=True))[-3:] == [("dirty", False), ("##x", True), ("[SEP]", False)]


def test_the_speed_is_that_of_the_profile(tmp_path: Path) -> None:
    profiles = {"all": {"thresholds": [0.0, 0.0]}, "first": {"thresholds": [2.0, 2.0]}}
    folder = saved(tmp_path, profiles=profiles)
    whole, first = (explained(folder, profile=name) for name in profiles)
    assert all(last == 3 for record in whole.rows for last in record["last_layer"])
    assert all(record["last_layer"] == [3, *[0] * (len(record["tokens"]) - 1)] for record in first.rows)
    assert (whole.limits, first.limits) == (("from 0", "from 0"), ("from 2", "from 2"))
    assert first.macs < 0.5 < 1 < whole.macs < 1.2
    assert explained(folder, token_threshold=2.0).rows == first.rows


def test_shares_are_told_as_such(tmp_path: Path) -> None:
    made = explained(saved(tmp_path, selector="attention", shares=[0.5, 0.25]))
    assert made.limits == ("the best 50 % of a row's tokens", "the best 25 % of a row's tokens")
    assert (made.selector, made.layers, made.depth) == ("attention", (1, 2), 4)


def test_a_tokenizer_of_bytes_gives_one_place_to_the_bytes_of_a_letter() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from bertpress.opened.explaining import _records
    from bertpress.reports.trace_page import pieces_of

    letters = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>")
    text = "a 🙂b"
    (record,) = _records(tokenizer([text], return_offsets_mapping=True), tokenizer)
    spans = [
        (at, span) for at, (which, span) in enumerate(zip(record["text"], record["offsets"], strict=True)) if which == 0
    ]
    pieces = pieces_of(text, spans)
    assert [piece.text for piece in pieces if piece.tokens] == ["a", "🙂", "b"]
    assert "".join(piece.text for piece in pieces) == text
    assert sum(len(piece.tokens) for piece in pieces) == len(record["ids"]) - 2 == 7


def test_a_tokenizer_that_does_not_tell_places_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path)
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.is_fast", False)
    with pytest.raises(RequestError, match=r"tokenizer\.json"):
        explained(folder)


def test_texts_are_all_single_or_all_pairs(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    for texts in ([], [("a",), ("a", "b")]):
        with pytest.raises(RequestError, match="at least one text"):
            api.explain(folder, texts=texts, runtime=CPU)


@pytest.mark.parametrize("kind", ["mrc", "multihop", "candidates", "choice", "embedding"])
def test_inputs_made_of_several_texts_are_shown_as_their_tokens_spell_them(kind: str, tmp_path: Path) -> None:
    values = write_token_tasks(tmp_path)[kind]
    shared = {"shared": True} if kind == "choice" else {}
    folder, task = saved(tmp_path / "model", kind=kind, **shared), token_task(values)
    made = api.explain(folder, task=values, max_length=32, runtime=CPU, out=tmp_path / "page.html")
    encoded, tokenizer = task.encoded("validation"), make_tokenizer()
    assert len(made.rows) == len(encoded)
    answers = api.predict(folder, values, "validation", max_length=32, runtime=CPU)
    for row, record in zip(encoded, made.rows, strict=True):
        assert (record["row"], record["record"]) == (row["row"], row["record"])
        assert record["tokens"] == tokenizer.convert_ids_to_tokens(row["input_ids"])
        for token, which, (start, end), tail in zip(
            record["tokens"], record["text"], record["offsets"], record["tail"], strict=True
        ):
            assert (which is None) == (token in ("[CLS]", "[SEP]"))
            if which is not None:
                text = record["texts"][which]
                assert text[start:end] == token.removeprefix("##")
                assert tail == (start > 0 and text[start - 1] != " ") == token.startswith("##")
        if "prediction" in (answer := answers[record["record"]]):
            assert record["prediction"] == answer["prediction"]
    known = api.evaluate(folder, values, max_length=32, runtime=CPU)["validation"]
    if kind in ("candidates", "choice"):
        right = {record["record"]: record["right"] for record in made.rows}
        assert sum(right.values()) / len(right) == pytest.approx(known["accuracy"])
    assert any(not all(map(all, record["kept"])) for record in made.rows)


def test_a_text_that_is_one_input_is_shown_as_written_beside_one_that_is_several(tmp_path: Path) -> None:
    values = write_token_tasks(tmp_path)["tagging"]
    made = api.explain(saved(tmp_path / "model", kind="tagging"), task=values, max_length=9, runtime=CPU)
    parts: dict[int, list[Any]] = {}
    for record in made.rows:
        parts.setdefault(record["record"], []).append(record["texts"])
    for number, (text, _) in enumerate(ROWS["validation"]):
        windows = [part for (part,) in parts[number]]
        assert text.startswith(windows[0])
        assert text.endswith(windows[-1])
        assert set(" ".join(windows).split()) == set(text.split())
    assert len({len(found) for found in parts.values()}) > 1


def test_texts_of_your_own_for_several_paragraphs(tmp_path: Path) -> None:
    folder, texts = saved(tmp_path, kind="multihop"), [("was it the house", "the road\n\nit was\na book")]
    (record,) = api.explain(folder, texts=texts, max_length=32, runtime=CPU).rows
    (answer,) = api.predict_texts(folder, texts, max_length=32, runtime=CPU)
    assert record["prediction"] == answer["prediction"]
    assert "was it the house" in record["texts"]


def test_tokens_of_every_kind_of_vocabulary_are_spelled() -> None:
    from bertpress.opened.explaining import _speller

    for family in FAMILIES:
        tokenizer = make_tokenizer(family)
        record = _speller(tokenizer)(tokenizer("a dirtyx day", "book")["input_ids"])
        assert record["texts"] == ["a dirtyx day", "book"]
        assert record["special"] == [text is None for text in record["text"]]
