"""Print every claim against its bound, the missed and the unmeasured ones included."""

from __future__ import annotations

import json
from typing import Any

from results import RESULTS, bound, describe, load_claims


def measured() -> dict[str, dict[str, Any]]:
    """Claim id to its entry in the files of results."""
    entries = [entry for file in sorted(RESULTS.glob("*.json")) for entry in json.loads(file.read_text())["claims"]]
    return {entry["id"]: entry for entry in entries}


def main() -> None:
    entries = measured()
    for claim in load_claims():
        key = claim["id"]
        found = describe(entries[key]) if key in entries else f"{key}: not measured (benchmarks/{claim['script']})"
        print(f"{found}\n    wanted: {bound(claim['bound'])}. {claim['text']}.")
    kept = sum(entries[claim["id"]]["holds"] for claim in load_claims() if claim["id"] in entries)
    print(f"{kept} of {len(load_claims())} claims hold.")


if __name__ == "__main__":
    main()
