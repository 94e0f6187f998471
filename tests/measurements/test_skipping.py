"""What a model that skips tokens costs on real rows: numbers from its own decisions, and speed-ups by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_masked_task, make_model, make_tokenizer
from models.making import SHAPES, make_compact

from bertpress import api, cli
from bertpress.costs import cost
from bertpress.encoders.compact import compact_config
from bertpress.engine.evaluation import logits_of
from bertpress.measurements import measuring
from bertpress.measurements.skipping import Counting, Counts, over_split, plain_config, speedups
from bertpress.methods.vocabulary import steps
from bertpress.methods.vocabulary.pieces import needed_ids
from bertpress.models.walks import Trace


@pytest.fixture
def model() -> Any:
    return make_compact(layer_shapes=SHAPES)


@pytest.fixture
def folder(model: Any, tmp_path: Path, quick_latency: None) -> str:
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    return str(tmp_path)


def by_row(model: Any, task: Any) -> tuple[list[int], list[list[int]]]:
    """Lengths and kept tokens of the development split, each row alone."""
    lengths, kept = [], []
    for row in task.encoded("validation"):
        trace = Trace()
        with torch.no_grad():
            task.forward(model, task.collate([row]), trace=trace)
        lengths.append(row["length"])
        kept.append(trace.kept()[0].tolist())
    return lengths, kept


def test_costs_over_a_split_are_those_of_each_row_alone(
    model: Any, task: Any, tmp_path: Path, quick_latency: None
) -> None:
    lengths, kept = by_row(model, task)
    assert len({tuple(row) for row in kept}) > 3
    measured = measuring.measured(model, task, tmp_path, 8)
    costs = measured["cost"]
    each = [cost.macs(model.config, length, kept=row) for length, row in zip(lengths, kept, strict=True)]
    assert costs["macs"]["value"] == round(sum(each) / len(each))
    assert costs["macs"]["tokens"] == measuring.mean_tokens(task)
    plain = compact_config(model.config, token_reduction=None)
    reduction = costs["token_reduction"]
    expected = sum(cost.macs(plain, length) for length in lengths) / sum(each)
    assert reduction["theoretical_speedup"] == pytest.approx(expected)
    assert reduction["executed_speedup"] >= reduction["theoretical_speedup"], "the plain model computes padding"
    shares = np.array(kept) / np.array(lengths)[:, None]
    for entry, layer, column in zip(reduction["kept"], (1, 2), shares.T, strict=True):
        assert entry["layer"] == layer
        assert entry["mean"] == pytest.approx(column.mean())
        assert (entry["p5"], entry["p95"]) == pytest.approx(tuple(np.percentile(column, (5, 95))))
    scored = logits_of(model, task, task.encoded("validation"))
    assert measured["metrics"] == {"validation": task.score(scored, "validation")}
    assert json.loads(json.dumps(measured)) == measured
    assert measuring.measured(model, task, tmp_path, 8)["cost"]["token_reduction"] == reduction, "the same again"


def test_a_plain_model_has_none_of_this(task: Any, tmp_path: Path, quick_latency: None) -> None:
    costs = measuring.measured(make_model(), task, tmp_path, 8)["cost"]
    assert "token_reduction" not in costs
    assert not any("theoretical_speedup" in row or "against_itself" in row for row in costs["latency"])


def test_timed_rows_say_what_to_expect(model: Any, task: Any, quick_latency: None) -> None:
    start = make_model(num_hidden_layers=5)
    assert plain_config(model, start) is start.config
    assert plain_config(model, model).token_reduction is None
    rows = measuring.timed(model, start, task, 8, 0.01)
    assert [row["batch"] for row in rows] == [1, 8]
    for row in rows:
        assert {"speedup", "against", "against_itself", "theoretical_speedup", "executed_speedup"} <= set(row)
    alone, together = rows
    assert alone["theoretical_speedup"] == pytest.approx(alone["executed_speedup"]), "no padding at batch 1"
    assert together["executed_speedup"] > together["theoretical_speedup"]
    (own, _) = measuring.timed(model, None, task, 8, 0.01)
    assert own["theoretical_speedup"] < alone["theoretical_speedup"], "the start has a layer more"


def test_speed_ups_by_hand(task: Any) -> None:
    plain = make_model().config
    config = compact_config(plain, token_reduction={"layers": [1, 2]})
    batches = [Counts(8, (8, 4), ((4, 2), (2, 1))), Counts(5, (5,), ((5, 5),))]
    found = speedups(config, plain, batches, task)
    full = [cost.macs(plain, length) for length in (8, 4, 5)]
    kept = [cost.macs(config, n, kept=left) for n, left in ((8, (4, 2)), (4, (2, 1)), (5, (5, 5)))]
    assert found["theoretical_speedup"] == pytest.approx(sum(full) / sum(kept))
    padded = cost.macs(plain, 8, 2) + cost.macs(plain, 5)
    assert found["executed_speedup"] == pytest.approx(padded / sum(kept))


def test_what_the_start_reads_in_its_own_tokens_counts_as_it_reads_it(task: Any) -> None:
    plain = make_model().config
    config = compact_config(plain, token_reduction={"layers": [1, 2]})
    found = speedups(config, plain, [Counts(8, (8,), ((4, 2),))], task, [Counts(6, (6,), ())], rows=0.5)
    kept = cost.macs(config, 8, kept=(4, 2))
    assert found["theoretical_speedup"] == pytest.approx(0.5 * cost.macs(plain, 6) / kept)
    assert found["executed_speedup"] == pytest.approx(0.5 * cost.macs(plain, 6) / kept)


def test_a_whole_split_counts_the_start_as_it_reads_it(model: Any, task: Any, tmp_path: Path) -> None:
    letters = sorted(needed_ids(steps.content_of(task.tokenizer)))
    steps.write_tokenizer(task.tokenizer, letters, tmp_path)
    longer = task.with_tokenizer(steps.read_tokenizer(tmp_path))
    lengths, others = (np.asarray(each.encoded("validation")["length"][:]) for each in (task, longer))
    assert lengths.sum() != others.sum()
    plain = plain_config(model, None)
    own = over_split(model, plain, task, Counting(task))["theoretical_speedup"]
    found = over_split(model, plain, task, Counting(task), longer)["theoretical_speedup"]
    full = [sum(cost.macs(plain, int(length)) for length in each) for each in (lengths, others)]
    assert found / own == pytest.approx(full[1] / full[0])


def test_what_was_not_scored_is_run() -> None:
    model, task = make_compact(kind="ForMaskedLM"), make_masked_task()
    counting = Counting(task)
    found = over_split(model, plain_config(model, None), task, counting)
    assert sum(len(batch.lengths) for batch in counting.batches) == len(task.encoded("validation"))
    assert found["theoretical_speedup"] > 1
    assert not model.training


def test_measure_names_all_speed_ups(
    folder: str,
    tiny_model_folder: Path,
    tiny_data_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ["--task", "files", "--data-dir", str(tiny_data_folder), "--columns", "text", "--max-length", "32"]
    command = ["bertpress", "measure", folder, "--against", str(tiny_model_folder), "--batch-size", "4", *data]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    for line in lines[:2]:
        for word in ("against", "; theoretical ", ", executed ", ", measured against itself "):
            assert word in line
    names = [line.partition(":")[0] for line in lines[2:]]
    assert names == ["Theoretical speed-up", "Executed speed-up", "Measured speed-up"]


def test_a_function_gives_the_same_rows(folder: str, tiny_data_folder: Path) -> None:
    task = {"files": str(tiny_data_folder), "columns": ["text"]}
    rows = api.measure(folder, None, task, batch_size=4, max_length=32)
    assert all("speedup" not in row and row["against_itself"]["speedup"] > 0 for row in rows)
