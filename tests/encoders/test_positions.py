"""Longer tables of positions: what their rows are, what a model makes of short and long inputs, how a run uses them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_config, make_model, make_tokenizer
from families import FAMILIES

from bertpress.costs import cost
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact
from bertpress.encoders.positions import WHY_NOT, extend_positions, longer_table, with_positions
from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune

EXTENDABLE = [family for family in FAMILIES if family not in WHY_NOT]
HEADS = (None, "sequence-classification", "question-answering", "masked-lm")


def test_tiles_by_hand() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 8.0], [2.0, 7.0]])
    assert longer_table(rows, 8, "tile")[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert torch.equal(longer_table(rows, 3, "tile"), rows)


def test_interpolation_by_hand_and_by_a_loop() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 8.0], [4.0, 7.0]])
    assert longer_table(rows, 5, "interpolate")[:, 0].tolist() == [0, 0.5, 1, 2.5, 4]
    drawn = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    longer = longer_table(drawn, 19, "interpolate")
    for row in range(19):
        place = row * 6 / 18
        below, share = int(place), place - int(place)
        expected = drawn[below] if share == 0 else (1 - share) * drawn[below] + share * drawn[below + 1]
        torch.testing.assert_close(longer[row], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(longer[0], drawn[0])
    torch.testing.assert_close(longer[-1], drawn[-1])


def table_of(model: Any) -> torch.Tensor:
    return model.base_model.embeddings.position_embeddings.weight.detach()


def inputs(family: str, length: int, rows: int = 2) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 100, (rows, length), generator=torch.Generator().manual_seed(length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", EXTENDABLE)
def test_what_fitted_before_is_read_as_before_and_what_did_not_is_read(family: str, head: str | None) -> None:
    model = make_model(family=family, head=head)
    before = table_of(model).clone()
    longer = extend_positions(model, 130)
    first = encoder_of(model.config).first_position(model.config)
    assert first == (2 if "roberta" in family else 0)
    table = table_of(longer)
    assert torch.equal(table[: len(before)], before)
    for position in range(64, 130):
        assert torch.equal(table[first + position], before[first + position % 64])
    assert longer.config.max_position_embeddings == first + 130
    assert encoder_of(longer.config).positions(longer.config) == 130
    assert all(module.config is longer.config for module in longer.modules() if hasattr(module, "config"))
    with torch.no_grad():
        assert torch.equal(longer(**inputs(family, 64))[0], model(**inputs(family, 64))[0])
        assert longer(**inputs(family, 130))[0].isfinite().all()
    assert torch.equal(table_of(model), before)
    assert not longer.training
    assert type(longer) is type(model)


@pytest.mark.parametrize("family", EXTENDABLE)
def test_stretched_positions_begin_and_end_with_the_trained_ones(family: str) -> None:
    model = make_model(family=family)
    first = encoder_of(model.config).first_position(model.config)
    before, table = table_of(model), table_of(extend_positions(model, 127, "interpolate"))
    torch.testing.assert_close(table[first::2], before[first:])
    torch.testing.assert_close(table[first + 1 : -1 : 2], (before[first:-1] + before[first + 1 :]) / 2)
    assert torch.equal(table[:first], before[:first])


@pytest.mark.parametrize("family", EXTENDABLE)
def test_a_long_row_equals_a_short_one_at_the_same_rows_of_the_table(family: str) -> None:
    """By tiles, position 64 is position 0: the embeddings of a text from there on are those of the text alone."""
    longer = extend_positions(make_model(family=family, head=None), 128)
    ids = inputs(family, 128, 1)["input_ids"]
    embed = longer.embeddings
    with torch.no_grad():
        torch.testing.assert_close(embed(input_ids=ids)[:, 64:], embed(input_ids=ids[:, 64:]))


@pytest.mark.parametrize("family", EXTENDABLE)
def test_a_model_that_skips_tokens(family: str) -> None:
    model = compact(make_model(family=family), token_reduction={"layers": [1, 2]}).eval()
    longer = extend_positions(model, 100)
    with torch.no_grad():
        assert torch.equal(longer(**inputs(family, 60)).logits, model(**inputs(family, 60)).logits)
        assert longer(**inputs(family, 100)).logits.isfinite().all()


@pytest.mark.parametrize("family", EXTENDABLE)
def test_the_cost_counts_the_longer_table(family: str) -> None:
    config = make_config(family)
    longer = with_positions(config, 164)
    width = make_model(family=family).base_model.embeddings.position_embeddings.weight.shape[1]
    more = cost.parameters(longer, head=None).total - cost.parameters(config, head=None).total
    assert more == 100 * width
    assert config.max_position_embeddings == longer.max_position_embeddings - 100
    model = extend_positions(make_model(family=family, head=None), 164)
    assert cost.parameters(longer, head=None).total == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("family", sorted(WHY_NOT))
def test_architectures_without_a_table(family: str) -> None:
    with pytest.raises(RequestError, match=f"no table of positions to extend in a {family}"):
        with_positions(make_config(family), 128)


def test_what_cannot_be_extended() -> None:
    with pytest.raises(RequestError, match="at least the 64 that the model has, got 63"):
        with_positions(make_config("roberta"), 63)
    with pytest.raises(RequestError, match="computed"):
        with_positions(make_config("distilbert", sinusoidal_pos_embds=True), 128)
    with pytest.raises(RequestError, match="say how many with positions"):
        Finetune(extend="interpolate").plan(make_config())


def test_a_remark_says_that_new_positions_know_nothing() -> None:
    assert "from 64 on" in Finetune(positions=128).warnings(make_config("roberta"), {})[0]
    assert not Finetune(positions=64).warnings(make_config("roberta"), {})
    assert not Finetune().warnings(make_config(), {})


LONG = " ".join(["bright", "dull", "house"] * 40)


@pytest.fixture
def long_texts(tmp_path: Path) -> Path:
    """Texts of about 120 tokens."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, count in (("train", 32), ("validation", 8)):
        rows = ({"text": f"{'quick' if row % 2 else 'slow'} {LONG}", "label": str(row % 2)} for row in range(count))
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", EXTENDABLE)
def test_a_run_extends_trains_and_reduces_at_the_new_length(
    family: str, carry_out: Callable[..., Path], folder_of: Callable[..., Path], long_texts: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    training = {"max_steps": 2, "batch_size": 8}
    first = {"finetune": {"positions": 128, "extend": "interpolate", "training": training}}
    second = {"trbert": {"macs": 0.7, "policy": training, "joint": None, "guide_rate": 0}}
    task = {"files": str(long_texts), "columns": ["text"]}
    start = tmp_path / "start"
    shutil.copytree(folder_of(family), start)
    settings = start / "tokenizer_config.json"  # that allows more than either model
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 512}))
    fields = {"model": str(start), "task": task, "max_length": 128, "steps": [first, second]}
    run = carry_out(first, tmp_path / "run", **fields)
    folder = run / "00-finetune" / "model"
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert encoder_of(model.config).positions(model.config) == 128
    assert tokenizer.model_max_length == 128
    row = tokenizer(LONG, return_tensors="pt")
    assert row["input_ids"].shape[1] > 100
    assert model(**row).logits.isfinite().all()
    notes = json.loads((run / "00-finetune" / "result.json").read_text())["notes"]
    assert notes[0].startswith("positions from 64 on are new")
    reduced = json.loads((run / "01-trbert" / "model" / "config.json").read_text())
    assert reduced["max_position_embeddings"] == model.config.max_position_embeddings


