"""Checkpoints in the layout of TR-BERT, written by hand, against its rule of evaluation at batch 1, written naively."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, make_model, make_tokenizer
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.importing import import_model
from bertpress.loading import auto_class, load_config, loader

WIDTH, POLICY = 16, 5
WALK = {"bert": "bert.encoder", "distilbert": "distilbert.transformer"}
HEADS = {"classifier": "sequence-classification", "qa_outputs": "question-answering"}
TEXTS = torch.randint(1, 100, (8, 12), generator=torch.Generator().manual_seed(3))
LENGTHS = (12, 3, 7, 1, 9, 12, 5, 11)
State = dict[str, torch.Tensor]


def original(family: str, head: str, depth: int = 4, **fields: Any) -> tuple[Any, State]:
    """The model that decides nothing, and the original's tensors: its own, and those of the two decisions."""
    name = "n_layers" if family == "distilbert" else "num_hidden_layers"
    model = make_model(family=family, head=HEADS[head], **{name: depth, **fields})
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    for step in range(2):
        for part, shape in (("1", (POLICY, WIDTH)), ("2", (1, POLICY))):
            place = f"{WALK[family]}.linear_{part}.{step}"
            state[f"{place}.weight"] = torch.randn(shape, generator=generator)
            state[f"{place}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    if family == "bert" and head == "qa_outputs":
        state |= {"bert.pooler.dense.weight": torch.ones(WIDTH, WIDTH), "bert.pooler.dense.bias": torch.ones(WIDTH)}
    state[f"{family}.embeddings.position_ids"] = torch.arange(64)[None]
    return model, state


def saved(folder: Path, model: Any, state: State, family: str) -> Path:
    """A folder as transformers 2.5 left it: no type of model, classes of its own."""
    folder.mkdir(parents=True)
    torch.save(state, folder / "pytorch_model.bin")
    config = {name: value for name, value in model.config.to_dict().items() if name not in ("model_type", "id2label")}
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["AUTOBert"], "label2id": {"a": 0}}))
    make_tokenizer(family).save_pretrained(folder)
    return folder


