from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
import torch
from conftest import kill_family

from bertpress.engine.run import default_device
from bertpress.processes import idle_devices, is_first_process, world_size


def several(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)


def test_a_plain_command_names_the_one_that_uses_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    several(monkeypatch, 4)
    (line,) = idle_devices(None)
    assert line == "4 GPUs are here and one is used; all of them: torchrun --nproc-per-node 4 -m bertpress ..."
    assert idle_devices("cpu") == []
    several(monkeypatch, 1)
    assert idle_devices(None) == []


def test_each_process_has_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    several(monkeypatch, 2)
    assert default_device() == "cuda:0"
    assert (world_size(), is_first_process()) == (1, True)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert default_device() == "cuda:1"
    assert (world_size(), is_first_process()) == (2, False)
    assert idle_devices(None) == []


STARTER = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(sleep, start_new_session=True).pid, flush=True)
time.sleep(60)
"""


def test_the_tests_kill_children_with_sessions_of_their_own() -> None:
    """As torchrun's workers have them."""
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        child = psutil.Process(int(started.stdout.readline()))
        kill_family(started)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
