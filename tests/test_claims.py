"""The measured claims: each is a known one and says what its interval says; the documents' tables are the files'."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CLAIMS = {claim["id"]: claim for claim in yaml.safe_load((BENCHMARKS / "claims.yaml").read_text(encoding="utf-8"))}
FILES = sorted((BENCHMARKS / "results").glob("*.json"))


def test_claims_are_complete() -> None:
    for claim in CLAIMS.values():
        assert claim["text"]
        assert set(claim["bound"]) <= {"at_least", "at_most"}
        assert claim["bound"]
        assert (BENCHMARKS / claim["script"]).is_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_results_say_what_was_measured(file: Path) -> None:
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result) == {"command", "hardware", "versions", "date", "rows", "claims"}
    for entry in result["claims"]:
        assert entry["target"] == CLAIMS[entry["id"]]["bound"]
        assert entry["low"] <= entry["value"] <= entry["high"]
        target = entry["target"]
        kept = entry["low"] >= target.get("at_least", -1e9) and entry["high"] <= target.get("at_most", 1e9)
        assert entry["holds"] == kept


def test_every_claim_is_printed() -> None:
    command = [sys.executable, str(BENCHMARKS / "claims.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert all(name in printed for name in CLAIMS)


def test_tables_of_the_documents_are_those_of_the_files(benchmark: Callable[[str], Any]) -> None:
    tables = benchmark("tables")
    for page in tables.PAGES:
        text = (BENCHMARKS.parent / page).read_text(encoding="utf-8")
        assert tables.PLACE.search(text)
        assert tables.filled(text) == text, f"make tables, {page} has others"


def test_every_file_of_results_has_its_table() -> None:
    pages = "".join((BENCHMARKS.parent / page).read_text(encoding="utf-8") for page in ("README.md", "docs/results.md"))
    assert [file.stem for file in FILES if f"<!-- table {file.stem} -->" not in pages] == []


def test_the_run_on_mrpc_is_the_readme_s(benchmark: Callable[[str], Any]) -> None:
    readme = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in benchmark("runs").RUNS["mrpc"] if line not in readme] == []


def test_the_readme_s_numbers_are_those_measured() -> None:
    readme = " ".join((BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").split())
    result = json.loads((BENCHMARKS / "results" / "composed.json").read_text(encoding="utf-8"))
    latency, throughput, kept = (
        next(claim["value"] for claim in result["claims"] if claim["id"] == f"composed-{name}")
        for name in ("latency", "throughput", "kept")
    )
    faster = f"answers single texts {latency:.1f} times and batches {throughput:.1f} times as fast on two CPU cores"
    assert f"{faster}, and keeps {100 * kept:.0f} % of its accuracy" in readme
