from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_model

from bertpress.engine.length_batches import LengthBatches, filling, gathered, longest_of_group
from bertpress.engine.objective import Supervised
from bertpress.engine.trainer import MARKER, complete_checkpoints, remove_unfinished, train
from bertpress.errors import RequestError
from bertpress.methods.method import Training
from bertpress.tasks.classification import Classification

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1003).tolist()


def order(epoch: int, seed: int = 1, lengths: list[int] = LENGTHS, batch: int = 8) -> list[int]:
    sampler = LengthBatches(lengths, batch, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_is_a_permutation() -> None:
    assert sorted(order(0)) == list(range(1003))
    assert len(LengthBatches(LENGTHS, 8, 1)) == 1003


def test_rows_by_their_group() -> None:
    groups = np.array([7, 4, 7, 4])
    assert longest_of_group(np.array([3, 9, 5, 1]), groups).tolist() == [5, 9, 5, 9]
    assert gathered(np.array([2, 1, 0, 3]), groups).tolist() == [2, 0, 1, 3]


def test_the_rows_of_a_group_stay_side_by_side() -> None:
    groups = [row // 3 for row in range(1003)]
    found = list(LengthBatches(LENGTHS, 8, 1, groups))
    assert sorted(found) == list(range(1003))
    assert found == list(LengthBatches(LENGTHS, 8, 1, groups))
    places = {row: place for place, row in enumerate(found)}
    near = [max(places[row] - places[3 * (row // 3)] for row in range(start, start + 3)) for start in range(0, 999, 3)]
    apart = sum(abs(distance) > 2 for distance in near)
    assert apart < 0.15 * len(near) * 2, "only the borders of batches part a group"
    longest = [max(LENGTHS[3 * group : 3 * group + 3]) for group in range(335)]
    batches = [found[start : start + 8] for start in range(0, 1000, 8)]
    spread = np.mean([np.ptp([longest[row // 3] for row in batch]) for batch in batches])
    assert spread < 0.2 * np.ptp(longest)


@pytest.mark.parametrize(("rows", "batch"), [(1, 8), (7, 8), (8, 8), (9, 8), (400, 8), (401, 1)])
def test_small_data(rows: int, batch: int) -> None:
    assert sorted(order(0, lengths=LENGTHS[:rows], batch=batch)) == list(range(rows))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert order(3) == order(3)
    assert order(3) != order(4)
    assert order(3) != order(3, seed=2)


def test_batches_hold_rows_of_similar_length_and_the_incomplete_one_comes_last() -> None:
    lengths = np.array(LENGTHS)
    batches = lengths[order(0)[:1000]].reshape(-1, 8)
    assert np.ptp(batches, axis=1).mean() < 5
    assert np.corrcoef(batches.mean(axis=1), np.arange(125))[0, 1] < 0.3, "batches are shuffled"
    tails = {tuple(order(epoch)[1000:]) for epoch in range(20)}
    assert len(tails) == 20, "the rows of the incomplete batch change"


def order_in_one_piece(seed: int, epoch: int, lengths: list[int], batch: int) -> list[int]:
    """The definition: shuffle, sort within pools of 50 batches, cut into batches, shuffle these."""
    generator = np.random.default_rng((seed, epoch))
    shuffled = generator.permutation(len(lengths))
    whole = len(lengths) // batch * batch
    pools = [shuffled[start : min(start + 50 * batch, whole)] for start in range(0, whole, 50 * batch)]
    ordered = [row for pool in pools for row in sorted(pool.tolist(), key=lambda row: lengths[row])]
    batches = generator.permutation(np.array(ordered, dtype=int).reshape(-1, batch), axis=0)
    return [*batches.ravel().tolist(), *shuffled[whole:].tolist()]


@pytest.mark.parametrize(("rows", "batch"), [(0, 8), (7, 8), (8, 8), (401, 1), (1003, 8), (1003, 16), (1003, 1004)])
def test_the_order_is_that_of_the_definition(rows: int, batch: int) -> None:
    """Runs that are resumed, and results that exist, depend on it to the row."""
    for seed, epoch in ((1, 0), (1, 1), (7, 3)):
        assert order(epoch, seed, LENGTHS[:rows], batch) == order_in_one_piece(seed, epoch, LENGTHS[:rows], batch)


def test_the_order_as_it_was() -> None:
    assert order(2, seed=5, lengths=LENGTHS[:11], batch=3) == [3, 4, 2, 10, 9, 0, 5, 6, 8, 1, 7]
    million = np.full(200_000, 30, np.uint16)
    assert len(set(LengthBatches(million, 32, 1))) == 200_000, "small lengths are no limit to row numbers"


def test_unmarked_checkpoints_do_not_count(tmp_path: Path) -> None:
    for step in (2, 10, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 4:
            (tmp_path / f"checkpoint-{step}" / MARKER).write_text("{}")
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [2, 10]
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]


def test_another_number_of_processes_is_refused(
    text_data: Callable[..., Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two there are half as many steps, of which more than enough would be done."""
    (tmp_path / "checkpoint-20").mkdir()
    (tmp_path / "checkpoint-20" / MARKER).write_text('{"seconds": 1, "processes": 1}')
    task = small(text_data, tokenizer)
    monkeypatch.setattr("bertpress.engine.trainer.world_size", lambda: 2)
    with pytest.raises(RequestError, match="another number of processes, 1 and not 2"):
        train(Supervised(make_model(), task), task, Training(max_steps=24), tmp_path, 1, lambda *_: None)


def small(text_data: Callable[..., Any], tokenizer: Any, rows: int = 96) -> Classification:
    return Classification(text_data(train=rows), tokenizer, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "fields", "expected"),
    [
        (96, {"batch_size": 16, "epochs": 1}, 6),
        (96, {"batch_size": 16, "epochs": 0.5}, 3),
        (90, {"batch_size": 16, "epochs": 2}, 10),
        (90, {"batch_size": 16, "accumulation": 2, "epochs": 1}, 3),
        (64, {"batch_size": 8, "accumulation": 3, "epochs": 2}, 6),
        (10, {"batch_size": 16, "epochs": 2}, 2),
        (20, {"batch_size": 8, "accumulation": 4, "epochs": 1}, 1),
        (96, {"batch_size": 16, "epochs": 9, "max_steps": 4}, 4),
    ],
)
def test_the_number_of_steps_is_the_trainers(
    rows: int,
    fields: dict[str, Any],
    expected: int,
    text_data: Callable[..., Any],
    tokenizer: Any,
    tmp_path: Path,
) -> None:
    training = Training(**fields)
    assert training.steps(rows) == expected
    task = small(text_data, tokenizer, rows)
    epochs: list[float] = []
    steps: list[int] = []

    def report(step: int, total: int, logs: dict[str, float]) -> None:
        assert total == expected
        steps.append(step)
        epochs.extend([logs["epoch"]] if "epoch" in logs else [])

    train(Supervised(make_model(num_hidden_layers=1), task), task, training, tmp_path, 1, report, device="cpu")
    assert max(steps) == expected
    if "max_steps" not in fields and float(fields["epochs"]).is_integer():
        assert math.isclose(max(epochs), fields["epochs"], rel_tol=1e-6), "whole passes over the data"


@pytest.mark.slow
def test_what_a_training_leaves(text_data: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    task = small(text_data, tokenizer)
    objective = Supervised(make_model(), task)
    broken = tmp_path / "checkpoint-3"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"cut off")
    training = Training(batch_size=16, max_steps=20, learning_rate=1e-3)
    best, seconds = train(objective, task, training, tmp_path, 1, lambda *_: None, device="cpu")
    assert seconds > 0
    checkpoints = complete_checkpoints(tmp_path)
    assert not broken.exists()
    assert {18, 20} <= {step for step, _ in checkpoints} <= {18, 20, best}
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = {entry["step"]: entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry}
    assert sorted(scores) == list(range(2, 21, 2)), "ten evaluations"
    assert scores[best] == max(scores.values())
    from bertpress.engine.evaluation import logits_of

    kept = task.score(logits_of(objective.model, task, task.encoded("validation")), "validation")["accuracy"]
    assert kept == pytest.approx(scores[best])

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    again = Supervised(make_model(), task)
    assert train(again, task, training, tmp_path, 1, never, device="cpu")[0] == best


@pytest.mark.slow
def test_draws_are_told_seed_and_epoch_and_evaluation_nothing(
    text_data: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    task = small(text_data, tokenizer, rows=32)
    asked: list[tuple[tuple[int, ...] | None, list[int]]] = []
    collate = task.collate

    def recorded(rows: Any, draw: tuple[int, ...] | None = None) -> Any:
        asked.append((draw, [row["row"] for row in rows]))
        return collate(rows, draw)

    task.collate = recorded  # type: ignore[method-assign]
    training = Training(batch_size=8, accumulation=2, epochs=3)
    train(Supervised(make_model(), task), task, training, tmp_path, 5, lambda *_: None)
    for epoch in range(3):
        rows = [row for draw, numbers in asked if draw == (5, epoch) for row in numbers]
        assert sorted(rows) == list(range(32)), "each row once in each epoch"
    assert {draw for draw, _ in asked} == {None, (5, 0), (5, 1), (5, 2)}


@pytest.mark.slow
def test_a_constant_rate_warms_up_too(text_data: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    task = small(text_data, tokenizer)
    training = Training(batch_size=16, max_steps=10, learning_rate=1e-3, warmup=0.5, decay="constant")
    train(Supervised(make_model(), task), task, training, tmp_path, 1, lambda *_: None)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = {entry["step"]: entry["learning_rate"] for entry in log if "learning_rate" in entry}
    assert rates[1] < rates[3] < rates[7] == rates[10] == 1e-3


@pytest.mark.slow
def test_a_training_that_diverges_stops(text_data: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    task = small(text_data, tokenizer)
    training = Training(batch_size=16, max_steps=20, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"loss is nan in .* at step .*lower the learning rate \(now 1e\+30\)"):
        train(Supervised(make_model(), task), task, training, tmp_path, 1, lambda *_: None)


def test_groups_fill_batches_as_a_whole_where_they_can() -> None:
    sizes = np.random.default_rng(0).integers(2, 6, size=200)
    groups = np.repeat(np.arange(200), sizes)
    lengths = np.random.default_rng(1).integers(3, 60, size=len(groups))
    sampler = LengthBatches(lengths, 32, 1, groups, batch=16)
    found = list(sampler)
    assert sorted(found) == list(range(len(groups)))
    cut = 0
    for start in range(0, len(found) - len(found) % 32, 16):
        inside = groups[found[start : start + 16]]
        cut += sum(np.count_nonzero(inside == group) < sizes[group] for group in set(inside.tolist()))
    assert cut <= 4, "two parts of a group now and then, near the end"
    assert found == list(LengthBatches(lengths, 32, 1, groups, batch=16))
    even = np.repeat(np.arange(50), 4)
    for batch in (16, 32):
        alike = list(LengthBatches(lengths[:200], 32, 1, even, batch=batch))
        assert all(len(set(even[alike[start : start + 4]].tolist())) == 1 for start in range(0, 200, 4))
    halves = [list(LengthBatches(lengths[:200], 32, 1, even, batch=batch)) for batch in (16, 32)]
    assert halves[0] == halves[1], "two processes see what one sees"


def test_groups_are_put_where_they_fit_by_hand() -> None:
    assert filling([4, 4, 4, 4], 8) == [0, 1, 2, 3]
    assert filling([3, 3, 3, 2, 3, 3], 8) == [0, 1, 3, 2, 4, 5], "3 + 3 + 2"
    assert filling([5, 2, 3], 5) == [0, 1, 2]
    assert filling([3, 3, 3], 4) == [0, 1, 2], "none fits: one is cut"
    assert filling([9, 1], 4) == [1, 0], "a group that is larger than a batch comes where nothing fits"
