"""Augmentation by two processes against one: the real command under torchrun."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import make_config, make_tokenizer, randomise
from test_two_processes import ONE, TWO

pytestmark = pytest.mark.slow


def test_two_processes_write_what_one_writes(tiny_model_folder: Path, tiny_data_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    masked = AutoModelForMaskedLM.from_config(make_config())
    randomise(masked)
    masked.save_pretrained(tmp_path / "masked")
    make_tokenizer().save_pretrained(tmp_path / "masked")
    with (tiny_data_folder / "train.csv").open(encoding="utf-8") as file:
        header, *rows = file.read().splitlines()
    (tmp_path / "data").mkdir()
    many = [row.replace(",", f" {'house ' * (number % 9)},", 1) for number in range(9) for row in rows]
    (tmp_path / "data" / "train.csv").write_text("\n".join([header, *many]) + "\n", encoding="utf-8")
    flags = ["--model", tiny_model_folder, "--masked-lm", tmp_path / "masked", "--samples", 3, "--device", "cpu"]
    flags += ["--task", "files", "--data-dir", tmp_path / "data", "--columns", "text", "--quiet"]
    for name, start in (("one", ONE), ("two", TWO)):
        line = [*start, "augment", *map(str, flags), "--out", str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(line, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("of them original") == 1, "one process speaks"
    for file in ("train.parquet", "manifest.json", "request.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
