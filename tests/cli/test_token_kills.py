"""Token-level tasks that are killed or run twice at once: windows are whole or made anew, weights the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forked
from token_tasks import FOLDERS, HEADS

from .test_kills import files_of, killed_again_and_again, run, undisturbed

pytestmark = pytest.mark.slow
WEIGHTS = "out/*/model/model.safetensors"


@pytest.fixture
def asked(folder_of: Callable[..., Path], token_folder: Path) -> Callable[..., list[object]]:
    """The beginning of a command on a kind of task; its run is in `folder`."""

    def command(name: str, kind: str, folder: Path, *fields: str) -> list[object]:
        data = token_folder / FOLDERS[kind]
        more = [f"task.mrc.queries={token_folder / 'queries.json'}"] if kind == "mrc" else []
        sets = [part for field in (*more, *fields) for part in ("--set", field)]
        task = ["--task", "files", "--data-dir", data, "--kind", kind, "--max-length", 32]
        out = [] if name == "evaluate" else ["--no-baseline", "--out", folder / "out"]
        model = folder_of("bert", HEADS[kind], kind)
        return [name, *([model] if name == "evaluate" else ["--model", model]), *task, *sets, *out]

    return command


def same_result(folder: Path) -> None:
    """The killed run ended as the other: windows, records, predictions, and weights."""
    for part in ("cache/windows", "cache/records", "out/*/predictions", WEIGHTS):
        found = [sorted((folder / name).glob(part)) for name in ("killed", "whole")]
        assert len(found[0]) == len(found[1]), part
        for own, other in zip(*found, strict=True):
            if own.is_dir():
                assert files_of(own) == files_of(other), part
            else:
                assert own.read_bytes() == other.read_bytes(), part
    assert list((folder / "killed").glob(WEIGHTS))
    assert not list((folder / "killed" / "cache").rglob("*.tmp"))


MAKING = {
    "mrc": ("bertpress.tasks.queries.rows:cuts", 90),
    "qa": ("bertpress.tasks.reading.features:cuts", 40),
    "choice": ("bertpress.tasks.choices.features:pieces_of", 40),
}
"""What is called for each record while its windows are made, and after how many calls it is killed."""


@pytest.mark.parametrize("kind", ["qa", "choice"])
def test_finetune(kind: str, asked: Callable[..., list[object]], tmp_path: Path) -> None:
    fields = ("training.max_steps=20", "training.batch_size=8")
    reading = {
        "qa": [("bertpress.tasks.reading.records:place_of", 30, "cache/records/*.arrow")],
        "choice": [("bertpress.tasks.choices.records:_record", 10, "cache/records/*.arrow")],
    }
    records = reading.get(kind, [])
    places = [
        *records,
        (*MAKING[kind], "cache/windows/*.arrow"),
        ("bertpress.tasks.stored:islice", 2, "cache/windows/*.arrow"),
        ("bertpress.engine.trainer:Clock.on_step_end", 5, "out/*/training/finished.json"),
        ("bertpress.engine.trainer:sync_folder", 1, "out/*/training/checkpoint-6/complete"),
        ("bertpress.runs.finishing:measured", 1, "out/00-finetune/result.json"),
    ]
    undisturbed(asked("finetune", kind, tmp_path / "whole", *fields), tmp_path / "whole")
    killed_again_and_again(asked("finetune", kind, tmp_path / "killed", *fields), tmp_path / "killed", places)
    same_result(tmp_path)


def test_trbert_on_options(asked: Callable[..., list[object]], tmp_path: Path) -> None:
    fields = [f"{phase}.{field}" for phase in ("policy", "joint") for field in ("max_steps=10", "batch_size=8")]
    places = [
        ("bertpress.engine.trainer:Clock.on_step_end", 4, "out/*/policy/finished.json"),
        ("bertpress.engine.trainer:sync_folder", 1, "out/*/policy/checkpoint-4/complete"),
        ("bertpress.engine.trainer:Clock.on_step_end", 4, "out/*/joint/finished.json"),
        ("bertpress.runs.finishing:measured", 1, "out/00-trbert/result.json"),
    ]
    fields += ["rollouts=2"]
    undisturbed(asked("trbert", "choice", tmp_path / "whole", *fields), tmp_path / "whole")
    killed_again_and_again(asked("trbert", "choice", tmp_path / "killed", *fields), tmp_path / "killed", places)
    same_result(tmp_path)


def test_two_processes_that_need_the_same_windows(asked: Callable[..., list[object]], tmp_path: Path) -> None:
    """The first is in the middle of them when the second begins; each ends with what one alone finds."""
    command = asked("evaluate", "mrc", tmp_path)
    flags, environment = ["--device", "cpu", "--quiet", "--json"], {"BERTPRESS_CACHE": str(tmp_path / "cache")}
    both = [Forked([*command, *flags], environment, slowed=MAKING["mrc"][0]) for _ in range(2)]
    answers = [process.wait() for process in both]
    alone = run([*command, "--json"], tmp_path / "other" / "cache")
    assert [done.code for done in answers] == [alone.code, 0] == [0, 0]
    assert [done.out for done in answers] == [alone.out, alone.out]
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "other" / "cache")
