"""Peak memory of this process since a moment of its own choosing, and of another while it runs (Linux)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def reset_peak() -> float:
    """Set the process's peak memory to its present level, and return that in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """The process's peak memory in MiB since `reset_peak`."""
    return _status("VmHWM")


def anonymous_peak(command: Sequence[str], every: float = 0.02) -> float:
    """Run a command; the most anonymous memory of its process in MiB, which pages of files are no part of.

    Args:
        every: seconds between two looks.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    most = 0.0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            most = max(most, _status("RssAnon", str(process.pid)))
            time.sleep(every)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return most


def _status(field: str, process: str = "self") -> float:
    """0 of a process that has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)
