from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_tokenizer
from transformers import AutoConfig, AutoModelForTokenClassification

from bertpress.engine.evaluation import logits_of
from bertpress.errors import RequestError
from bertpress.files import content_digest
from bertpress.losses.prediction import soft_cross_entropy
from bertpress.tasks.data import TextData
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.queries.task import EntityReading, marks_places, of_head
from bertpress.tasks.task import OWN_TEXTS
from queries.making import (
    QUERIES,
    SENTENCES,
    TYPES,
    condensed_truth,
    model_of,
    random_sentences,
    record_of,
    split_of,
    task_of,
    whole_batch,
)

FAMILIES = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert")


def spans(task: EntityReading, condensed: np.ndarray, split: str = "validation") -> list[list[Any]]:
    """Type, first and last character of what was found."""
    found = task.decode(condensed, split)
    return [[(each["type"], each["start"], each["end"]) for each in answer["entities"]] for answer in found]


def test_one_row_for_each_sentence_and_type() -> None:
    task = task_of()
    rows = task.encoded("train")
    assert rows["query"][:] == [0, 1, 2] * len(SENTENCES)
    assert rows["record"][:] == [number for number in range(len(SENTENCES)) for _ in TYPES]
    decode = make_tokenizer().decode
    asked = [decode(ids).partition("[SEP]")[0] for ids in rows["input_ids"][:3]]
    assert asked == [f"[CLS] {query} " for query in QUERIES.values()]


def test_the_truth_decodes_to_itself() -> None:
    task = task_of()
    condensed = condensed_truth(task, "validation")
    assert condensed.shape == (3 * len(SENTENCES), 2 * 32)
    assert spans(task, condensed)[1] == [("PLACE", 0, 5), ("THING", 6, 10), ("PLACE", 6, 15)]
    assert set(task.score(condensed, "validation").values()) == {1.0}
    assert list(task.score(condensed, "validation")) == list(task.metrics)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("max_length", [10, 14, 64])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_truth_survives_windows(split: str, max_length: int, overlap: float) -> None:
    made = random_sentences(80, seed=max_length)
    task = task_of(made, made, max_length, overlap=overlap)
    windows = len(task.encoded(split)) / (len(TYPES) * len(made))
    assert (windows > 1) == (max_length < 64)
    assert task.score(condensed_truth(task, split), split)["span_f1"] == 1.0, "also entities that no window holds"


def test_scores_by_hand() -> None:
    task = task_of(
        validation=[("the zed was green", [(1, 2, "THING"), (3, 4, "PLACE")]), ("zed the zed", [(0, 1, "THING")])]
    )
    wrong = task_of(
        validation=[("the zed was green", [(1, 2, "THING"), (2, 4, "PLACE")]), ("zed the zed", [(2, 3, "AREA")])]
    )
    condensed = condensed_truth(wrong, "validation")
    scores = task.score(condensed, "validation")
    assert scores["span_precision"] == scores["span_recall"] == scores["span_f1"] == pytest.approx(1 / 3)
    assert (scores["span_f1.THING"], scores["span_f1.PLACE"], scores["span_f1.AREA"]) == (pytest.approx(2 / 3), 0, 0)
    assert scores["surface_f1"] == pytest.approx(2 / 3), "the wrong type at the wrong place counts there"
    assert task.results(condensed, "validation").tolist() == [[1, 2], [0, 1]]
    assert task.truths(condensed, "validation") == [2, 1]
    assert task.chance_score("validation") == 0 == task.score(np.zeros_like(condensed), "validation")["span_f1"]


def test_answers_and_files() -> None:
    task = task_of()
    condensed = condensed_truth(task, "validation")
    answers = task.decode(condensed, "validation")
    assert answers[3]["entities"][0] == {
        "type": "AREA",
        "text": "the old river",
        "start": 0,
        "end": 13,
        "probability": pytest.approx(1),
    }
    files = task.answer_files(condensed, "validation")
    lines = [json.loads(line) for line in files["validation_entities.jsonl"].splitlines()]
    assert [line["text"] for line in lines] == [text for text, _ in SENTENCES]
    assert [{"entities": line["entities"]} for line in lines] == answers
    sentences = files["validation.conll"].split("\n\n")
    assert sentences[0] == "the O\nzed B-THING\nwas O\ngreen O"
    assert sentences[3] == "the B-AREA\nold I-AREA\nriver I-AREA\nabc O\nhouse B-PLACE"
    assert sentences[1] == "house B-PLACE\ntree B-PLACE\nroad I-PLACE", "the longer of two that share words"
    nested = task_of(nested=True)
    assert list(nested.answer_files(np.zeros((12, 4 * 32)), "validation")) == ["validation_entities.jsonl"]


