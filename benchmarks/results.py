"""What all benchmarks share: the file of results, the claims, and the arguments `--rounds`, `--steps` and `--out`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("bertpress", "torch", "transformers", "accelerate", "numpy", "onnxruntime")
Interval = tuple[float, float, float]
"""Median, low, high."""


def arguments(description: str | None, rounds: int, steps: int) -> argparse.Namespace:
    """`--rounds`, `--steps` (training steps, or passes, of one side in a round) and `--out`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds; each times every side")
    parser.add_argument("--steps", type=int, default=steps, help="steps of one side in a round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    return parser.parse_args()


def data_root(needs: str) -> Path:
    """The folder in BERTPRESS_DATA; the script ends with a message if none is set.

    Args:
        needs: what it has to hold.
    """
    root = os.environ.get("BERTPRESS_DATA")
    if not root:
        print(f"Skipped: set BERTPRESS_DATA to a folder with {needs}.")
        sys.exit(0)
    return Path(root)


def load_claims() -> list[dict[str, Any]]:
    """All claims, in the order of claims.yaml."""
    return list(yaml.safe_load((HERE / "claims.yaml").read_text(encoding="utf-8")))


def holds(bound: Mapping[str, float], low: float, high: float) -> bool:
    """Whether the unfavourable end of the interval keeps the bound."""
    return all(low >= number if side == "at_least" else high <= number for side, number in bound.items())


def write_result(
    name: str, command: str, rows: Sequence[Mapping[str, Any]], claims: Mapping[str, Interval], folder: Path = RESULTS
) -> None:
    """Write ``<folder>/<name>.json`` and print it.

    Args:
        claims: claim id to median, low, high.
    """
    bounds = {claim["id"]: claim["bound"] for claim in load_claims()}
    measured = [
        {"id": key, "value": value, "low": low, "high": high, "target": bounds[key]}
        | {"holds": holds(bounds[key], low, high)}
        for key, (value, low, high) in claims.items()
    ]
    content = {
        "command": command,
        "hardware": hardware(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "rows": list(rows),
        "claims": measured,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print("  ".join(f"{key}={number(value)}" for key, value in row.items()))
    for claim in measured:
        print(describe(claim))


def describe(claim: Mapping[str, Any]) -> str:
    """One measured claim in a line."""
    verdict = "holds" if claim["holds"] else "MISSED"
    return f"{claim['id']}: {claim['value']:.3g} ({claim['low']:.3g} to {claim['high']:.3g}): {verdict}"


def bound(target: Mapping[str, float]) -> str:
    """A claim's bound in words."""
    return " and ".join(f"{side.replace('_', ' ')} {value:g}" for side, value in target.items())


def number(value: Any) -> str:
    """A value for printing."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hardware() -> str:
    """Processor, what kernels torch has for it, number of usable cores, and memory."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernels = torch.backends.cpu.get_cpu_capability()
    return f"{_processor()} ({kernels}), {cores} cores, {memory:.0f} GiB"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
