"""Whole runs as a user types them, and the table of the report that the last command leaves: `runs.py [demo|mrpc]`.

mrpc are the README's own lines; it needs BERTPRESS_DATA, or the Hub.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import write_result

from bertpress import reporting, sections

RUNS = {
    "demo": ["bertpress demo --out runs/demo"],
    "mrpc": [
        "bertpress finetune --model packaged-minilm --task glue/mrpc --out runs/teacher --learning-rate 1e-4",
        "bertpress theseus --model runs/teacher --task glue/mrpc --out runs/small --learning-rate 3e-4 --epochs 5",
    ],
}


def carry_out(commands: list[str], folder: Path) -> float:
    """Type the commands in `folder`; the seconds that they took."""
    began = time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=folder, check=True)
    return time.perf_counter() - began


def main() -> None:
    for name in sys.argv[1:] or RUNS:
        commands = RUNS[name]
        with tempfile.TemporaryDirectory() as folder:
            seconds = carry_out(commands, Path(folder))
            words = shlex.split(commands[-1])
            report = reporting.build(Path(folder) / words[words.index("--out") + 1])
        summary = sections.overview(report)
        rows = [dict(zip(summary.head, cells, strict=True)) for cells in summary.rows]
        total = {"all commands, scoring and timing included (s)": f"{seconds:.0f}", "score": summary.caption}
        write_result(name, "; ".join(commands), [*rows, total], {})


if __name__ == "__main__":
    main()