def test_entities_inside_of_others_of_their_type() -> None:
    made = [("a b c d", [(0, 4, "AREA"), (1, 2, "AREA"), (1, 4, "PLACE")])]
    task = task_of(made, made, nested=True)
    batch = whole_batch(task, "validation")
    assert batch["pairs"].shape == (3, 2, 2)
    logits = torch.full((*batch["input_ids"].shape, 4), -20.0)
    logits[..., :2] = torch.where(batch["labels"] == 1, 20.0, -20.0)
    logits[..., 2:] = 1
    begin = int(task.encoded("validation")["begin"][2])
    for word, start, end in ((0, 2.0, -9.0), (1, 1.0, -1.5), (3, -9.0, 1.0)):
        logits[2, begin + word, 2:] = torch.tensor([start, end])
    found = spans(task, task.condense(SimpleNamespace(logits=logits), batch).numpy())
    # of words 0 and 1 with 1 and 3 the sums are 0.5, 3, -0.5 and 2
    assert found == [[("AREA", 0, 3), ("AREA", 0, 7), ("PLACE", 2, 7), ("AREA", 2, 7)]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("nested", [False, True])
def test_padding_and_company_change_nothing(family: str, nested: bool) -> None:
    task = task_of(family=family, nested=nested)
    model = model_of(task, family)
    rows = task.encoded("validation")
    batch = whole_batch(task, "validation")
    with torch.no_grad():
        outputs = task.forward(model, batch)
        losses, kept = task.example_losses(outputs, batch), task.condense(outputs, batch)
        other = torch.randn(outputs.logits.shape, generator=torch.Generator().manual_seed(1))
        apart = task.distillation_losses(outputs.logits, other, batch, soft_cross_entropy)
        for number in range(len(rows)):
            alone = task.collate([rows[number]])
            own = task.forward(model, alone)
            length = alone["input_ids"].shape[1]
            assert float(task.example_losses(own, alone)) == pytest.approx(float(losses[number]), rel=1e-3)
            assert torch.allclose(task.condense(own, alone)[0], kept[number], atol=1e-4)
            distance = task.distillation_losses(
                own.logits, other[number : number + 1, :length], alone, soft_cross_entropy
            )
            assert float(distance) == pytest.approx(float(apart[number]), rel=1e-3)
    places = kept.view(len(rows), -1, 32)
    for number, row in enumerate(rows):
        inside = range(row["begin"], row["begin"] + len(row["words"]))
        assert not any(places[number, :, place].any() for place in range(32) if place not in inside)
        assert places[number, 0].count_nonzero() == len(set(row["words"])) == places[number, 1].count_nonzero()


def test_the_loss_falls_and_the_entities_are_found() -> None:
    made = [(text, [span for span in each if span[2] != "AREA"]) for text, each in SENTENCES]
    task = task_of(made, made)
    model, batch = model_of(task), whole_batch(task, "train")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = task.example_losses(task.forward(model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    scores = task.score(logits_of(model, task, task.encoded("validation")), "validation")
    assert scores["span_f1"] > 0.8


def test_a_threshold_acts() -> None:
    model = model_of(task_of())
    found = []
    for threshold in (0.2, 0.5, 0.8):
        task = task_of(threshold=threshold)
        condensed = logits_of(model, task, task.encoded("validation"))
        found.append(int(task.results(condensed, "validation")[:, 1].sum()))
    assert len(set(found)) == 3


def test_how_equal_two_models_are() -> None:
    task = task_of()
    truth = condensed_truth(task, "validation")
    assert task.agreement(truth, truth) == 1
    assert task.agreement(truth, np.zeros_like(truth)) == 0
    assert task.agreement(np.zeros_like(truth), np.zeros_like(truth)) == 1
    less = truth.copy()
    starts = np.argwhere(less > 0.5)
    less[tuple(starts[0])] = 0
    assert task.agreement(truth, less) == pytest.approx(2 * (len(starts) - 1) / (2 * len(starts) - 1))


@pytest.mark.parametrize("nested", [False, True])
def test_a_saved_model_knows_its_questions(tmp_path: Path, nested: bool) -> None:
    task = task_of(nested=nested, threshold=0.4, overlaps="best", overlap=0.5)
    model = model_of(task)
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.num_labels == (4 if nested else 2)
    own = of_head(config, make_tokenizer(), 32)
    assert list(own.queries.items()) == list(QUERIES.items()), "in their order"
    assert own.options == task.options
    assert own.metrics == task.metrics
    texts = [(text,) for text, _ in SENTENCES]
    ours = own.with_texts(texts)
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    found = logits_of(loaded, ours, ours.encoded(OWN_TEXTS))
    expected = logits_of(model, task, task.encoded("validation"))
    assert np.allclose(found, expected, atol=1e-5)
    assert ours.decode(found, OWN_TEXTS) == task.decode(found, "validation")
    assert task.decode(found, "validation") != [{"entities": []}] * len(texts)


def test_a_model_without_questions() -> None:
    assert marks_places(task_of().configure(make_config()))
    assert not marks_places(make_config())
    with pytest.raises(RequestError, match="configuration holds the questions"):
        of_head(make_config(), make_tokenizer(), 32)


def test_a_head_of_other_outputs_is_refused() -> None:
    task = task_of()
    with pytest.raises(RequestError, match=r"2 labels .bad, good., but made needs start, end .not nested."):
        task.aligned(make_config())
    nested = task_of(nested=True).configure(make_config())
    with pytest.raises(RequestError, match="4 labels"):
        task.aligned(nested)


def test_a_trained_head_brings_its_questions_unless_a_file_names_others(tmp_path: Path) -> None:
    task = task_of()
    config = task.configure(make_config())
    assert task.aligned(config) is task
    own = {"AREA": "road", "PLACE": "tree", "THING": "day"}
    config.task_specific_params["mrc"]["queries"] = [list(pair) for pair in own.items()]
    task.encoded("train")
    other = task.aligned(config)
    assert list(other.queries.items()) == list(own.items())
    assert other.metrics[3] == "span_f1.AREA"
    assert "road" in make_tokenizer().decode(other.encoded("train")[0]["input_ids"])
    assert list(task.queries) == list(QUERIES), "the given task stays as it was"
    config.task_specific_params["mrc"]["queries"] = [["DATE", "day"]]
    assert task.aligned(config) is task, "a head that asked for other types can be asked for these"
    file = tmp_path / "own.json"
    file.write_text(json.dumps(QUERIES))
    config.task_specific_params["mrc"]["queries"] = [list(pair) for pair in own.items()]
    named = EntityReading(task.data, task.tokenizer, 32, QuerySettings(queries=str(file)))
    assert named.aligned(config) is named


def named(config: Any, queries: dict[str, str] | None = None) -> Any:
    """A configuration of a head that marks places, and has been asked these questions."""
    config.id2label = dict(enumerate(("start", "end")))
    config.task_specific_params = {"mrc": {"queries": list(map(list, queries.items()))}} if queries else None
    return config


def test_where_questions_come_from(tmp_path: Path) -> None:
    data = TextData("made", {"train": split_of(SENTENCES)}, ("text",), TYPES, (), "span_f1")
    unasked = EntityReading(data, make_tokenizer(), 32, QuerySettings())
    uses = (unasked.configure, lambda config: unasked.aligned(named(config)), lambda config: unasked.encoded("train"))
    for use in uses:
        with pytest.raises(RequestError, match="none is shipped for THING, PLACE, AREA of made"):
            use(make_config(num_labels=2))
    trained = named(make_config(num_labels=2), QUERIES)
    assert unasked.aligned(trained).queries == {kind: QUERIES[kind] for kind in TYPES}, "those of a trained head"
    assert EntityReading(data, make_tokenizer(), 32, QuerySettings(), QUERIES).queries == QUERIES
    file = tmp_path / "own.yaml"
    file.write_text("AREA: road\nPLACE: tree\nTHING: day\n")
    task = EntityReading(data, make_tokenizer(), 32, QuerySettings(queries=str(file)), QUERIES)
    assert list(task.queries) == ["AREA", "PLACE", "THING"]
    assert task.sources == {str(file): content_digest(file)}
    with pytest.raises(RequestError, match="leaves no room for a sentence in 5"):
        EntityReading(data, make_tokenizer(), 5, QuerySettings(), QUERIES)


def test_without_training_sentences_a_trained_head_is_asked_everything() -> None:
    """What it finds of a type that these sentences lack is wrong, and has to count."""
    trained = named(make_config(num_labels=2), {"DATE": "day", **QUERIES})
    few = [(text, [span for span in spans if span[-1] == "PLACE"]) for text, spans in SENTENCES]
    for splits, expected in ((("validation",), ["DATE", *QUERIES]), (("train", "validation"), ["PLACE"])):
        data = TextData("files", {split: split_of(few) for split in splits}, ("text",), ("PLACE",), (), "span_f1")
        unasked = EntityReading(data, make_tokenizer(), 32, QuerySettings())
        for asked in (unasked, dataclasses.replace(data, queries={"PLACE": "a house is"})):
            task = asked if asked is unasked else EntityReading(asked, make_tokenizer(), 32, QuerySettings())
            aligned = task.aligned(trained)
            assert list(aligned.queries) == expected
    found = unasked.completed(trained)
    assert list(found.queries) == ["PLACE"]
    assert unasked.completed(named(make_config(num_labels=2))) is unasked
    task = EntityReading(dataclasses.replace(data, labels=("PLACE",)), make_tokenizer(), 32, None, QUERIES)
    assert "no entity is of type THING, AREA, which is asked for all the same" in task.notes


def test_notes() -> None:
    long = ("a b c d e f g h", [(0, 8, "PLACE"), (1, 2, "THING")])
    task = task_of([*SENTENCES, long], SENTENCES[2:3], max_length=12)
    assert task.notes == (
        "entities of 3 types: train 8, validation 0",
        "train: 1 of 5 sentences have no entity",
        "train: 1 of 8 entities stand whole in no window; try a longer --max-length",
        "validation: 1 of 1 sentences have no entity",
    )
    assert task_of().with_texts([("a b",)]).notes == ()


def test_what_a_run_does_not_read_is_not_read_for_remarks() -> None:
    """Encoding a test split for its remarks alone takes as long as predicting it."""
    splits = {name: split_of(SENTENCES) for name in ("train", "validation", "test")}
    data = TextData("made", splits, ("text",), TYPES, (), "span_f1")
    task = EntityReading(data, make_tokenizer(), 32, QuerySettings(), QUERIES)
    assert [note.partition(":")[0] for note in task.notes] == ["entities of 3 types", "train", "validation"]
    assert set(task._encoded) == {"train", "validation"}


def test_texts_of_the_users_own() -> None:
    task = task_of().with_texts([("a,  house!",), ("",), ("河 流",)])
    assert list(task.splits) == [OWN_TEXTS]
    record = task.splits[OWN_TEXTS][0]
    words = [record["text"][start:end] for start, end in zip(record["starts"], record["ends"], strict=True)]
    assert words == ["a", ",", "house", "!"]
    assert task.splits[OWN_TEXTS][2]["starts"] == [0, 2], "Chinese by character"
    assert not task.has_labels(OWN_TEXTS)
    batch = task.collate([task.encoded(OWN_TEXTS)[number] for number in range(9)])
    assert "labels" not in batch
    assert task.decode(np.zeros((9, 64)), OWN_TEXTS) == [{"entities": []}] * 3
    with pytest.raises(RequestError, match="no labels to score against"):
        task.score(np.zeros((9, 64)), OWN_TEXTS)
    assert task.sources == {}


def test_rows_of_a_part_and_of_another_tokenizer() -> None:
    task = task_of()
    part = task.divided({"train": [0, 2], "validation": [1, 3]})
    assert part.score(condensed_truth(part, "validation"), "validation")["span_f1"] == 1
    assert len(part.encoded("validation")) == 6
    other = task.with_tokenizer(make_tokenizer("roberta"))
    assert "token_type_ids" not in other.encoded("train").column_names
    assert other.score(condensed_truth(other, "validation"), "validation")["span_f1"] == 1


def test_rows_depend_on_questions_and_overlap_only() -> None:
    task = task_of()
    assert task_of(threshold=0.3, loss="cross_entropy").settings == task.settings
    assert task_of(overlap=0.1).settings != task.settings
    other = EntityReading(task.data, task.tokenizer, 32, task.options, dict(reversed(QUERIES.items())))
    assert other.settings != task.settings
    assert other.encoded("train")[0]["input_ids"] != task.encoded("train")[0]["input_ids"]


def test_data_without_entities_of_their_own() -> None:
    rows = split_of([(text, None) for text, _ in SENTENCES])
    data = dataclasses.replace(task_of().data, splits={"train": rows})
    task = EntityReading(data, make_tokenizer(), 32, QuerySettings(), QUERIES)
    assert set(task.encoded("train")["labels"]) == {None}
    assert record_of("a b", None)["ends"] == [1, 3]


def test_overlaps_between_types_are_resolved_on_request() -> None:
    truth = condensed_truth(task_of(), "validation")
    assert len(spans(task_of(), truth)[1]) == 3
    assert spans(task_of(overlaps="best"), truth)[1] == [("PLACE", 0, 5), ("PLACE", 6, 15)]


def test_a_start_without_an_end_is_one_word_on_request() -> None:
    kept = condensed_truth(task_of(), "validation").reshape(-1, 2, 32)
    kept[:, 1] = 0
    assert spans(task_of(), kept.reshape(len(kept), -1)) == [[], [], [], []]
    found = spans(task_of(unpaired="single"), kept.reshape(len(kept), -1))
    assert found[3] == [("AREA", 0, 3), ("PLACE", 18, 23)]


def test_two_texts_at_a_time_are_refused() -> None:
    with pytest.raises(RequestError, match="one text at a time to find entities in, got 2"):
        task_of().with_texts([("a", "b")])
