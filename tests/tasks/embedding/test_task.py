"""Pairs of texts as rows, and what is made of their vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROWS, make_config, make_model, make_tokenizer
from datasets import Dataset
from scipy import stats
from token_tasks import pairs_of, write_lines
from torch.nn import functional

from bertpress.engine.evaluation import logits_of
from bertpress.errors import RequestError
from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.importance import scores_of_rows
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.embedding.layout import Layout, files_of, note_layout
from bertpress.tasks.embedding.task import Embedding, is_sentence_encoder
from bertpress.tasks.trained import task_of_head

from .making import PAIR, make_task, write_pairs

TRAIN, DEV = (pairs_of(ROWS[split]) for split in ("train", "validation"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    return make_task(write_pairs(tmp_path_factory.mktemp("scored")))


@pytest.fixture(scope="module")
def positive(tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    return make_task(write_pairs(tmp_path_factory.mktemp("positive"), *PAIR))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    return make_task(write_pairs(tmp_path_factory.mktemp("single"), "first"), ("first",))


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model(head=None).eval()


def saved(folder: Path, layout: Layout) -> Any:
    """A configuration that was loaded from a folder with that layout."""
    for name, content in files_of(layout, 16).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return make_config(name_or_path=str(folder))


def test_each_text_of_a_pair_is_a_row_of_the_pair_s_record(scored: Embedding) -> None:
    rows = scored.encoded("validation")
    assert len(rows) == 2 * len(DEV)
    assert rows["record"][:4] == [0, 0, 1, 1]
    assert rows["side"][:4] == [0, 1, 0, 1]
    texts = [text for pair in DEV for text in (pair["first"], pair["second"])]
    assert rows["input_ids"][:] == [make_tokenizer()(text)["input_ids"] for text in texts]
    np.testing.assert_allclose(rows["labels"][::2], [pair["label"] / 5 for pair in DEV])
    assert rows["labels"][::2] == rows["labels"][1::2]
    assert scored.together == "record"


def test_what_is_known_of_pairs(scored: Embedding, positive: Embedding, single: Embedding, tmp_path: Path) -> None:
    assert [task.known("train") for task in (scored, positive, single)] == ["scores", "pairs", None]
    assert [task.kind for task in (scored, positive, single)] == ["embedding", "retrieval", "embedding"]
    assert [task.primary for task in (scored, positive, single)] == ["spearmanr", "retrieval_accuracy", "agreement"]
    assert [task.loss for task in (scored, positive)] == ["cosent", "ranking"]
    assert [task.has_labels("train") for task in (scored, positive, single)] == [True, True, False]
    hidden = [{name: pair[name] for name in PAIR} for pair in DEV]
    with_test = make_task(write_pairs(tmp_path / "test", test=hidden))
    assert not with_test.has_labels("test"), "their scores are secret, which does not mean that they belong together"
    mixed = make_task(write_pairs(tmp_path / "mixed", train=hidden))
    assert (mixed.known("train"), mixed.known("validation"), mixed.loss) == ("pairs", "scores", "ranking")


def test_vectors_are_those_of_the_model_pooled_by_hand(scored: Embedding, model: Any) -> None:
    rows = [scored.encoded("train")[row] for row in range(6)]
    batch = scored.collate(rows)
    found = scored.forward(model, batch, output_hidden_states=True)
    for row, vector in zip(rows, found.logits, strict=True):
        states = model(input_ids=torch.tensor([row["input_ids"]])).last_hidden_state[0]
        torch.testing.assert_close(vector, states.mean(dim=0), atol=1e-5, rtol=1e-4)
    assert found.hidden_states is not None
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)


def test_metrics_are_those_of_scipy(scored: Embedding, model: Any) -> None:
    vectors = logits_of(model, scored, scored.encoded("validation"))
    first, second = torch.tensor(vectors[::2]), torch.tensor(vectors[1::2])
    alike = functional.cosine_similarity(first, second).numpy()
    scores = [pair["label"] for pair in DEV]
    found = scored.score(vectors, "validation")
    assert found["spearmanr"] == pytest.approx(stats.spearmanr(alike, scores).statistic, abs=1e-6)
    assert found["pearson"] == pytest.approx(stats.pearsonr(alike, scores).statistic, abs=1e-6)
    np.testing.assert_allclose(scored.results(vectors, "validation")[:, 0], alike, atol=1e-6)
    assert scored.truths(vectors, "validation") == [score / 5 for score in scores]
    decoded = scored.decode(vectors, "validation")
    np.testing.assert_allclose([record["prediction"] for record in decoded], alike, atol=1e-6)
    assert scored.chance_score("validation") == 0


def test_pairs_without_scores_are_found_among_the_others(positive: Embedding) -> None:
    vectors = np.random.default_rng(0).normal(size=(2 * len(DEV), 8)).astype(np.float32)
    vectors[1::2] = vectors[::2]
    assert positive.score(vectors, "validation") == {"retrieval_accuracy": 1}
    vectors[1] = -vectors[0]
    found = positive.score(vectors, "validation")["retrieval_accuracy"]
    assert found == pytest.approx(1 - 1 / len(DEV))
    assert positive.truths(vectors, "validation") == [1.0] * len(DEV)
    assert positive.chance_score("validation") == 1 / len({pair["second"] for pair in DEV})


def test_single_texts_have_vectors_and_no_score(single: Embedding, model: Any) -> None:
    vectors = logits_of(model, single, single.encoded("validation"))
    assert len(vectors) == len(DEV)
    assert single.decode(vectors, "validation")[0] == {"embedding": vectors[0].tolist()}
    assert "labels" not in single.collate([single.encoded("train")[0]])
    with pytest.raises(RequestError, match="no labels to score against"):
        single.score(vectors, "validation")


def test_the_given_settings_come_before_the_first_model_and_not_before_one_beside_it(
    scored: Embedding, tmp_path: Path
) -> None:
    files = saved(tmp_path / "files", Layout(pooling="max", normalize=True, max_seq_length=90))
    assert scored.aligned(files).layout == Layout(pooling="max", normalize=True, max_seq_length=90)
    asked = make_task(write_pairs(tmp_path / "data"), pooling="cls")
    first = asked.aligned(files)
    assert first.layout == Layout(pooling="cls", normalize=True, max_seq_length=90)
    assert first.aligned(saved(tmp_path / "teacher", Layout(pooling="mean"))).layout == Layout(pooling="mean")
    assert first.aligned(make_config()).layout == first.layout, "what says nothing is pooled as the model beside it"
    assert scored.aligned(make_config()).layout == Layout()


def test_texts_are_not_cut_before_the_length_that_was_scored(scored: Embedding, tmp_path: Path) -> None:
    config = scored.configure(saved(tmp_path / "files", Layout(max_seq_length=scored.max_length - 1)))
    assert scored.companions(config)["sentence_bert_config.json"]["max_seq_length"] == scored.max_length


def test_a_model_is_pooled_as_its_own_configuration_says(scored: Embedding) -> None:
    rows = [scored.encoded("train")[row] for row in range(4)]
    teacher = make_model(head=None)
    note_layout(teacher.config, Layout(pooling="cls", normalize=True))
    found = scored.aligned(make_config()).forward(teacher, scored.collate(rows))
    torch.testing.assert_close(found.logits, functional.normalize(found.last_hidden_state[:, 0], dim=-1))


def test_files_beside_the_weights_are_those_of_the_model(scored: Embedding) -> None:
    config = scored.aligned(make_config()).noted(make_config())
    assert scored.companions(config) == files_of(Layout(), 16)


def test_layers_behind_the_pooling_are_refused_also_where_a_head_would_be_made_anew(
    scored: Embedding, tmp_path: Path
) -> None:
    config = saved(tmp_path, Layout())
    modules = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {"path": "2_Dense", "type": "models.Dense"}]))
    for ask in (scored.aligned, scored.configure):
        with pytest.raises(RequestError, match="Transformer, Pooling, Dense"):
            ask(config)


def test_divided_limited_and_augmented_rows_stay_pairs(scored: Embedding, tmp_path: Path) -> None:
    part = scored.divided({"train": [0, 2, 5], "search": [1, 7]})
    assert part.encoded("search")["record"][:] == [0, 0, 1, 1]
    assert part.encoded("train")["record"][:] == [0, 0, 2, 2, 5, 5]
    assert part.score(np.eye(4, 8), "search").keys() == {"spearmanr", "pearson"}
    spec = TaskSpec(name="files", data_dir=str(write_pairs(tmp_path)), columns=PAIR, kind="embedding")
    limited = load_task(spec, make_tokenizer(), 32, {"train": 5})
    assert len(limited.encoded("train")) == 10
    assert scored.augmentable
    more = scored.with_train(Dataset.from_list([{**pair, "is_augmented": pair["label"] > 2} for pair in TRAIN[:4]]))
    batch = more.collate([more.encoded("train")[row] for row in range(8)])
    assert batch["augmented"].tolist() == [pair["label"] > 2 for pair in TRAIN[:4] for _ in range(2)]
    assert len(more.encoded("validation")) == 2 * len(DEV)


def test_vectors_of_other_widths_agree_as_far_as_the_same_texts_are_alike(scored: Embedding) -> None:
    vectors = np.random.default_rng(1).normal(size=(20, 8))
    assert scored.agreement(vectors, 3 * vectors) == pytest.approx(1)
    assert scored.agreement(vectors, -vectors) == pytest.approx(-1)
    assert scored.agreement(vectors, np.hstack([vectors, np.zeros((20, 2))])) == pytest.approx(1)
    assert scored.agreement(vectors, np.random.default_rng(2).normal(size=(20, 10))) < 0.5


def test_a_student_of_another_width_learns_similarities(scored: Embedding, model: Any) -> None:
    batch = scored.collate([scored.encoded("train")[row] for row in range(6)])
    own = scored.forward(model, batch).logits
    narrow = own[:, :5].detach().clone().requires_grad_()
    found = scored.distillation_losses(narrow, own, batch, lambda *_: torch.zeros(6))
    found.mean().backward()
    assert found.shape == (6,)
    assert narrow.grad is not None
    assert narrow.grad.any()


def test_importance_of_tokens_looks_at_whole_pairs(tmp_path: Path, model: Any) -> None:
    task = make_task(write_pairs(tmp_path), loss="cosine")
    method = TrBert(macs=0.6)
    whole = scores_of_rows(model, task, method, range(2 * len(TRAIN)))
    assert all(scores.any() for scores in whole)
    for position, scores in zip((1, 50), scores_of_rows(model, task, method, [1, 50]), strict=True):
        # the gradient of a text depends on its partner alone, and on how many rows its batch has
        ratio = scores / whole[position]
        np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-2)


def test_without_anything_to_lose_importance_has_no_gradient(single: Embedding, model: Any) -> None:
    with pytest.raises(RequestError, match="set importance to attention"):
        scores_of_rows(model, single, TrBert(macs=0.6), [0, 1])


def test_rows_of_a_search_are_whole_pairs(scored: Embedding, model: Any) -> None:
    evaluator = Evaluator(model, scored, "train", (8, 32), None, 1)
    records = [[batch["record"] for batch in rung] for rung in evaluator.rungs]
    assert evaluator.ends == [8, 32, 2 * len(TRAIN)]
    for rung in records:
        assert all(torch.bincount(batch).max() == torch.bincount(batch)[batch].min() == 2 for batch in rung)


def test_texts_of_ones_own(tmp_path: Path, model: Any) -> None:
    config = saved(tmp_path, Layout(normalize=True))
    config.architectures = ["BertModel"]
    task = task_of_head(config, make_tokenizer(), 32)
    pairs = task.with_texts([("the bright day", "a dull road"), ("the house", "the house")])
    found = pairs.decode(logits_of(model, pairs, pairs.encoded("texts")), "texts")
    assert found[1]["prediction"] == pytest.approx(1)
    assert not pairs.has_labels("texts")
    texts = task.with_texts([("the bright day",)])
    assert len(texts.decode(logits_of(model, texts, texts.encoded("texts")), "texts")[0]["embedding"]) == 16


def test_only_a_bare_encoder_that_says_how_is_one_of_sentences(tmp_path: Path) -> None:
    config = saved(tmp_path, Layout())
    for architecture, expected in (("BertModel", True), ("CompactBertModel", True), ("BertForMaskedLM", False)):
        config.architectures = [architecture]
        assert is_sentence_encoder(config) == expected
    plain = make_config(architectures=["BertModel"])
    assert not is_sentence_encoder(plain)
    note_layout(plain, Layout())
    assert is_sentence_encoder(plain)


def test_scores_of_stsb_are_read_as_a_scale_from_0_to_5(tmp_path: Path) -> None:
    rows = [{"sentence1": pair["first"], "sentence2": pair["second"], "label": 1.5 + (number % 2)}
            for number, pair in enumerate(TRAIN[:8])]  # fmt: skip
    for split in ("train", "validation"):
        write_lines(tmp_path / f"{split}.jsonl", rows)
    for kind, cls in ((None, "Classification"), ("regression", "Classification"), ("embedding", "Embedding")):
        spec = TaskSpec(name="glue/stsb", data_dir=str(tmp_path), kind=kind)
        task = load_task(spec, make_tokenizer(), 32)
        assert type(task).__name__ == cls
    assert task.truths(np.zeros(0), "train")[:2] == [0.3, 0.5]
    assert "scores from 0 to 5 are learned as 0 to 1" in task.notes


@pytest.mark.parametrize(
    ("columns", "fields", "message"),
    [
        (("first", "third"), {}, "Expected a column 'third'"),
        (("first", "second"), {"label": "score"}, "Expected a column 'score'"),
        (("first",), {"label": "label"}, "is of two texts"),
        (("first", "second"), {"loss": "ranking"}, "ranking does not go with pairs that have scores"),
        (("first", "second"), {"score_range": (1, 5)}, "Expected scores from 1 to 5"),
        (("first", "second"), {"score_range": (5, 1)}, "a lower and a higher score"),
        (("first", "second"), {"pooling": "last"}, "task.embedding.pooling"),
    ],
)
def test_what_does_not_fit_is_refused(
    columns: tuple[str, ...], fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        make_task(write_pairs(tmp_path), columns, **fields)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    rows = [*DEV[:2], {**DEV[2], "label": "much"}]
    with pytest.raises(RequestError, match="finite number as label, but row 3 of the validation split has 'much'"):
        make_task(write_pairs(tmp_path, validation=rows))


def test_a_loss_of_scores_needs_scores(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cosine does not go with pairs that have no scores"):
        make_task(write_pairs(tmp_path, *PAIR), loss="cosine")
