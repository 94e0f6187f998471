"""Importance of tokens, and what is stored of every training row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_model, make_tokenizer, without_dropout
from torch import Tensor

from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.fingerprints import weights_digest
from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.artefacts import PerRow, stored
from bertpress.methods.trbert.importance import scores_of_rows
from bertpress.methods.trbert.steps import important
from bertpress.tasks.classification import Classification

ROWS = [3, 40, 7, 12, 90]


def scores(task: Any, model: Any = None, rows: list[int] = ROWS, **fields: Any) -> list[np.ndarray]:
    model = (model or make_model(**without_dropout())).eval().requires_grad_(False)
    return scores_of_rows(model, task, TrBert(**fields), rows)


def encoded(task: Any, number: int) -> dict[str, Tensor]:
    return task.collate([task.encoded("train")[number]])


def states(model: Any, task: Any, batch: Any) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found: tuple[Tensor, ...] = model(**task.inputs_of(model, batch), output_hidden_states=True).hidden_states
    return found


def test_importance_is_the_change_of_the_loss_to_first_order(task: Any) -> None:
    """The gradient at the states before layer 3 by finite differences of the layers above, in double precision."""
    model = make_model(**without_dropout()).double()
    found = scores(task, make_model(**without_dropout()))
    for number, values in zip(ROWS[:2], found, strict=False):
        batch = encoded(task, number)
        before = states(model, task, batch)

        def loss_above(hidden: Tensor, batch: Any = batch) -> float:
            with torch.no_grad():
                top = model.bert.encoder.layer[3](hidden)
                logits = model.classifier(model.bert.pooler(top))
            return float(torch.nn.functional.cross_entropy(logits, batch["labels"]))

        for step, layer in enumerate((1, 2)):
            way = before[3] - before[layer]
            for token in range(0, way.shape[1], 3):
                moved = torch.zeros_like(way)
                moved[0, token] = 1e-5 * way[0, token]
                slope = (loss_above(before[3] + moved) - loss_above(before[3] - moved)) / 2e-5
                assert float(values[step, token]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-6)


def test_importance_of_a_row_needs_no_neighbours(task: Any) -> None:
    together = dict(zip(ROWS, scores(task), strict=True))
    for number in (7, 40):
        (by_itself,) = scores(task, rows=[number])
        assert by_itself.shape == (2, int(encoded(task, number)["attention_mask"].sum()))
        np.testing.assert_allclose(by_itself, together[number], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert", "electra"])
@pytest.mark.parametrize("kind", ["gradient", "norm", "attention", "random"])
def test_every_kind_of_importance_on_every_architecture(task_of: Callable[[str], Any], family: str, kind: str) -> None:
    from bertpress.encoders.compact import compact

    task, model = task_of(family), make_model(family=family, **without_dropout(family))
    if kind == "attention":
        model = compact(model, token_reduction={"layers": [1, 2], "selector": "attention", "thresholds": [-1.0, -1.0]})
    found = scores(task, model, importance=kind)
    assert len(found) == len(ROWS)
    assert all(np.isfinite(values).all() and (values >= 0).all() and values.std() > 0 for values in found)


def test_norm_is_the_distance_of_states(task: Any) -> None:
    model = make_model(**without_dropout())
    for number, values in zip(ROWS, scores(task, model, importance="norm", importance_layer=3), strict=True):
        before = states(model, task, encoded(task, number))
        for step, layer in enumerate((1, 2)):
            expected = (before[3] - before[layer])[0].norm(dim=-1)
            np.testing.assert_allclose(values[step], expected, rtol=1e-4, atol=1e-5)


def test_random_importance_belongs_to_the_row(task: Any) -> None:
    (first,) = scores(task, rows=[7], importance="random")
    np.testing.assert_array_equal(scores(task, importance="random")[2], first)
    assert ((first >= 0) & (first < 1)).all()
    assert not np.array_equal(first[0], first[1])


def test_without_labels_a_row_is_measured_by_its_own_answer(task: Any) -> None:
    model = make_model(**without_dropout())
    batch = {**encoded(task, 7)}
    labels = model(**task.inputs_of(model, batch)).logits.argmax(-1)
    columns = task.encoded("train").to_dict()
    unlabelled = Classification(task.data, task.tokenizer, task.max_length)
    unlabelled._encoded = {"train": task.encoded("train").remove_columns("labels")}
    guessed = Classification(task.data, task.tokenizer, task.max_length)
    rows = task.encoded("train").remove_columns("labels")
    guessed._encoded = {"train": rows.add_column("labels", [int(labels)] * len(columns["labels"]))}
    np.testing.assert_allclose(scores(unlabelled, model, [7])[0], scores(guessed, model, [7])[0], rtol=1e-5, atol=1e-8)


# Layers


@pytest.mark.parametrize(
    ("depth", "layers", "reference"), [(12, [1, 6], 9), (6, [1, 3], 5), (4, [1, 2], 3), (3, [1], 2)]
)
def test_default_layers_are_those_of_the_original(depth: int, layers: list[int], reference: int) -> None:
    assert TrBert().layers_of(depth) == layers
    assert TrBert().reference_layer(depth) == reference


def test_a_layer_without_anything_above_is_no_reference() -> None:
    with pytest.raises(
        RequestError, match=r"above the last decision \(1\) and at most at 1, and there is none; set guide"
    ):
        TrBert().reference_layer(2)
    assert TrBert(importance="attention").reference_layer(2) == 2
    with pytest.raises(RequestError, match=r"above the last decision \(6\) and at most at 11, got 5"):
        TrBert(importance_layer=5).reference_layer(12)


# Stored for later phases

KEY = {"model": "a", "maximum length": 32}


def compute_lengths(task: Any) -> Callable[[list[int]], list[np.ndarray]]:
    """Two numbers for each token: the row's number and the position."""
    rows = task.encoded("train")

    def compute(chosen: list[int]) -> list[np.ndarray]:
        lengths = [rows[row]["length"] for row in chosen]
        return [
            np.stack([np.full(length, row), np.arange(length)]).astype(np.float32)
            for row, length in zip(chosen, lengths, strict=True)
        ]

    return compute


