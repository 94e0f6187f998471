"""The commands for models that skip tokens, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, Page

from .conftest import Outcome, write_csv
from .test_bad_input import refused
from .test_commands import files_task

Call = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("quick")
CPU = ("--device", "cpu", "--quiet")


def profiles(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text())["token_reduction"]["profiles"])


def test_calibrate_stores_a_profile_that_the_other_commands_take(bertpress: Call, reduced: Path, data: Path) -> None:
    task = (*files_task(data), *CPU)
    outcome = bertpress("calibrate", reduced, *task, "--macs", 0.6, "--profile", "most", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["macs"] == pytest.approx(0.6, abs=0.01)
    assert found["theoretical_speedup"] == pytest.approx(1 / found["macs"])
    assert found["rows"] == 40
    assert len(found["thresholds"]) == 2
    assert profiles(reduced) == {
        "half": {"thresholds": [0.4, 0.6]},
        "most": {"thresholds": found["thresholds"]},
    }

    def score(*flags: object) -> Any:
        return json.loads(bertpress("evaluate", reduced, *task, *flags, "--json").out)["validation"]

    thresholds = ",".join(map(repr, found["thresholds"]))
    assert score("--profile", "most") == score("--token-threshold", thresholds) == found["scores"]["profile"]
    assert score("--token-threshold", 0) == found["scores"]["all_tokens"]
    assert score("--token-threshold", "0.4,0.6") == score("--profile", "half")


ELSEWHERE = """
import importlib.abc, json, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bertpress":
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Absent())
import torch, transformers
folder, texts = sys.argv[1], sys.argv[2:]
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
model.base_model.set_profile("x")
with torch.no_grad():
    logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
