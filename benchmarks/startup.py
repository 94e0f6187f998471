"""Seconds that `import bertpress` and `bertpress --help` add to the start of Python; sides take turns."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
from results import arguments, write_result

from bertpress.statistics import median_interval

SIDES = {
    "python": ["-c", "pass"],
    "import bertpress": ["-c", "import bertpress"],
    "python with typer, pydantic, rich": ["-c", "import typer, pydantic, rich"],
    "bertpress --help": ["-m", "bertpress", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Of one process, from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    options = arguments(__doc__, rounds=20, steps=1)
    for command in SIDES.values():
        seconds(command)
    times = np.array([[seconds(command) for command in SIDES.values()] for _ in range(options.rounds)]).T
    rows = [
        dict(zip(("side", "seconds", "low", "high"), (side, *median_interval(values)), strict=True))
        for side, values in zip(SIDES, times, strict=True)
    ]
    claims = {
        "startup-import": median_interval(times[1] - times[0]),
        "startup-help": median_interval(times[3] - times[2]),
    }
    write_result("startup", "python benchmarks/startup.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