def finish(folder: Path) -> None:
    (folder / "finished.json").write_text("{}")


def test_numbers_are_found_by_row(task: Any, tmp_path: Path) -> None:
    found = stored(tmp_path / "kept", task, KEY, compute_lengths(task), "importance")
    read = found.tokens(torch.tensor([40, 3]), 20, torch.device("cpu"))
    assert read.shape == (2, 2, 20)
    for index, row in enumerate((40, 3)):
        length = task.encoded("train")[row]["length"]
        assert read[0, index, :length].tolist() == [row] * length
        assert read[1, index, :length].tolist() == list(range(length))
        assert read[:, index, length:].isnan().all()
    single = stored(
        tmp_path / "single", task, KEY, lambda rows: [np.full((3, 1), row, np.float32) for row in rows], "logits"
    )
    assert single.rows(torch.tensor([9, 1]), torch.device("cpu")).tolist() == [[9.0] * 3, [1.0] * 3]
    with pytest.raises(ValueError, match="of which nothing is stored"):
        found.tokens(torch.tensor([4000]), 20, torch.device("cpu"))
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "key.json",
        "offsets.npy",
        "rows.npy",
        "values.npy",
    ]


def test_what_is_stored_is_single_precision(task: Any, tmp_path: Path) -> None:
    found = stored(tmp_path, task, KEY, lambda rows: [np.full((2, 1), row, np.float64) for row in rows], "logits")
    assert found.rows(torch.tensor([5]), torch.device("cpu")).dtype == torch.float32
    assert found.values.dtype == np.float32


def test_what_is_stored_is_not_computed_again(task: Any, tmp_path: Path) -> None:
    stored(tmp_path, task, KEY, compute_lengths(task), "importance")
    finish(tmp_path)

    def never(rows: list[int]) -> list[np.ndarray]:
        raise AssertionError

    assert isinstance(stored(tmp_path, task, KEY, never, "importance"), PerRow)