print(json.dumps(logits.softmax(-1).max(-1).values.tolist()))
"""


@pytest.mark.slow
def test_a_stored_profile_serves_without_the_package(
    bertpress: Call, reduced: Path, data: Path, tmp_path: Path
) -> None:
    calibrated = bertpress("calibrate", reduced, *files_task(data), *CPU, "--macs", 0.6, "--profile", "x")
    assert calibrated.code == 0, calibrated.err
    texts = ["the film was good", "a very bad plot with an awful end"]
    flags = [part for text in texts for part in ("--text", text)]
    own = bertpress("predict", reduced, *flags, "--profile", "x", "--max-length", 32, *CPU)
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", ELSEWHERE, str(reduced), *texts]
    done = subprocess.run(command, text=True, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [json.loads(line)["probability"] for line in own.out.splitlines()]
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-5)


def test_calibrate_says_what_it_found(bertpress: Call, reduced: Path, data: Path) -> None:
    outcome = bertpress("calibrate", reduced, *files_task(data), *CPU, "--speedup", 1.5, "--profile", "1.5x")
    assert outcome.code == 0, outcome.err
    first, second, third, last = outcome.out.splitlines()
    assert first.startswith("1.5x: 0.6")
    assert "multiply-adds on 40 rows, theoretical speed-up 1." in first
    assert "thresholds 0." in second
    assert "after 1 layer," in second
    assert "after 2 layers" in second
    assert third.startswith("accuracy ")
    assert last == f"stored in {reduced}; use it with --profile 1.5x"


def test_calibrating_again_gives_the_same(bertpress: Call, reduced: Path, data: Path) -> None:
    command = ("calibrate", reduced, *files_task(data), *CPU, "--macs", 0.7, "--profile", "x", "--json")
    first, config = bertpress(*command), (reduced / "config.json").read_bytes()
    assert first.code == 0, first.err
    assert bertpress(*command) == first
    assert (reduced / "config.json").read_bytes() == config
    assert not list(reduced.glob(".*"))


def test_calibrate_on_texts_without_labels(bertpress: Call, reduced: Path, tmp_path: Path) -> None:
    words = ["an", "awful", "plot", "with", "a", "very", "bad", "end", "that", "was", "good", "in", "the", "film"]
    texts = [" ".join(words[start : start + 4 + start % 7]) for start in range(10)] * 4
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    flags = ("--input", tmp_path / "texts.txt", "--macs", 0.7, "--profile", "x", "--max-length", 32, *CPU)
    outcome = bertpress("calibrate", reduced, *flags)
    assert outcome.code == 0, outcome.err
    assert "accuracy" not in outcome.out
    assert "on 40 rows" in outcome.out


def test_calibrate_on_texts_of_very_different_lengths(bertpress: Call, reduced: Path, tmp_path: Path) -> None:
    """The cost is that of all texts together, which the mean over texts is not."""
    words = ["an", "awful", "plot", "with", "a", "very", "bad", "end", "that", "was", "good", "in", "the", "film"]
    long = [" ".join((words * 4)[start : start + 40 + start]) for start in range(8)]
    (tmp_path / "texts.txt").write_text("\n".join([*long, *["a good film"] * 40]))
    flags = ("--input", tmp_path / "texts.txt", "--macs", 0.5, "--profile", "x", "--max-length", 64, *CPU, "--json")
    outcome = bertpress("calibrate", reduced, *flags)
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["macs"] == pytest.approx(0.5, abs=0.005)
    assert (found["rows"], found["inputs"]) == (48, 48)


def test_calibrate_into_a_copy(bertpress: Call, reduced: Path, data: Path, tmp_path: Path) -> None:
    before = (reduced / "config.json").read_bytes()
    copy = tmp_path / "new" / "copy"
    flags = (*files_task(data), *CPU, "--macs", 0.7, "--profile", "x", "--out", copy)
    outcome = bertpress("calibrate", reduced, *flags)
    assert outcome.code == 0, outcome.err
    assert (reduced / "config.json").read_bytes() == before
    assert set(profiles(copy)) == {"half", "x"}
    assert {path.name for path in copy.iterdir()} == {path.name for path in reduced.iterdir()}
    assert bertpress("evaluate", copy, *files_task(data), *CPU, "--profile", "x").code == 0
    refused(bertpress("calibrate", reduced, *flags), "exists already", "--out")


def test_a_model_with_shares_keeps_their_course(bertpress: Call, reducing: Any, data: Path) -> None:
    folder = reducing(selector="attention", shares=[0.5, 0.25], profiles={})
    flags = (*files_task(data), *CPU, "--macs", 0.7, "--profile", "x", "--json")
    found = json.loads(bertpress("calibrate", folder, *flags).out)
    first, second = found["shares"]
    assert first**2 == pytest.approx(second)  # each decision keeps the same share of what it sees, as before
    assert profiles(folder) == {"x": {"shares": [first, second]}}
    assert bertpress("evaluate", folder, *files_task(data), *CPU, "--profile", "x").code == 0


def test_a_budget_that_nothing_meets(bertpress: Call, reduced: Path, data: Path) -> None:
    before = (reduced / "config.json").read_bytes()
    outcome = bertpress("calibrate", reduced, *files_task(data), *CPU, "--macs", 0.05, "--profile", "x")
    assert outcome.code == 3
    assert outcome.out == ""
    assert len(outcome.lines) == 1
    assert "to 0.050 of" in outcome.err
    nearest = outcome.err.partition("ask for --macs ")[2].partition(",")[0]
    assert (reduced / "config.json").read_bytes() == before
    again = bertpress("calibrate", reduced, *files_task(data), *CPU, "--macs", nearest, "--profile", "x")
    assert again.code == 0, again.err


def sluggish(plain: Any, model: Any, batches: Any, forward: Any, **_: Any) -> list[dict[str, Any]]:
    """A measurement on a machine where time goes down more slowly than multiply-adds."""
    import torch

    from bertpress.models.walks import Trace

    tokens = 0
    ((size, some),) = batches.items()
    for batch in some:
        trace = Trace()
        with torch.no_grad():
            forward(model, batch, trace=trace)
        tokens += int(trace.valid.sum()) + int(trace.kept().sum())  # type: ignore[union-attr]
    everything = 3 * sum(int(batch["attention_mask"].sum()) for batch in some)
    speedup = (everything / tokens) ** 0.7
    row = {"batch": size, "tokens": 9.0, "threads": 1, "device": "cpu", "median_ms": 1.0, "low": 1.0, "high": 1.0}
    times = {"against": {"median_ms": speedup, "low": speedup, "high": speedup}}
    return [row | times | {"speedup": speedup, "speedup_low": speedup - 0.01, "speedup_high": speedup + 0.01}]


def test_a_measured_speed_up_is_searched_for(
    bertpress: Call, reduced: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertpress.costs import latency

    monkeypatch.setattr(latency, "latency_rows", sluggish)
    flags = (*files_task(data), *CPU, "--measured", "--batch-size", 8, "--profile", "x")
    outcome = bertpress("calibrate", reduced, *flags, "--speedup", 1.3, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["measured"]["speedup"] == pytest.approx(1.3, rel=0.03)
    assert found["theoretical_speedup"] > found["measured"]["speedup"]
    assert "x faster (" in bertpress("calibrate", reduced, *flags, "--speedup", 1.3).out.partition("batch 8 at")[2]
    assert set(profiles(reduced)) == {"half", "x"}
    before = (reduced / "config.json").read_bytes()
    outcome = bertpress("calibrate", reduced, *flags, "--speedup", 9)
    assert outcome.code == 3
    assert "measured speed-up of 9.00 was not reached" in outcome.err
    assert (reduced / "config.json").read_bytes() == before
    refused(bertpress("calibrate", reduced, *flags, "--macs", 0.5), "--speedup", "--measured")


BUDGETS = {
    "none": ((), ("--macs", "--speedup")),
    "two": (("--macs", 0.5, "--speedup", 2), ("--macs", "--speedup")),
    "no share": (("--macs", 1.5), ("--macs", "1.5")),
    "nothing left": (("--macs", 0), ("--macs", "above 0")),
    "not a number": (("--macs", "nan"), ("--macs", "nan")),
    "slower": (("--speedup", 0.5), ("--speedup", "0.5")),
    "without end": (("--speedup", "inf"), ("--speedup", "inf")),
}


@pytest.mark.parametrize("case", BUDGETS)
def test_budgets(case: str, bertpress: Call, reduced: Path, data: Path) -> None:
    flags, fragments = BUDGETS[case]
    refused(bertpress("calibrate", reduced, *files_task(data), *CPU, "--profile", "x", *flags), *fragments)
    assert set(profiles(reduced)) == {"half"}


def test_requests_that_are_refused(
    bertpress: Call, reduced: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, budget = (*files_task(data), *CPU), ("--macs", 0.7, "--profile", "x")
    refused(bertpress("calibrate", reduced, *task, "--macs", 0.7), "--profile")
    refused(bertpress("calibrate", reduced, *task, "--macs", 0.7, "--profile", " "), "--profile")
    refused(bertpress("calibrate", reduced, *CPU, *budget), "--task", "--input")
    refused(bertpress("calibrate", reduced, *task, *budget, "--split", "dev"), "no split 'dev'")
    refused(bertpress("calibrate", model, *task, *budget), "reads every token", "trbert")
    refused(bertpress("explain", model, *task), "reads every token", "trbert")
    refused(bertpress("evaluate", model, *task, "--profile", "x"), "reads every token", "trbert")
    refused(bertpress("evaluate", reduced, *task, "--profile", "x"), "no profile 'x'", "half")
    refused(bertpress("evaluate", reduced, *task, "--profile", "half", "--token-threshold", 0.5), "not both")
    refused(bertpress("evaluate", reduced, *task, "--token-threshold", "0.1,0.2,0.3"), "each of 2 decisions")
    refused(bertpress("evaluate", reduced, *task, "--token-threshold", "high"), "--token-threshold", "high")
    refused(bertpress("evaluate", reduced, *task, "--token-threshold", "nan"), "--token-threshold", "nan")
    refused(bertpress("evaluate", reduced, *task, "--token-threshold", ","), "--token-threshold")
    refused(bertpress("explain", reduced, *CPU), "--task", "--text")
    refused(bertpress("explain", reduced, *task, "--text", "a"), "either")
    refused(bertpress("explain", reduced, "--text", "a", "--data-dir", data), "--data-dir", "--task")
    refused(bertpress("explain", reduced, "--text", "a", "--limit", "validation=2"), "--limit")
    refused(bertpress("explain", reduced, "--text", "a", "--input", data / "test.csv"), "not both")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(bertpress("calibrate", reduced, *task, *budget), "cannot be written to", "--out")
    assert set(profiles(reduced)) == {"half"}


def test_a_name_on_the_hub_is_calibrated_into_a_copy_only(bertpress: Call, data: Path) -> None:
    flags = (*files_task(data), *CPU, "--macs", 0.7, "--profile", "x")
    refused(bertpress("calibrate", "someone/model", *flags), "someone/model", "--out")


def test_random_selectors_take_no_threshold(bertpress: Call, reducing: Any, data: Path) -> None:
    folder = reducing(selector="random", shares=[0.5, 0.25], profiles={})
    refused(bertpress("evaluate", folder, *files_task(data), *CPU, "--token-threshold", 0.5), "needs shares")


def test_predict_and_measure_at_a_profile(bertpress: Call, reduced: Path, data: Path) -> None:
    texts = ("predict", reduced, "--text", "the film was good", "--max-length", 32, *CPU)
    whole, half = bertpress(*texts, "--token-threshold", 0), bertpress(*texts, "--profile", "half")
    assert whole.code == half.code == 0, half.err
    assert json.loads(whole.out)["probability"] != json.loads(half.out)["probability"]
    flags = (*files_task(data), *CPU, "--batch-size", 8, "--json")
    outcome = bertpress("measure", reduced, "--against", reduced, *flags, "--profile", "half")
    assert outcome.code == 0, outcome.err
    assert [row["batch"] for row in json.loads(outcome.out)] == [1, 8]


def test_explain_texts(bertpress: Call, reduced: Path, tmp_path: Path) -> None:
    page, trace = tmp_path / "new" / "page.html", tmp_path / "new" / "trace.jsonl"
    texts = ("--text", "The film was good", "--text", HOSTILE)
    outcome = bertpress("explain", reduced, *texts, "--out", page, "--json", trace, "--max-length", 32, *CPU)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-2:] == [str(page), str(trace)]
    assert "\x1b" not in outcome.out
    assert "           all: [CLS] The film was good[SEP]" in outcome.out
    assert "after 2 layers: [CLS] " in outcome.out
    first, second = (json.loads(line) for line in trace.read_text().splitlines())
    assert (first["row"], first["texts"]) == (0, ["The film was good"])
    assert first["tokens"] == ["[CLS]", "the", "film", "was", "good", "[SEP]"]
    assert first["offsets"][1:-1] == [[0, 3], [4, 8], [9, 12], [13, 17]]
    assert first["last_layer"][0] == 3
    assert all(len(first[name]) == 6 for name in ("scores", "kept", "last_layer", "special", "tail", "text"))
    assert second["texts"] == [HOSTILE]
    shown = Page(page.read_text())
    assert "script" not in shown.tags
    assert "<script>alert(1)</script>" in shown.text


def test_explain_a_split(bertpress: Call, reduced: Path, data: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    flags = (*files_task(data), "--limit", "validation=5", "--profile", "half", "--json", trace, *CPU)
    outcome = bertpress("explain", reduced, *flags)
    assert outcome.code == 0, outcome.err
    assert "from 0.4" in outcome.out
    assert "Kept by answer" in outcome.out
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [record["row"] for record in records] == list(range(5))
    assert {record["label"] for record in records} <= {"neg", "pos"}
    assert all(record["right"] == (record["label"] == record["prediction"]) for record in records)


def test_explain_pairs_and_an_empty_text(bertpress: Call, reduced: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    flags = ("--text", "good", "--text", "", "--text-pair", "a film", "--text-pair", "", "--json", trace, *CPU)
    assert bertpress("explain", reduced, *flags, "--max-length", 32).code == 0
    first, second = (json.loads(line) for line in trace.read_text().splitlines())
    assert first["text"] == [None, 0, None, 1, 1, None]
    assert first["offsets"][3:5] == [[0, 1], [2, 6]]
    assert second["text"] == [None, None, None]


def test_explain_takes_texts_of_a_table(bertpress: Call, reduced: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "own.csv", [["good", "a film"]], ("one", "two"))
    flags = ("--input", tmp_path / "own.csv", "--columns", "one,two", "--max-length", 32, *CPU)
    outcome = bertpress("explain", reduced, *flags)
    assert outcome.code == 0, outcome.err
    assert "all: [CLS] good[SEP]  a film[SEP]" in outcome.out


def test_explain_needs_rows_that_are_texts(
    bertpress: Call, folder_of: Callable[..., Path], tiny_text_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForMaskedLM

    from bertpress.encoders.compact import compact

    start, folder = folder_of("bert", "masked-lm"), tmp_path / "model"
    shutil.copytree(start, folder)
    model = AutoModelForMaskedLM.from_pretrained(start)
    compact(model, token_reduction={"layers": [1]}).save_pretrained(folder)
    task = ("--task", "text", "--data-dir", tiny_text_folder, "--max-length", 32, *CPU)
    refused(bertpress("explain", folder, *task), "as they were written", "--text")
    outcome = bertpress("calibrate", folder, *task, "--macs", 0.9, "--profile", "x")
    assert outcome.code in (0, 3), outcome.err  # its policies were drawn, so it may keep all or nothing
