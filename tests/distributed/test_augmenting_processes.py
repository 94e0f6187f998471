"""Augmentation by two processes against one."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_config, make_tokenizer, randomise
from together import ONE, TWO, together

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
    for name, processes in (("one", ONE), ("two", TWO)):
        ended = together(processes, ["augment", *flags, "--out", tmp_path / name])
        assert all(each.code == 0 for each in ended), [each.err[-3000:] for each in ended]
        assert sum(each.out.count("of them original") for each in ended) == 1, "one process speaks"
    for file in ("train.parquet", "manifest.json", "request.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
