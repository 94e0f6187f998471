"""Two processes on one machine against one: gloo on CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_model, without_dropout
from safetensors.torch import load_file
from together import ONE, TWO, begun, together
from token_tasks import HEADS, label_fields, write_token_tasks

pytestmark = pytest.mark.slow

RAMP = ["--set", "rate.linear.base=0.4", "--set", "rate.linear.full_at=0.7"]


@pytest.fixture(scope="module")
def model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout: its draws are each process's own."""
    folder = tmp_path_factory.mktemp("model")
    make_model(**without_dropout()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def masked_model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a masked-language-model head."""
    folder = tmp_path_factory.mktemp("masked")
    make_model(head="masked-lm", **without_dropout()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def command(model: Path, tiny_data_folder: Path, tmp_path: Path) -> Any:
    """The arguments of a run of Theseus, and its folder."""

    def make(name: str, batch: int, *more: str) -> tuple[list[str], Path]:
        out = tmp_path / name
        flags = ["--model", str(model), "--task", "files", "--data-dir", str(tiny_data_folder), "--columns", "text"]
        flags += [
            "--out",
            str(out),
            "--batch-size",
            str(batch),
            "--learning-rate",
            "1e-3",
            "--device",
            "cpu",
            "--max-length",
            "32",
        ]
        return ["theseus", *flags, "--no-baseline", "--quiet", *more], out

    return make


def run(processes: int, line: list[str], out: Path) -> Path:
    for done in together(processes, line):
        assert done.code == 0, done.err[-3000:]
    return out


def weights(out: Path, method: str = "theseus") -> dict[str, torch.Tensor]:
    return load_file(out / f"00-{method}" / "model" / "model.safetensors")


def log(out: Path) -> list[dict[str, Any]]:
    lines = (out / "00-theseus" / "replacing" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_two_processes_equal_one_with_the_doubled_batch(command: Any) -> None:
    two = run(TWO, *command("two", 8, "--epochs", "2", *RAMP))
    one = run(ONE, *command("one", 16, "--epochs", "2", *RAMP))
    assert len(log(two)) == len(log(one)) > 5
    for ours, theirs in zip(log(two), log(one), strict=True):
        assert ours["step"] == theirs["step"]
        for name in theirs.keys() & {"replace_rate", "replaced_0", "replaced_1", "learning_rate", "eval_accuracy"}:
            assert ours[name] == theirs[name], name
        if "loss" in theirs:
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_two_processes_mask_the_tokens_that_one_would(command: Any, masked_model: Path, tiny_text_task: Any) -> None:
    corpus = f"task.corpus={json.dumps(tiny_text_task['corpus'])}"
    text = ["--model", str(masked_model), "--task", "text", "--set", corpus]
    flags = ["--epochs", "2", *RAMP]

    def started(processes: int, name: str, batch: int) -> Path:
        line, out = command(name, batch, *flags, *text)
        own = {"--columns", "--data-dir"}
        without = [word for place, word in enumerate(line) if not own & {word, line[place - 1]}]
        return run(processes, without, out)

    two, one = started(TWO, "two", 8), started(ONE, "one", 16)
    assert len(log(two)) == len(log(one)) > 5
    for ours, theirs in zip(log(two), log(one), strict=True):
        for name in theirs.keys() & {"loss", "grad_norm"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
        for name in theirs.keys() & {"eval_masked_accuracy", "eval_mean_probability"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-2), name
    for name, value in weights(one).items():
        if name.endswith("key.bias"):  # it changes nothing, so that its gradient is rounding, which Adam follows
            continue
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["mrc", "choice"])
def test_two_processes_read_the_windows_that_one_would(command: Any, kind: str, tokenizer: Any, tmp_path: Path) -> None:
    """They make them once, and share them."""
    tasks = write_token_tasks(tmp_path)
    make_model(head=HEADS[kind], **label_fields(kind), **without_dropout()).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    given = ["--kind", kind, "--data-dir", tasks[kind]["data_dir"], "--model", str(tmp_path / "model")]
    given += ["--queries", tasks[kind]["mrc"]["queries"]] if kind == "mrc" else []

    def started(processes: int, name: str, batch: int) -> Path:
        line, out = command(name, batch, "--epochs", "2", *RAMP, *given)
        place = line.index("--columns")
        return run(processes, line[:place] + line[place + 2 :], out)

    two, one = started(TWO, "two", 8), started(ONE, "one", 16)
    assert len(log(two)) == len(log(one)) > 5
    for ours, theirs in zip(log(two), log(one), strict=True):
        for name in theirs.keys() & {"loss", "grad_norm"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
    # What changes nothing has a gradient of rounding, which Adam follows: biases of keys and, where a softmax runs over
    # tokens or options, what the head adds to all of them alike.
    alike = {"qa": ("layer.1.output.LayerNorm.bias", "qa_outputs.bias"), "choice": ("classifier.bias",)}
    idle = ("key.bias", *alike.get(kind, ()))
    for name, value in weights(one).items():
        if not name.endswith(idle):
            torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_two_processes_learn_the_pairs_of_texts_that_one_would(command: Any, tokenizer: Any, tmp_path: Path) -> None:
    """The two texts of a pair come to the same process; what learns nothing, a pooler, waits for no gradient."""
    task = write_token_tasks(tmp_path)["embedding"]
    make_model(head=None, **without_dropout()).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    given = ["--kind", "embedding", "--data-dir", task["data_dir"], "--model", str(tmp_path / "model")]
    given += ["--columns", ",".join(task["columns"]), "--set", "task.embedding.loss=cosine"]

    def started(processes: int, name: str, batch: int) -> Path:
        line, out = command(name, batch, "--epochs", "2", *RAMP, *given)
        place = line.index("--columns")
        return run(processes, line[:place] + line[place + 2 :], out)

    two, one = started(TWO, "two", 8), started(ONE, "one", 16)
    for name, value in weights(one).items():
        if not name.endswith("key.bias"):
            torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("signals", ["none", "all"])
def test_two_processes_distil_what_one_would(command: Any, signals: str) -> None:
    """Projections belong to what is trained, so that they are synchronised too."""
    flags = ["--epochs", "2", "--set", "teacher_check=false", "--set", f"signals={signals}", "--set"]
    flags += ["shape={layers: 2, hidden_size: 12, heads: 2, intermediate_size: 20}", "--set", "prediction.epochs=1"]
    flags += ["--set", "prediction.learning_rate=1e-3"]

    def started(processes: int, name: str, batch: int) -> Path:
        line, out = command(name, batch, *flags, "--set", f"prediction.batch_size={batch}")
        return run(processes, [{"theseus": "tinybert"}.get(word, word) for word in line], out)

    two, one = started(TWO, "two", 8), started(ONE, "one", 16)
    for file in ("projections.safetensors", "model/model.safetensors"):
        found = [load_file(folder / "00-tinybert" / file) for folder in (two, one)]
        for name, value in found[1].items():
            if not name.endswith(
                "key.bias"
            ):  # in step 2 it changes nothing: its gradient is rounding, which Adam follows
                torch.testing.assert_close(found[0][name], value, rtol=1e-3, atol=1e-4, msg=f"{file} {name}")


def test_two_processes_make_one_model_from_nothing(tiny_text_folder: Path, tmp_path: Path) -> None:
    """Under torchrun. The first one makes the vocabulary and the weights, and tokenises; the other waits."""
    flags = ["--corpus", str(tiny_text_folder / "train.txt"), "--shape", "2x16x2", "--vocabulary", "wordpiece"]
    flags += ["--vocabulary-size", "120", "--max-length", "32", "--batch-size", "4", "--device", "cpu", "--quiet"]
    flags += ["--set", "training.max_steps=4", "--out", str(tmp_path / "run")]
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line += ["-m", "bertpress", "pretrain", *flags]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "run"
    assert (out / "untrained" / "untrained.json").is_file()
    assert (out / "00-finetune" / "model" / "model.safetensors").is_file()


def test_a_hundred_steps_that_mostly_replace_nothing_end(command: Any, model: Path) -> None:
    rate = ["--set", "rate.constant.rate=0.05", "--set", "rate.constant.switch_after=never"]
    out = run(TWO, *command("idle", 4, "--set", "replacing.max_steps=100", *rate))
    before = load_file(model / "model.safetensors")["bert.encoder.layer.0.output.dense.weight"]
    assert not torch.equal(weights(out)["bert.encoder.layer.0.output.dense.weight"], before)
    replaced = [entry["replaced_0"] for entry in log(out) if "replaced_0" in entry]
    assert 0 < sum(replaced) < 0.2 * len(replaced)


def test_a_killed_run_of_two_goes_on_to_the_same_weights(command: Any) -> None:
    whole = run(TWO, *command("whole", 8, "--epochs", "6", *RAMP))
    line, out = command("killed", 8, "--epochs", "6", *RAMP)
    both = begun(TWO, line)
    until = time.monotonic() + 120
    while not list(out.glob("00-theseus/replacing/checkpoint-*/complete")):
        assert time.monotonic() < until
        assert not any(each.has_ended for each in both)
        time.sleep(0.02)
    for each in both:
        each.kill()
    assert all(each.wait().code < 0 for each in both)
    assert not (out / "00-theseus" / "result.json").exists()
    run(TWO, line, out)
    for name, value in weights(whole).items():
        assert torch.equal(weights(out)[name], value), name


@pytest.mark.parametrize("fields", [[], ["selector=gumbel"], ["rollouts=1", "alpha=0.3"]], ids=" ".join)
def test_two_processes_skip_the_tokens_that_one_would(command: Any, fields: list[str]) -> None:
    """Importance and answers are computed in halves; draws, price and running means do not know of processes."""
    flags = ["--epochs", "2", *(word for field in fields for word in ("--set", field))]
    flags += ["--set", "joint.epochs=1", "--set", "joint.learning_rate=1e-3"]

    def started(processes: int, name: str, batch: int, *more: str) -> Path:
        line, out = command(name, batch, *flags, "--set", f"joint.batch_size={batch}", *more)
        return run(processes, [{"theseus": "trbert"}.get(word, word) for word in line], out) / "00-trbert"

    if not fields:
        first = ("--phases", "importance,policy,logits")
        halves = [started(TWO, "two", 8, *first), started(ONE, "one", 16, *first)]
        for phase in ("importance", "logits"):
            for file in ("rows", "offsets", "values"):
                found = [np.load(folder / phase / f"{file}.npy") for folder in halves]
                np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
    two, one = started(TWO, "two", 8), started(ONE, "one", 16)
    for phase in ("policy", "joint"):
        logs = [
            [json.loads(line) for line in (folder / phase / "log.jsonl").read_text().splitlines()]
            for folder in (two, one)
        ]
        assert len(logs[0]) == len(logs[1]) > 5
        for ours, theirs in zip(*logs, strict=True):
            for name in theirs.keys() & {"price", "eval_macs_share", "loss"}:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-2, abs=1e-3), (phase, name)
    files = [load_file(folder / "model" / "model.safetensors") for folder in (two, one)]
    for name, value in files[1].items():
        if not name.endswith("key.bias"):  # it changes nothing, so that its gradient is rounding, which Adam follows
            torch.testing.assert_close(files[0][name], value, rtol=1e-3, atol=2e-4, msg=name)
