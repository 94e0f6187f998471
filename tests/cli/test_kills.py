"""Commands that are killed at chosen places: the same command goes on, and ends where an undisturbed one ends."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from forked import Done, Forked

from .conftest import save_tokenizer, sentences, tiny_config, write_csv

pytestmark = pytest.mark.slow


def run(command: list[object], cache: Path, killed_at: tuple[str, int] | None = None) -> Done:
    """Run in a process of its own."""
    environment = {"BERTPRESS_CACHE": str(cache)}
    return Forked([*command, "--device", "cpu", "--quiet"], environment, killed_at).wait()


def killed_again_and_again(command: list[object], folder: Path, places: list[tuple[str, int, str]]) -> None:
    """Kill the command at each of `places`, then let it end.

    Args:
        folder: gets the cache.
        places: function, number of the call after which it is killed, and the files that there must not be then.
    """
    for place, count, unfinished in places:
        done = run(command, folder / "cache", (place, count))
        assert done.code == -signal.SIGKILL, f"{place}: {done.err}"
        assert list(folder.glob(unfinished)) == [], place
    undisturbed(command, folder)


def undisturbed(command: list[object], folder: Path) -> None:
    done = run(command, folder / "cache")
    assert done.code == 0, done.err


def files_of(folder: Path) -> dict[str, bytes]:
    """Name and content of every file, but for locks and what tells the time."""
    left_out = ("lock", "finished.json")
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(left_out))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a random language-model head."""
    import torch
    from transformers import BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    save_tokenizer(folder)
    torch.manual_seed(0)
    BertForMaskedLM(tiny_config()).save_pretrained(folder)
    return folder


def test_augment(model: Path, masked_lm: Path, tmp_path: Path) -> None:
    for split, rows in (("train", 1300), ("validation", 20)):
        write_csv(tmp_path / "data" / f"{split}.csv", sentences(rows, 7))

    def command(folder: Path) -> list[object]:
        task = ["--task", "files", "--data-dir", tmp_path / "data", "--columns", "text"]
        return ["augment", "--model", model, "--masked-lm", masked_lm, *task, "--samples", 2, "--out", folder / "out"]

    places = [
        ("os:fsync", 1, "out/request.json"),  # it has a temporary name so far
        ("bertpress.augmentation.augmenting:write_shard", 2, "out/train.parquet"),
        ("pyarrow.parquet:write_table", 1, "out/candidates/000002.parquet"),
        ("bertpress.augmentation.augmenting:_count", 1100, "out/train.parquet"),  # some of the rows are written
        ("datasets:Dataset.to_parquet", 1, "out/validation.parquet"),
        ("bertpress.augmentation.augmenting:digest", 1, "out/manifest.json"),
    ]
    undisturbed(command(tmp_path / "whole"), tmp_path / "whole")
    killed_again_and_again(command(tmp_path / "killed"), tmp_path / "killed", places)
    assert files_of(tmp_path / "killed" / "out") == files_of(tmp_path / "whole" / "out")


def test_pretrain(tmp_path: Path) -> None:
    draw = random.Random(0)
    words = ("the", "film", "was", "good", "bad", "very", "one", "story", "with", "an", "end", "and", "road", "house")
    lines = (" ".join(draw.choices(words, k=draw.randint(4, 20))) for _ in range(3500))
    (tmp_path / "text.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def command(folder: Path) -> list[object]:
        begin = ["--shape", "2x16x2", "--vocabulary", "wordpiece", "--vocabulary-size", 120]
        training = ["--max-length", 32, "--batch-size", 4, "--set", "training.max_steps=20"]
        return ["pretrain", "--corpus", tmp_path / "text.txt", *begin, *training, "--out", folder / "out"]

    places = [
        ("bertpress.corpus.vocabulary:_count_characters", 1, "out"),
        ("transformers:BertForMaskedLM.save_pretrained", 1, "out/untrained"),
        ("bertpress.corpus.writing:Writer._append", 2, "cache/corpus/*/store.json"),
        ("bertpress.corpus.rows:_write", 1, "cache/corpus/*/rows/*/rows.json"),
        ("bertpress.engine.trainer:Clock.on_step_end", 5, "out/*/training/finished.json"),
        ("bertpress.engine.trainer:sync_folder", 1, "out/*/training/checkpoint-6/complete"),
        ("transformers:BertForMaskedLM.save_pretrained", 1, "out/*/model"),
    ]
    undisturbed(command(tmp_path / "whole"), tmp_path / "whole")
    killed_again_and_again(command(tmp_path / "killed"), tmp_path / "killed", places)
    for part in ("cache", "out/untrained", "out/00-finetune/predictions"):
        assert files_of(tmp_path / "killed" / part) == files_of(tmp_path / "whole" / part), part
    model = "out/00-finetune/model/model.safetensors"
    assert (tmp_path / "killed" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def test_tinybert(model: Path, data: Path, tmp_path: Path) -> None:
    def command(folder: Path) -> list[object]:
        task = ["--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32, "--no-baseline"]
        fields = ["layers=2", "signals=all", "augmentation.samples=2", "augmentation.replace_probability=1"]
        fields += [f"{phase}.max_steps=10" for phase in ("intermediate", "prediction")]
        fields += [f"{phase}.batch_size=8" for phase in ("intermediate", "prediction")]
        sets = [part for field in fields for part in ("--set", field)]
        return ["tinybert", "--model", model, *task, *sets, "--out", folder / "out"]

    places = [
        ("bertpress.augmentation.augmenting:_count", 50, "out/*/augmentation/manifest.json"),
        ("bertpress.methods.tinybert.signals:observe", 2, "out/*/signals/[!.]*/train.json"),
        ("bertpress.methods.tinybert.signals:_write", 1, "out/*/signals/[!.]*/train.json"),
        ("bertpress.engine.trainer:Clock.on_step_end", 4, "out/*/intermediate/finished.json"),
        ("bertpress.engine.trainer:sync_folder", 1, "out/*/intermediate/checkpoint-4/complete"),
        ("bertpress.methods.tinybert.steps:save_projections", 1, "out/*/prediction"),
        ("bertpress.engine.trainer:Clock.on_step_end", 4, "out/*/prediction/finished.json"),
        ("bertpress.runs.finishing:measured", 1, "out/00-tinybert/result.json"),
    ]
    undisturbed(command(tmp_path / "whole"), tmp_path / "whole")
    killed_again_and_again(command(tmp_path / "killed"), tmp_path / "killed", places)
    for part in ("augmentation", "predictions"):
        own, whole = (files_of(tmp_path / name / "out" / "00-tinybert" / part) for name in ("killed", "whole"))
        assert own == whole, part
    weights = "out/00-tinybert/model/model.safetensors"
    assert (tmp_path / "killed" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not list((tmp_path / "killed").rglob("signals"))