def test_what_was_cut_off_is_computed_again(task: Any, tmp_path: Path) -> None:
    def cut(rows: list[int]) -> list[np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, task, KEY, cut, "importance")
    whole = stored(tmp_path / "other", task, KEY, compute_lengths(task), "importance")
    again = stored(tmp_path, task, KEY, compute_lengths(task), "importance")
    np.testing.assert_array_equal(again.values, whole.values)


def test_importance_of_something_else_is_refused_by_name(
    task: Any, text_data: Callable[..., Any], tmp_path: Path
) -> None:
    compute = compute_lengths(task)
    stored(tmp_path, task, KEY, compute, "importance")
    finish(tmp_path)
    with pytest.raises(RequestError, match="holds the importance of another model; delete that folder"):
        stored(tmp_path, task, {**KEY, "model": "b"}, compute, "importance")
    with pytest.raises(RequestError, match="of another maximum length;"):
        stored(tmp_path, task, {**KEY, "maximum length": 64}, compute, "importance")
    fewer = Classification(text_data(train=50), make_tokenizer(), 32)
    with pytest.raises(RequestError, match="of another text;"):
        stored(tmp_path, fewer, KEY, compute, "importance")
    data = text_data()
    data.splits["train"] = data.splits["train"].select(range(95, -1, -1))
    with pytest.raises(RequestError, match="of another text;"):  # the same rows in another order
        stored(tmp_path, Classification(data, make_tokenizer(), 32), KEY, compute, "importance")
    shorter = Classification(text_data(), make_tokenizer(), 8)
    with pytest.raises(RequestError, match="of another maximum length and another text;"):
        stored(tmp_path, shorter, {**KEY, "maximum length": 8}, compute, "importance")


def test_numbers_that_are_not_finite_are_refused_with_their_rows(task: Any, tmp_path: Path) -> None:
    compute = compute_lengths(task)

    def broken(rows: list[int]) -> list[np.ndarray]:
        found = compute(rows)
        for row in (41, 5):
            found[row][1, 2] = np.nan
        return found

    with pytest.raises(RequestError, match="importance of training rows 5, 41 is not finite"):
        stored(tmp_path, task, KEY, broken, "importance")
    assert not (tmp_path / "key.json").exists()


def step_run(folder: Path) -> Any:
    """As much of a step as importance asks for."""
    from bertpress.engine.run import StepRun

    recipe: Any = SimpleNamespace(seed=1)
    return StepRun(folder, recipe, Runtime(device="cpu"), make_model)


def test_the_phase_says_what_its_numbers_depend_on(task: Any, tmp_path: Path) -> None:
    model = make_model(**without_dropout())
    assert important(TrBert(), model, task, step_run(tmp_path)) is not None
    key = json.loads((tmp_path / "importance" / "key.json").read_text())
    assert set(key) == {"model", "tokenizer", "maximum length", "kind of importance", "text"}
    assert key["model"] == weights_digest(model)
    assert (tmp_path / "importance" / "finished.json").is_file()
    with pytest.raises(RequestError, match="of another model;"):
        important(TrBert(), make_model(seed=3), task, step_run(tmp_path))
    with pytest.raises(RequestError, match="of another kind of importance;"):
        important(TrBert(importance="norm"), model, task, step_run(tmp_path))


@pytest.mark.parametrize(
    "fields",
    [{"guide_rate": 0.0}, {"policy": None}, {"selector": "gumbel"}, {"selector": "attention"}, {"selector": "first"}],
)
def test_importance_is_computed_only_where_it_guides(task: Any, tmp_path: Path, fields: dict[str, Any]) -> None:
    method = TrBert(**fields)
    assert "importance" not in method.active_phases()
    assert important(method, make_model(**without_dropout()), task, step_run(tmp_path)) is None
    assert not (tmp_path / "importance").exists()


def test_a_broken_model_is_refused_before_anything_is_trained(task: Any, tmp_path: Path) -> None:
    model = make_model(**without_dropout())
    with torch.no_grad():
        model.bert.encoder.layer[3].output.dense.weight[0, 0] = torch.nan
    with pytest.raises(RequestError, match=r"importance of training rows 0, 1, 2, 3, 4 is not finite; the model's"):
        important(TrBert(), model, task, step_run(tmp_path))
