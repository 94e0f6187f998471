"""Kills and full disks: the same command goes on, and ends where an undisturbed run ends, bit for bit."""

from __future__ import annotations

import json
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forked

from bertpress.engine.trainer import MARKER

pytestmark = pytest.mark.slow
KILLS = 20
STEPS, FEW = 600, 20  # in each of the two phases: long enough for all kills, and enough to write files


def command(model: Path, data: Path, out: Path, steps: int) -> list[str]:
    """A theseus run of two phases."""
    phases = [f"{phase}.max_steps={steps}" for phase in ("replacing", "finetuning")]
    fields = [*phases, "replacing.batch_size=8", "finetuning.batch_size=8", "replacing.learning_rate=1e-3"]
    sets = [part for field in fields for part in ("--set", field)]
    task = ["--task", "files", "--data-dir", str(data), "--columns", "text", "--max-length", "32"]
    flags = ["--device", "cpu", "--threads", "1", "--quiet", "--no-baseline", "--out", str(out)]
    return ["theseus", "--model", str(model), *task, *sets, *flags]


def finish(arguments: list[str], limit: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run to the end: exit code and standard error."""
    done = Forked(arguments, limit=limit, loads=True).wait()
    return done.code, done.err


def weights(out: Path) -> bytes:
    """The result of the run."""
    return (out / "00-theseus" / "model" / "model.safetensors").read_bytes()


def unfinished_save(out: Path) -> bool:
    """True while a checkpoint is being written, or removed."""
    return any(not (folder / MARKER).exists() for folder in out.glob("*/*/checkpoint-*"))


def look_for_false_results(out: Path) -> None:
    """What looks finished must be finished."""
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    for file in (*out.rglob("result.json"), *out.rglob("finished.json"), *out.rglob(MARKER)):
        json.loads(file.read_text())
    for model in out.glob("*/model"):
        AutoModelForSequenceClassification.from_pretrained(model)
    for result in out.glob("0*/result.json"):
        assert (result.parent / "model" / "config.json").is_file()
    for finished in out.rglob("finished.json"):
        if not (finished.parent.parent / "result.json").exists():
            load_file(finished.parent / json.loads(finished.read_text())["checkpoint"] / "model.safetensors")
    for marker in out.glob("*/*/checkpoint-*/" + MARKER):
        load_file(marker.parent / "model.safetensors")


def kill_at_some_moment(process: Forked, out: Path, draw: random.Random, kind: int) -> bool:
    """Kill in the middle of a save (0), soon after one (1) or anywhere (2); False if the run ended before."""
    before = set(out.glob("*/*/checkpoint-*"))
    blind = time.monotonic() + (draw.uniform(0.1, 2) if kind == 2 else 60)
    while not process.has_ended and time.monotonic() < blind:
        new = set(out.glob("*/*/checkpoint-*")) - before
        if kind == 0 and new and unfinished_save(out):
            break
        if kind == 1 and new:
            time.sleep(draw.uniform(0, 0.3))
            break
        time.sleep(0.001)
    ended = process.has_ended
    process.kill()
    process.wait()
    return not ended


def test_twenty_kills(model: Path, data: Path, tmp_path: Path) -> None:
    code, errors = finish(command(model, data, tmp_path / "undisturbed", STEPS))
    assert code == 0, errors
    draw = random.Random(7)
    out = tmp_path / "run"
    kills, caught = 0, 0
    while kills < KILLS:
        process = Forked(command(model, data, out, STEPS), loads=True)
        if not kill_at_some_moment(process, out, draw, kills % 3):
            break
        kills += 1
        caught += unfinished_save(out)
        look_for_false_results(out)
    code, errors = finish(command(model, data, out, STEPS))
    assert code == 0, errors
    print(f"{kills} kills, {caught} during a save")
    assert kills == KILLS
    assert caught > 0
    assert weights(out) == weights(tmp_path / "undisturbed")
    log = "00-theseus/replacing/log.jsonl"
    steps = [(line["step"], sorted(line)) for line in map(json.loads, (out / log).read_text().splitlines())]
    assert len(steps) == len({(step, tuple(keys)) for step, keys in steps})


def small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the write, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_disk_full(model: Path, data: Path, tmp_path: Path) -> None:
    code, errors = finish(command(model, data, tmp_path / "undisturbed", FEW))
    assert code == 0, errors
    out = tmp_path / "run"
    code, errors = finish(command(model, data, out, FEW), small_files)
    assert code == 1, errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith("bertpress: ")
    assert not (out / "00-theseus" / "result.json").exists()
    look_for_false_results(out)
    code, errors = finish(command(model, data, out, FEW))
    assert code == 0, errors
    assert weights(out) == weights(tmp_path / "undisturbed")
