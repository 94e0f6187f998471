"""What the benchmarks of token-level tasks compute besides timings: sums over grids, trainings compared, files made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_tokenizer

from bertpress.methods.theseus import Theseus
from bertpress.recipe import TaskSpec, make_recipe, read_recipe
from bertpress.tasks import load_task
from bertpress.tasks.reading.formats import Names, read_questions

Benchmark = Callable[[str], Any]


def cells_of(task: str, scores: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    """Made-up cells: a score for each row and seed."""
    return [
        {"task": task, "row": row, "seed": seed, "score": score, "layers": 3, "learning_rate": 3e-4}
        for row, values in scores.items()
        for seed, score in enumerate(values, start=1)
    ]


def test_the_sums_of_the_grid_of_entities(benchmark: Benchmark) -> None:
    script = benchmark("ner_quality")
    start = {"task": "conll2003", "score": 0.9, "metric": "span_f1", "layers": 6, "learning_rate": 1e-4}
    scores = {"truncated": (0.5, 0.6, 0.7), "theseus": (0.7, 0.75, 0.8), "tinybert": (0.8, 0.6, 0.7)}
    cells = cells_of("conll2003", scores)
    found = script.claims("conll2003", start, cells)
    assert found["ner-recovered"] == pytest.approx((50.0, 50.0, 75.0))
    assert found["ner-kept"] == pytest.approx((75 / 0.9, 75 / 0.9, 80 / 0.9))
    scores = {
        "truncated": (0.5,) * 3,
        "two stages, constant": (0.7, 0.7, 0.72),
        "two stages, linear": (0.71, 0.69, 0.73),
    }
    for task, names in script.LEADS.items():
        cells = cells_of(task, {**scores, "one stage": (0.69, 0.69, 0.69)})
        found = script.claims(task, {**start, "task": task}, cells)
        assert found[names[0]] == pytest.approx((1.0, -1.0, 1.0))
        assert found[names[1]] == pytest.approx((1.0, 1.0, 3.0))


def test_the_score_that_counts_is_that_of_all_sentences(benchmark: Benchmark) -> None:
    script = benchmark("ner_quality")
    assert script.counted({"score": 0.5}) == {"score": 0.5}
    of_sets = {"msra_ner": (0.6, 0.7), "peoples_daily_ner": (0.4, 0.5)}
    scores = {name: {"span_f1": exact, "surface_f1": lenient} for name, (exact, lenient) in of_sets.items()}
    cell = {"score": 0.9, "scores": scores}
    assert script.counted(cell)["score"] == 0.6
    cells = [{**cell, "row": row} for row in script.READING]
    line = script.judged_lines("msra_ner mrc", cell, cells)[-1]
    assert [value for name, value in line.items() if "test" in name] == ["60.0", "70.0", "40.0", "50.0"]


def test_all_rows_of_a_task_of_entities_train_as_many_steps(benchmark: Benchmark) -> None:
    script = benchmark("ner_quality")
    for task, setting in script.TASKS.items():
        for row in setting.rows:
            trainings = script.method(task, row, 1e-4).trainings().values()
            whole = [training.steps(1000 * setting.batch_size) for training in trainings]
            assert sum(whole) == 1000 * setting.epochs, (task, row)
            assert {training.batch_size for training in trainings} == {setting.batch_size}


def test_rows_of_reading_comprehension_have_the_settings_of_their_recipes(benchmark: Benchmark) -> None:
    script = benchmark("ner_quality")
    for row, name in script.READING.items():
        method = script.method("conll2003 mrc", row, 1e-4)
        for training, rate in zip(method.trainings().values(), (1e-4, 0.25e-4), strict=False):
            assert (training.clip, training.weight_decay, training.decay) == (5.0, 0.001, "constant")
            assert training.learning_rate == pytest.approx(rate)
        if name is not None:
            (recipe,) = make_recipe({**read_recipe(name), "model": "any"}).steps
            assert isinstance(recipe, Theseus)
            fields = {"successor_layers", "replacing", "finetuning"}
            assert method.model_dump(exclude=fields) == recipe.model_dump(exclude=fields)
            assert list(method.trainings()) == list(recipe.trainings())


def test_questions_are_copied_under_new_ids(benchmark: Benchmark, tmp_path: Path) -> None:
    script, texts = benchmark("reading_speed"), ("the house was green", "the road is grey and dull")
    answers = {0: [{"text": "green", "answer_start": 14}], 1: []}
    paragraphs = [
        {
            "context": text,
            "qas": [{"id": f"{text} {row}", "question": "a house", "answers": answers[row if text is texts[0] else 1]}
                    for row in range(2)],
        }
        for text in texts
    ]  # fmt: skip
    articles = [{"title": title, "paragraphs": [part]} for title, part in zip("ab", paragraphs, strict=True)]
    (tmp_path / "dev.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    task = load_task(TaskSpec(name="squad_v2", data_dir=str(tmp_path)), make_tokenizer(), 32)
    (before, *_) = originals = list(read_questions(tmp_path / "dev.json", Names()))
    for copies, count in ((0, 2), (1, 4), (3, 12)):
        assert script.write_copies(task, tmp_path / "copies.json", copies) == count
        found = list(read_questions(tmp_path / "copies.json", Names()))
        assert len({question.id for question in found}) == len(found) == count
        assert found[0].answers == before.answers == (("green", 14),)
        wanted = [(one.question, one.context, one.answers) for one in originals] * max(1, copies)
        assert [(one.question, one.context, one.answers) for one in found] == wanted[:count]
    assert script.condensed(task).shape == (4, 4 * 20 + 2)


def test_the_table_of_answers_has_the_points_of_the_measured_budget(benchmark: Benchmark) -> None:
    script = benchmark("reading_quality")

    def cell(row: str, *points: tuple[float, float]) -> dict[str, Any]:
        found = [{"budget": budget, "answer_f1": score, "exact_match": score / 2} for budget, score in points]
        return {"row": row, "points": found}

    cells = [cell("truncated", (1.0, 0.4)), cell("theseus", (1.0, 0.5))]
    cells += [cell("policy", (0.45, 0.1), (0.5, score)) for score in (0.6, 0.7, 0.66)]
    rows = [{"row": "policy", "batch": 16, "speedup": 2.01, "against_padded": 3.5}]
    found = script.lines(cell("predecessor", (1.0, 0.8)), cells, {"budget": 0.5, "rows": rows})
    policy = found[-1]
    assert (policy["row"], policy["seeds"], policy["answer_f1"]) == ("policy", 3, "66.0")
    assert policy["exact_match, range"] == "30.0 to 35.0"
    assert (policy["speed-up at batch 16"], policy["against padded at batch 16"]) == ("2.01", "3.50")
    assert policy["speed-up at batch 1"] == "-"


def test_the_sums_of_the_grid_of_sentence_encoders(benchmark: Benchmark) -> None:
    script = benchmark("embedding_quality")
    start = {"task": "stsb", "score": 0.8, "metric": "spearmanr", "layers": 6, "learning_rate": 2e-5}
    cells = cells_of("stsb", {"truncated": (0.6,) * 3, "theseus": (0.7, 0.76, 0.8), "tinybert": (0.72, 0.7, 0.74)})
    assert script.claims(start, cells)["embedding-kept"] == pytest.approx((0.95, 0.9, 1.0))


def test_all_rows_of_sentence_encoders_train_as_many_steps(benchmark: Benchmark) -> None:
    script = benchmark("embedding_quality")
    for row in script.ROWS:
        trainings = script.method(row, 1e-4).trainings().values()
        assert sum(training.steps(3200) for training in trainings) == 100 * script.EPOCHS
