"""Latency is measured in turns, and a real difference is seen."""

import json
import time

import pytest
import torch
from torch import Tensor, nn

from bertpress.costs.latency import SHORT, Batch, describe, is_faster, latency_rows, measure


class Work(nn.Module):
    """Multiplies a square matrix `times` times, and notes what it was called with."""

    def __init__(self, times: int = 1, log: list[tuple[int, int]] | None = None) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(200, 200))
        self.times, self.log = times, [] if log is None else log

    def forward(self, input_ids: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.log.append((self.times, input_ids.shape[1]))
        return torch.stack([self.matrix @ self.matrix for _ in range(self.times)])


def batches(size: int, *lengths: int) -> list[Batch]:
    return [{"input_ids": torch.zeros(size, length, dtype=torch.long)} for length in lengths]


def test_models_take_turns_on_the_same_batch() -> None:
    log: list[tuple[int, int]] = []
    seconds = measure([Work(1, log), Work(2, log)], batches(1, 5, 6), repeats=4, warmup=0)
    assert seconds.shape == (2, 4)
    assert (seconds > 0).all()
    warmup, timed = log[:4], log[4:]  # each batch once before, although no warm-up was asked for
    assert warmup == [(1, 5), (2, 5), (2, 6), (1, 6)]
    turns = [(1, 5), (2, 5), (2, 6), (1, 6), (2, 5), (1, 5), (1, 6), (2, 6)]
    assert timed == [turn for turn in turns for _ in range(2)]  # short passes: the second is timed


@pytest.mark.parametrize("lengths", [(4,), (4, 5), (4, 5, 6)])
def test_each_model_goes_first_equally_often_on_each_batch(lengths: tuple[int, ...]) -> None:
    log: list[tuple[int, int]] = []
    rounds = 2 * len(lengths)
    measure([Work(1, log), Work(2, log)], batches(1, *lengths), repeats=rounds)
    first = log[-4 * rounds :: 4]
    assert sorted(first) == [(times, length) for times in (1, 2) for length in lengths]


class Disturbed(nn.Module):
    """Sleeps for `seconds`, and for `more` in the first pass of its turn."""

    def __init__(self, seconds: float, more: float, turns: list[nn.Module]) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(1))
        self.seconds, self.more, self.turns = seconds, more, turns

    def forward(self, input_ids: Tensor) -> None:
        first = not self.turns or self.turns[-1] is not self
        self.turns.append(self)
        time.sleep(self.seconds + self.more * first)


def test_what_the_other_model_leaves_behind_is_not_timed_in_a_short_pass() -> None:
    turns: list[nn.Module] = []
    short, long = Disturbed(0.005, 0.03, turns), Disturbed(2 * SHORT, 0, turns)
    seconds = measure([short, long], batches(1, 4), repeats=3, warmup=0)
    assert (seconds[0] < 0.03).all()
    assert (seconds[1] >= 2 * SHORT).all()
    assert turns.count(short) == 1 + 3 * 2
    assert turns.count(long) == 1 + 3, "a long pass is run once"


def test_rounds_go_on_until_the_time_is_spent() -> None:
    model = Work()
    assert measure([model], batches(1, 4), repeats=2, warmup=3).shape == (1, 2)
    assert len(model.log) == 3 + 2 * 2
    assert measure([model], batches(1, 4), repeats=2, seconds=1).shape[1] > 2


def test_flags_are_as_before_even_after_a_failure() -> None:
    model = nn.Sequential(Work(), nn.Dropout())
    model.train()
    model[0].eval()  # a frozen part
    with pytest.raises(TypeError):
        measure([model], batches(1, 4))  # Sequential takes no input_ids
    assert [module.training for module in model.modules()] == [True, False, True]
    work = Work().train()
    latency_rows(work, None, {1: batches(1, 4)}, seconds=0)
    assert work.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_slower_model_is_seen() -> None:
    slow, fast = Work(5), Work(1)
    (row,) = latency_rows(slow, fast, {1: batches(1, 4)}, seconds=0.3)
    assert 1 < row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
    assert row["median_ms"] < row["against"]["median_ms"]  # the row is that of the second model
    assert is_faster(row)
    (back,) = latency_rows(fast, slow, {1: batches(1, 4)}, seconds=0.3)
    assert back["speedup_high"] < 1
    assert not is_faster(back)


def test_rows_are_json_with_one_per_batch_size() -> None:
    model = Work()
    rows = latency_rows(model, model, {1: batches(1, 4, 8), 3: batches(3, 6)}, seconds=0)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["batch"] for row in rows] == [1, 3]
    assert [row["tokens"] for row in rows] == [(8 * 4 + 7 * 8) / 15, 6]  # 15 rounds: the first batch once more
    for row in rows:
        assert (row["threads"], row["device"], row["rounds"]) == (torch.get_num_threads(), "cpu", 15)
        assert row["low"] <= row["median_ms"] <= row["high"]
        assert set(row["against"]) == {"median_ms", "low", "high"}


def test_one_model_alone_has_no_speedup() -> None:
    (row,) = latency_rows(Work(), None, {2: batches(2, 4)}, seconds=0)
    assert set(row) == {"batch", "tokens", "threads", "device", "rounds", "median_ms", "low", "high"}
    assert not is_faster(row)


@pytest.mark.parametrize(("low", "claim"), [(1.01, True), (1.0, False), (0.98, False)])
def test_a_speedup_whose_interval_covers_1_is_none(low: float, claim: bool) -> None:
    assert is_faster({"speedup": 1.2, "speedup_low": low, "speedup_high": 1.5}) is claim


def test_batches_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="expected batches of 2 rows"):
        latency_rows(Work(), None, {2: batches(1, 4)})


def test_a_third_model_takes_turns() -> None:
    start, fast, undecided = Work(5), Work(1), Work(3)
    (row,) = latency_rows(start, fast, {1: batches(1, 4)}, seconds=0.3, undecided=undecided)
    assert len(start.log) == len(fast.log) == len(undecided.log)
    own = row["against_itself"]
    assert 1 < own["speedup_low"] <= own["speedup"] < row["speedup"]
    row |= {"theoretical_speedup": 4.0, "executed_speedup": 3.5}
    assert "x faster (" in describe(row)
    assert f"; theoretical 4.00x, executed 3.50x, measured against itself {own['speedup']:.2f}x (" in describe(row)
    (alone,) = latency_rows(fast, None, {1: batches(1, 4)}, seconds=0, undecided=undecided)
    assert alone["against_itself"]["speedup"] > 1
    assert "speedup" not in alone
