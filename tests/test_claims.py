"""The measured claims: each is a known one and says what its interval says; the documents' tables are the files'."""

import importlib
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


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


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


def test_the_sums_of_the_quality_grid(benchmark: Callable[[str], Any]) -> None:
    quality = benchmark("quality")
    starts = [{"task": "mrpc", "score": 0.9, "metric": "accuracy_f1", "layers": 6, "learning_rate": 1e-4}]
    scores = {"truncated": (0.5, 0.6, 0.7), "constant": (0.7, 0.7, 0.7), "linear": (0.75, 0.8, 0.7)}
    scores["linear, last layer of each module"] = scores["linear"]
    cells = [
        {"task": "mrpc", "row": row, "seed": seed, "score": score, "layers": 3, "learning_rate": 3e-4}
        for row, values in scores.items()
        for seed, score in enumerate(values, start=1)
    ]
    found = quality.claims(starts, cells)
    assert found["quality-recovered"] == pytest.approx((0.5, 0.0, 2 / 3))
    assert found["quality-beats-constant"] == pytest.approx((0.05, 0.0, 0.1))
    assert found["quality-kept"] == pytest.approx((0.75 / 0.9, 0.7 / 0.9, 0.8 / 0.9))
    lines = {line["row"]: line for line in quality.summary("mrpc", starts[0], cells)}
    assert (lines["linear"]["median"], lines["linear"]["low"], lines["linear"]["high"]) == ("75.0", "70.0", "80.0")
    assert (lines["linear"]["kept %"], lines["linear"]["recovered %"]) == ("83.3", "50")
