"""Each training command that the page for users of the originals gives is a request that the command line accepts."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from bertpress import cli
from bertpress.recipe import make_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "originals.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
LINES = [shlex.split(line)[1:] for block in BLOCKS for line in block.splitlines() if line.startswith("bertpress ")]
TRAINING = [line for line in LINES if line[0] in ("finetune", "theseus", "compress")]
OTHER = [line for line in LINES if line not in TRAINING]


@pytest.mark.parametrize("line", TRAINING, ids=" ".join)
def test_training_lines_give_a_recipe(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bertpress", *line, "--print"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    make_recipe(yaml.safe_load(capsys.readouterr().out))


@pytest.mark.parametrize("line", OTHER, ids=" ".join)
def test_flags_of_the_other_lines_exist(line: list[str]) -> None:
    command = typer.main.get_command(cli.app).commands[line[0]]
    known = {name for parameter in command.params for name in parameter.opts}
    assert [word for word in line if word.startswith("--") and word not in known] == []


def test_the_fields_that_the_tables_name_exist() -> None:
    rate_of = {"constant": {"rate": 0.5, "switch_after": 5}, "linear": {"base": 0.3, "slope": 0.1}}
    for name, values in rate_of.items():
        for field in re.findall(rf"--set rate\.{name}\.(\w+)=", PAGE):
            step = {"theseus": {"rate": {name: {field: values[field]}}}}
            make_recipe({"model": "some/model", "task": "glue/mrpc", "steps": [step]})


def test_each_command_of_the_original_has_a_line_of_ours() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert len(sections) == 5
    assert [section.splitlines()[0] for section in sections if "```bash\nbertpress " not in section] == []
