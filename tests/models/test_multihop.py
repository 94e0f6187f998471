"""The multi-hop head: what it says of states, that neighbours do not matter, what it costs, how it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_model
from models.making import BACKENDS, SHAPES, make_batch, make_compact, run
from models.test_reduced_cost import by_hand, counted
from torch import Tensor
from torch.nn.functional import gelu

from bertpress.costs.cost import Parameters, executed_macs, ideal_macs, macs, parameters
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import check_head, compact, new_model, stock_class
from bertpress.encoders.surgery import keep_layers
from bertpress.engine.loading import auto_class, load_config, loader
from bertpress.errors import RequestError
from bertpress.models import COMPACT
from bertpress.models.multihop import KIND, NOWHERE, OUTPUTS, SENTENCE, SPAN, pooled
from bertpress.runs.model_card import loading_lines

each_family = pytest.mark.parametrize("family", COMPACT)
LENGTHS = (12, 7, 3, 12, 1, 2)
SENTENCES = torch.tensor(
    [
        [[1, 3], [4, 4], [5, 11]],
        [[2, 6], [NOWHERE] * 2, [NOWHERE] * 2],
        [[0, 1], [2, 2], [NOWHERE] * 2],
        [[3, 9], [10, 11], [NOWHERE] * 2],
        [[NOWHERE] * 2] * 3,
        [[0, 1], [NOWHERE] * 2, [NOWHERE] * 2],
    ]
)
COUNT = int((SENTENCES[..., 0] != NOWHERE).sum())


def made(family: str = "bert", **fields: Any) -> Any:
    return make_compact(family, "ForMultiHop", **fields)


def batch_for(model: Any) -> dict[str, Tensor]:
    return {**make_batch(model, LENGTHS), "sentences": SENTENCES}


def test_the_largest_values_of_the_tokens_that_there_are() -> None:
    states = torch.tensor([[[1.0, -2.0], [0.0, -3.0], [9.0, 9.0]]])
    assert pooled(states, torch.tensor([[1, 1, 0]])).tolist() == [[1.0, -2.0]]
    assert pooled(states, None).tolist() == [[9.0, 9.0]]


@each_family
def test_the_head_says_what_the_plain_formula_says(family: str) -> None:
    model = made(family, token_reduction=None)
    batch = batch_for(model)
    with torch.no_grad():
        states = model.base_model(**{name: batch[name] for name in batch if name != "sentences"}).last_hidden_state
        found = model(**batch).logits
    assert found.shape == (6, 12, OUTPUTS)
    for row, length in enumerate(LENGTHS):
        own = states[row]
        with torch.no_grad():
            torch.testing.assert_close(found[row, :, SPAN], model.qa_outputs(own))
            best = torch.stack([own[:length, feature].max() for feature in range(own.shape[1])])
            torch.testing.assert_close(found[row, 0, KIND], model.qa_classifier(best))
            firsts = {}
            for first, last in SENTENCES[row].tolist():
                if first != NOWHERE:
                    inner = gelu(model.sent_linear(torch.cat([own[first], own[last]])))
                    firsts[first] = model.sent_classifier(inner)
        assert not found[row, 1:, KIND].any()
        for place in range(12):
            torch.testing.assert_close(found[row, place, SENTENCE], firsts.get(place, torch.zeros(2)))


@each_family
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_does_not_depend_on_its_neighbours_also_where_tokens_are_skipped(family: str, backend: str) -> None:
    model = made(family)
    batch = batch_for(model)
    together, trace = run(model, batch, backend=backend)
    assert int(trace.kept().sum()) < 2 * sum(LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = {name: values[row : row + 1, :length] for name, values in batch.items() if name != "sentences"}
        own = run(model, {**alone, "sentences": SENTENCES[row : row + 1]}, backend=backend)[0]
        torch.testing.assert_close(own[0], together[row, :length], atol=1e-5, rtol=1e-5)


@each_family
def test_the_three_ways_agree(family: str) -> None:
    model = made(family)
    batch = batch_for(model)
    valid = batch["attention_mask"].bool()
    expected = run(model, batch, backend="masked")[0][valid]
    for backend in ("packed", "gather"):
        torch.testing.assert_close(run(model, batch, backend=backend)[0][valid], expected, atol=1e-5, rtol=1e-5)


def test_without_sentences_nothing_is_said_about_them() -> None:
    model = made()
    batch = batch_for(model)
    whole = run(model, batch)[0]
    del batch["sentences"]
    found = run(model, batch)[0]
    assert not found[..., SENTENCE].any()
    assert torch.equal(found[..., : SENTENCE.start], whole[..., : SENTENCE.start])


def test_hidden_states_and_tuples_are_given_on_request() -> None:
    model = made(token_reduction=None)
    batch = batch_for(model)
    with torch.no_grad():
        found = model(**batch, output_hidden_states=True)
        (logits,) = model(**batch, return_dict=False)
    assert len(found.hidden_states) == 5
    assert torch.equal(found.logits, logits)


@pytest.fixture
def counted_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)


@each_family
@pytest.mark.parametrize("shapes", [None, SHAPES])
def test_parameters_and_macs_equal_the_counted_ones(family: str, shapes: Any, counted_attention: None) -> None:
    model = made(family, layer_shapes=shapes, token_reduction=None)
    layers = model.base_model.get_submodule(encoder_of(model.config).layers)
    numbers = [sum(value.numel() for value in part.parameters()) for part in (model, layers)]
    assert parameters(model.config, head="multi-hop") == Parameters(*numbers)
    model.set_attn_implementation("eager")
    for length, places in ((1, []), (7, [[0, 3], [4, 6]])):
        batch = {"input_ids": torch.full((3, length), 7)}
        if places:
            batch["sentences"] = torch.tensor([places] * 3)
        rows = (length, 1, len(places), len(places))
        assert macs(model.config, length, 3, head="multi-hop", positions=rows) == counted(model, batch)


@pytest.mark.parametrize("backend", BACKENDS)
def test_macs_of_a_model_that_skips_tokens_equal_the_counted_ones(backend: Any, counted_attention: None) -> None:
    model = made()
    batch = batch_for(model)
    kept = run(model, batch, backend=backend)[1].kept().tolist()
    sentences = (SENTENCES[..., 0] != NOWHERE).sum(1).tolist()
    head = sum(12 * 2 * 16 + 3 * 16 + count * (32 * 16 + 16 * 2) for count in sentences)
    none = executed_macs(model.config, LENGTHS, kept, width=12, backend=backend, head=None)
    pooler = 6 * 16 * 16  # the bare model's, which this one does not have
    assert none - pooler + head == counted(model, batch, backend=backend)


def test_the_head_s_parts_are_counted_as_often_as_they_are_applied() -> None:
    config = make_config()
    parts = (16 * 2, 16 * 3, 32 * 16, 16 * 2)
    rows = (9, 1, 4, 4)
    whole = ideal_macs(config, [9], head="multi-hop", positions=lambda _: rows)
    assert whole - ideal_macs(config, [9], head="multi-hop", positions=lambda _: 0) == sum(
        count * part for count, part in zip(rows, parts, strict=True)
    )


@each_family
def test_a_stock_model_becomes_one_with_its_weights(family: str, tmp_path: Path) -> None:
    stock = make_model(family=family)
    stock.save_pretrained(tmp_path)
    model = loader("AutoModelForMultiHop").from_pretrained(str(tmp_path))
    assert model.config.layer_shapes is None
    assert model.config.model_type == f"compact_{family.replace('-', '_')}"
    own = model.base_model.state_dict()
    assert own
    assert all(torch.equal(value, stock.base_model.state_dict()[name]) for name, value in own.items())


@each_family
def test_surgery_keeps_the_head(family: str) -> None:
    model = made(family, token_reduction=None)
    batch = batch_for(model)
    assert stock_class(model) is None
    assert type(new_model(model, make_config(family))) is type(model)
    fewer = keep_layers(model, [0, 2])
    assert type(fewer) is type(model)
    reduced = compact(model, token_reduction={"layers": [1]})
    everything = torch.ones(6, 12, 1, dtype=torch.bool)
    with torch.no_grad():
        expected = model(**batch).logits
        torch.testing.assert_close(
            reduced(**batch, actions=everything).logits[batch["attention_mask"].bool()],
            expected[batch["attention_mask"].bool()],
            atol=1e-5,
            rtol=1e-5,
        )


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_other_architectures_are_refused_with_the_reason(family: str) -> None:
    with pytest.raises(RequestError, match=f"no compact {family} \\(its attention"):
        check_head(make_config(family), "multi-hop")
    check_head(make_config(family), "question-answering")


PROCESS = """
import importlib.abc, json, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bertpress":
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Absent())
import numpy as np, torch
models, out = json.loads(sys.stdin.read())
found = {}
for name, (folder, lines, batch) in models.items():
    batch = {key: torch.tensor(values) for key, values in batch.items()}
    for place, again in ((folder, folder + "-again"), (folder + "-again", None)):
        space = {}
        exec(lines.replace("FOLDER", place), space)
        with torch.no_grad():
            output = space["model"].eval()(**batch).logits.numpy()
        if again:
            found[name] = output
            space["model"].save_pretrained(again)
        else:
            assert np.array_equal(output, found[name])
    from transformers import AutoModel
    encoder = AutoModel.from_pretrained(folder, trust_remote_code=True)
    assert type(encoder).__name__.endswith("Model"), type(encoder)
    own = encoder.state_dict()
    assert all(torch.equal(value, space["model"].base_model.state_dict()[key]) for key, value in own.items()
               if "pooler" not in key)
np.savez(out, **found)
"""


@pytest.mark.slow
def test_the_lines_of_the_card_load_it_without_the_package(tmp_path: Path) -> None:
    models, expected = {}, {}
    for family in COMPACT:
        model = made(family, layer_shapes=SHAPES)
        batch = batch_for(model)
        expected[family] = run(model, batch)[0].numpy()
        model.save_pretrained(tmp_path / family)
        saved = json.loads((tmp_path / family / "config.json").read_text())
        assert saved["architectures"] == [f"Compact{COMPACT[family]}ForMultiHop"]
        assert saved["auto_map"]["AutoModel"].endswith(f"Compact{COMPACT[family]}Model")
        assert auto_class(load_config(str(tmp_path / family)).architectures) == "AutoModelForMultiHop"
        inputs = {key: values.tolist() for key, values in batch.items()}
        lines = loading_lines(model).rpartition("tokenizer =")[0]
        models[family] = (str(tmp_path / family), lines, inputs)
    request = json.dumps([models, str(tmp_path / "found.npz")])
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], input=request, text=True, capture_output=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "found.npz") as found:
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