@pytest.mark.slow
def test_a_longer_row_without_positions_is_refused_before_anything_is_read(
    carry_out: Callable[..., Path], long_texts: Path, tmp_path: Path
) -> None:
    task = {"files": str(long_texts), "columns": ["text"]}
    extending = {"finetune": {"positions": 128}}
    for steps, max_length, match in (
        ([{"finetune": {}}], 128, "--max-length 128 is more than the 64 positions"),
        ([extending], 129, "--max-length 129 is more than the 128 positions"),
        ([{"finetune": {}}, extending], 64, "01-finetune: positions extends the model that a recipe begins with"),
        ([{"theseus": {}}, extending], 64, "say it in the first step"),
    ):
        with pytest.raises(RequestError, match=match):
            carry_out({}, tmp_path / "run", task=task, steps=steps, max_length=max_length)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_plan_has_the_longer_model(folder_of: Callable[..., Path], long_texts: Path) -> None:
    from bertpress import dry_run
    from bertpress.recipe import make_recipe

    values: dict[str, Any] = {"model": str(folder_of("bert")), "task": {"files": str(long_texts), "columns": ["text"]}}
    step = {"training": {"max_steps": 1, "batch_size": 8}}
    short = dry_run(make_recipe({**values, "steps": [{"finetune": step}], "max_length": 64}))
    long = dry_run(make_recipe({**values, "steps": [{"finetune": {**step, "positions": 128}}], "max_length": 128}))
    assert long[0]["parameters"] - short[0]["parameters"] == 64 * 16
    assert long[0]["tokens"] > 100 > short[0]["tokens"]


def test_the_recipe_for_long_articles_is_the_same_at_both_lengths() -> None:
    from bertpress.recipe import make_recipe, override, read_recipe

    values = {"model": "folder", **read_recipe("hyperpartisan-1024")}
    long = make_recipe(values)
    short = make_recipe(override(values, ["max_length=512", "steps.0.finetune.positions=null"]))
    reduced = make_recipe({"model": "folder", **read_recipe("trbert-hyperpartisan")})
    (step,), (other,) = long.steps, short.steps
    assert isinstance(step, Finetune)
    assert (long.task.name, long.max_length, step.positions) == ("hyperpartisan", 1024, 1024)
    assert other == step.model_copy(update={"positions": None})
    assert step.training == other.training == reduced.steps[0].training  # type: ignore[attr-defined]


@pytest.mark.slow
def test_masked_words_teach_the_new_positions(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForMaskedLM

    (tmp_path / "text.txt").write_text(f"{LONG}\n\n" * 40)
    before = make_model(family="roberta", head="masked-lm")
    before.save_pretrained(tmp_path / "start")
    make_tokenizer("roberta").save_pretrained(tmp_path / "start")
    task = {"name": "text", "corpus": {"files": [str(tmp_path / "text.txt")]}}
    step = {"finetune": {"positions": 128, "training": {"max_steps": 2, "batch_size": 8, "learning_rate": 1e-2}}}
    run = carry_out(step, tmp_path / "run", model=str(tmp_path / "start"), task=task, max_length=128)
    model = AutoModelForMaskedLM.from_pretrained(run / "00-finetune" / "model")
    table, tiles = table_of(model), table_of(extend_positions(before, 128))
    assert table.shape == (130, 16)
    assert not torch.allclose(table[66:126], tiles[66:126]), "positions beyond the old ones were trained"
