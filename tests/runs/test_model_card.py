"""The card of a model folder, and putting the folder on the Hub."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from conftest import make_model
from huggingface_hub import ModelCard
from huggingface_hub.errors import OfflineModeIsEnabled

from bertpress import cli, push
from bertpress.errors import RequestError
from bertpress.hub_card import PIPELINES, base_of
from bertpress.methods.method import Method
from bertpress.methods.theseus import Theseus
from bertpress.methods.vocabulary import Vocabulary
from bertpress.recipe import Recipe
from bertpress.runs import model_card
from bertpress.tasks.judging import KINDS


@pytest.fixture(scope="module")
def run(carry_out: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    steps = [{"finetune": {"training": {"max_steps": 1}}}, {"theseus": {"replacing": {"max_steps": 1}}}]
    return carry_out({}, tmp_path_factory.mktemp("cards") / "run", steps=steps, limit={"train": 8}, loads=True)


def test_every_kind_of_task_has_a_name_on_the_hub() -> None:
    assert {*KINDS, "encoder"} == {*PIPELINES}


def test_the_hub_reads_scores_and_purpose(run: Path) -> None:
    data = ModelCard.load(run / "01-theseus" / "model" / "README.md").data
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert data.base_model is None, "a folder of one's own is no name on the Hub"
    assert "theseus" in data.tags
    score = data.eval_results[0]
    assert score.dataset_split == "validation"
    assert 0 <= score.metric_value <= 1


def test_the_base_of_a_local_model_is_what_its_card_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for head, base in (
        ("base_model: someone/encoder\n", "someone/encoder"),
        ("base_model: [one, two]\n", None),
        ("base_model: [\n", None),
        ("- a list\n", None),
        ("license: mit\n", None),
    ):
        (tmp_path / "README.md").write_text(f"---\n{head}---\n\n# A model\n")
        assert base_of(str(tmp_path)) == base
        assert base_of("") is None, "a model that was never in a folder has nothing to do with the working folder"
    (tmp_path / "README.md").write_bytes(b"---\n\xff\n---\n")
    assert base_of(str(tmp_path)) is None
    assert base_of(str(tmp_path / "nowhere")) is None


SCORED = {"kind": "classification", "metrics": {"validation": {"accuracy": 0.5}}, "cost": {}}


def test_a_result_names_what_its_start_was_made_of(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("---\nbase_model: someone/encoder\n---\n")
    method = Theseus()
    recipe = Recipe(model=str(tmp_path), task={"name": "glue/mrpc"}, steps=(method,))
    assert "base_model: someone/encoder" in model_card.metadata(recipe, "glue/mrpc", method, SCORED, make_model())


@pytest.mark.parametrize(("method", "chose"), [(Theseus(), True), (Vocabulary(), False)])
def test_only_what_trains_has_chosen_a_checkpoint(method: Method, chose: bool) -> None:
    recipe = Recipe(model="someone/encoder", task={"name": "glue/mrpc"}, steps=(method,))
    lines = model_card._limits(recipe, method, SCORED, make_model())
    assert any("also chose the checkpoint" in line for line in lines) == chose


def test_a_reader_finds_costs_loading_limits_and_recipe(run: Path) -> None:
    card = (run / "01-theseus" / "model" / "README.md").read_text()
    for heading in ("Scores", "Costs", "Loading", "Limits", "How it was made"):
        assert f"\n## {heading}\n" in card
    assert "| Layers | 2 |" in card
    assert any(f"{verdict} (" in card for verdict in ("faster", "slower", "no measured speed-up"))
    assert "AutoModelForSequenceClassification.from_pretrained" in card
    assert "at most 8 rows of train" in card
    assert "theseus:" in card


class Hub:
    """Takes what is pushed."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def create_repo(self, name: str, **options: Any) -> None:
        if name == "no/network":
            raise OfflineModeIsEnabled("offline")
        self.seen.append((name, options))

    def upload_folder(self, repo_id: str, folder_path: Path, ignore_patterns: list[str], **_: Any) -> Any:
        assert {"predictions/*", "result.json"} <= {*ignore_patterns}
        self.seen.append((repo_id, {path.name for path in folder_path.iterdir()}))
        return SimpleNamespace(commit_url="https://hub/commit")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    return hub


def test_a_run_is_pushed_as_its_last_model(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bertpress", "push", str(run), "--to", "me/small", "--private"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert capsys.readouterr().out == "https://hub/commit\n"
    made, (name, files) = hub.seen
    assert made == ("me/small", {"private": True, "exist_ok": True})
    assert name == "me/small"
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files


def test_what_is_no_model_is_not_pushed(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "pickle").mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / "pickle" / name).write_text("{}")
    places = {str(tmp_path): "neither a model folder", "someone/else": "no folder with a model"}
    for place, words in {**places, str(tmp_path / "pickle"): "no folder with a model"}.items():
        with pytest.raises(RequestError, match=words):
            push(place, "me/small")
    assert hub.seen == []


@pytest.mark.parametrize(
    ("name", "words"),
    [("small", "OWNER/NAME"), ("", "OWNER/NAME"), ("a b/c", "OWNER/NAME"), ("no/network", "cannot be reached")],
)
def test_where_nothing_can_be_pushed_to_is_said(run: Path, hub: Hub, name: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        push(str(run), name)
    assert hub.seen == []
