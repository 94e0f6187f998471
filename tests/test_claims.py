"""The measured claims: each is a known one, and says what its interval says."""

import json
import subprocess
import sys
from pathlib import Path

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