@torch.no_grad()
def naive(
    model: Any, state: State, family: str, head: str, depth: int, ids: torch.Tensor
) -> tuple[torch.Tensor, list[int]]:
    """Logits of one row by the original's rule, and the tokens that were left after each decision."""
    hidden = model.base_model.embeddings(input_ids=ids[None])
    last, alive, counts, step = hidden.clone(), torch.arange(len(ids)), [], 0
    layers = model.get_submodule(f"{WALK[family]}.layer")
    for number, layer in enumerate(layers):
        if number in (1, depth // 2) and len(alive) > 1:
            place = f"{WALK[family]}.linear_{{}}.{step}"
            one, two = ((state[f"{name}.weight"], state[f"{name}.bias"]) for name in map(place.format, "12"))
            inner = functional.gelu(functional.linear(hidden, *one))
            keep = torch.sigmoid(functional.linear(inner, *two))[0, :, 0] >= 0.5
            keep[0] = True
            hidden, alive, step = hidden[:, keep], alive[keep], step + 1
            counts.append(len(alive))
        hidden = layer(hidden)
        last[:, alive] = hidden
    if head == "qa_outputs":
        return model.qa_outputs(last)[0], counts
    if family == "bert":
        return model.classifier(model.bert.pooler(hidden))[0], counts
    return model.classifier(model.pre_classifier(hidden[:, 0]).relu())[0], counts


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", WALK)
def test_the_imported_model_decides_as_the_original_at_batch_1(
    family: str, head: str, depth: int, tmp_path: Path
) -> None:
    model, state = original(family, head, depth)
    import_model(saved(tmp_path / "given", model, state, family), "trbert", tmp_path / "out")
    imported = loader(auto_class(load_config(str(tmp_path / "out")).architectures)).from_pretrained(tmp_path / "out")
    mask = torch.arange(TEXTS.shape[1]) < torch.tensor(LENGTHS)[:, None]
    with torch.no_grad():
        result = imported.eval()(input_ids=TEXTS * mask, attention_mask=mask.long())
    skipped = [0, 0]
    for row, length in enumerate(LENGTHS):
        expected, counts = naive(model, state, family, head, depth, TEXTS[row, :length])
        left = [length, *counts, *[1] * 2]  # of a row of one token nothing is decided
        skipped = [skipped[0] + left[0] - left[1], skipped[1] + (left[1] - left[2]) * (depth > 3)]
        if head == "classifier":
            ours = result.logits[row]
        else:
            ours = torch.stack([result.start_logits, result.end_logits], -1)[row, :length]
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert skipped[0], "the decisions skip something"
    assert depth < 4 or skipped[1]
    assert imported.config.token_reduction["layers"] == ([1] if depth < 4 else [1, depth // 2])
    assert imported.config.token_reduction["thresholds"] == [0.5] * len(imported.config.token_reduction["layers"])


def test_remarks_name_labels_and_what_is_left_out(tmp_path: Path) -> None:
    model, state = original("bert", "classifier")
    folder = saved(tmp_path / "given", model, state, "bert")
    assert import_model(folder, "trbert", tmp_path / "out", head_labels=LABELS) == [
        "4 layers that skip tokens before layer 1 and 2 (threshold 0.5), and a head for bad, good",
        "left out: 1 index of positions that old versions saved",
    ]
    assert load_config(str(tmp_path / "out")).id2label == dict(enumerate(LABELS))
    model, state = original("bert", "qa_outputs", depth=3)
    remarks = import_model(saved(tmp_path / "qa", model, state, "bert"), "trbert", tmp_path / "spans")
    assert "before layer 1 (threshold 0.5), and a head for spans of texts" in remarks[0]
    assert remarks[1].endswith(
        "bert.policies.1.inner.bias, bert.policies.1.inner.weight, bert.policies.1.outer.bias, "
        "bert.policies.1.outer.weight, bert.pooler.dense.bias, bert.pooler.dense.weight"
    )


def refused(state: State, model: Any, tmp_path: Path, match: str, **fields: Any) -> None:
    folder = saved(tmp_path / f"given-{len(list(tmp_path.iterdir()))}", model, state, "bert")
    with pytest.raises(RequestError, match=match):
        import_model(folder, "trbert", tmp_path / "out", **fields)
    assert not (tmp_path / "out").exists()


def test_what_is_refused(tmp_path: Path) -> None:
    model, state = original("bert", "classifier")
    spans_model, spans = original("bert", "qa_outputs")
    without = {name: value for name, value in state.items() if "linear_" not in name}
    refused(without, model, tmp_path, "decides about no tokens")
    refused({"resnet.weight": torch.ones(1)}, model, tmp_path, "not from TR-BERT.*found resnet.weight")
    headless = {name: value for name, value in state.items() if "classifier" not in name}
    refused(headless, model, tmp_path, "no trained head")
    refused({**spans, "qa_classifier.weight": torch.ones(3, WIDTH)}, spans_model, tmp_path, "for HotpotQA")
    refused({**spans, "qa_outputs.weight": torch.ones(1, WIDTH)}, spans_model, tmp_path, "for WikiHop")
    refused({**state, "classifier.weight": torch.ones(1, WIDTH)}, model, tmp_path, "for multiple choice")
    refused(
        {**state, "bert.strange.weight": torch.ones(1)}, model, tmp_path, r"1 are unknown \(the first: bert.strange"
    )
    lacking = {name: value for name, value in state.items() if not name.endswith("linear_2.1.bias")}
    refused(lacking, model, tmp_path, r"1 weights are missing.*policies.1.outer.bias")
    refused(state, model, tmp_path, "names 3 labels, but the head has 2", head_labels=("a", "b", "c"))
    refused(spans, spans_model, tmp_path, "this head gives spans", head_labels=("a", "b"))
    refused(state, model, tmp_path, "--keep-head is for tinybert", keep_head=True)
