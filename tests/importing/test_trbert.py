"""Checkpoints in the layout of TR-BERT, written by hand, against its rule of evaluation at batch 1, written naively."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, make_config, make_model, make_tokenizer
from token_tasks import HEADS, OUTPUTS, label_fields, token_task, write_token_tasks
from torch.nn import functional

from bertpress import api
from bertpress.engine.loading import auto_class, load_config, loader
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.importing import import_model
from bertpress.tasks.trained import task_of_head

WIDTH, POLICY = 16, 5
WALK = {"bert": "bert.encoder", "distilbert": "distilbert.transformer"}
ONE_INPUT = ("classification", "qa", "multihop", "candidates")
"""Kinds whose inputs are decided about by themselves."""
TEXTS = torch.randint(1, 100, (8, 12), generator=torch.Generator().manual_seed(3))
LENGTHS = (12, 3, 7, 1, 9, 12, 5, 11)
State = dict[str, torch.Tensor]


def original(family: str, kind: str, depth: int = 4, **fields: Any) -> tuple[Any, State]:
    """The model that decides nothing, and the original's tensors: its own, and those of the two decisions."""
    name = "n_layers" if family == "distilbert" else "num_hidden_layers"
    model = make_model(family=family, head=HEADS[kind], **{name: depth, **label_fields(kind), **fields})
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if kind == "candidates":
        state |= {f"qa_outputs.{part}": state.pop(f"classifier.{part}") for part in ("weight", "bias")}
    generator = torch.Generator().manual_seed(2)
    for step in range(2):
        for part, shape in (("1", (POLICY, WIDTH)), ("2", (1, POLICY))):
            place = f"{WALK[family]}.linear_{part}.{step}"
            state[f"{place}.weight"] = torch.randn(shape, generator=generator)
            state[f"{place}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    if family == "bert" and kind in ("qa", "multihop", "candidates"):
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


def imported(folder: Path) -> Any:
    """An imported model as any other is loaded."""
    return loader(auto_class(load_config(str(folder)).architectures)).from_pretrained(folder).eval()


@torch.no_grad()
def walked(
    model: Any, state: State, family: str, depth: int, rows: torch.Tensor, common: int
) -> tuple[torch.Tensor, list[int]]:
    """Last states of the options of one question by the original's rule, and the tokens left after each decision.

    Args:
        rows: (options, length) without padding.
        common: tokens that are decided about, from the first one on, for all options by the mean of what is said.
    """
    hidden = model.base_model.embeddings(input_ids=rows)
    last, alive, counts, step = hidden.clone(), torch.arange(rows.shape[1]), [], 0
    for number, layer in enumerate(model.get_submodule(f"{WALK[family]}.layer")):
        if number in (1, depth // 2) and len(alive) > 1:
            place = f"{WALK[family]}.linear_{{}}.{step}"
            one, two = ((state[f"{name}.weight"], state[f"{name}.bias"]) for name in map(place.format, "12"))
            inner = functional.gelu(functional.linear(hidden, *one))
            keep = torch.sigmoid(functional.linear(inner, *two)[..., 0].mean(0)) >= 0.5
            keep[alive >= common], keep[0] = True, True
            hidden, alive, step = hidden[:, keep], alive[keep], step + 1
            counts.append(len(alive))
        hidden = layer(hidden)
        last[:, alive] = hidden
    return last, counts


@torch.no_grad()
def answered(model: Any, state: State, family: str, kind: str, last: torch.Tensor, places: Any) -> torch.Tensor:
    """What the original's head says of the last states (length, width) of an input; of one for an option its score."""
    if kind in ("classification", "choice"):
        first = last[:1]
        pooled = model.bert.pooler(first[None]) if family == "bert" else model.pre_classifier(first).relu()
        return model.classifier(pooled)[0]
    spans = functional.linear(last, state["qa_outputs.weight"], state["qa_outputs.bias"])
    if kind != "multihop":
        return spans
    logits = torch.cat([spans, torch.zeros(len(last), 5)], dim=-1)
    logits[0, 2:5] = model.qa_classifier(last.max(0).values)
    for one, two in places:
        inner = functional.gelu(model.sent_linear(torch.cat([last[one], last[two]])))
        logits[one, 5:7] = model.sent_classifier(inner)
    return logits


def sentences_of(length: int) -> list[tuple[int, int]]:
    """First and last tokens of the sentences of a row."""
    return [(first, min(first + 2, length - 1)) for first in range(1, length, 3)]


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
@pytest.mark.parametrize("kind", ONE_INPUT)
@pytest.mark.parametrize("family", WALK)
def test_the_imported_model_decides_as_the_original_at_batch_1(
    family: str, kind: str, depth: int, tmp_path: Path
) -> None:
    model, state = original(family, kind, depth)
    import_model(saved(tmp_path / "given", model, state, family), "trbert", tmp_path / "out")
    ours = imported(tmp_path / "out")
    mask = torch.arange(TEXTS.shape[1]) < torch.tensor(LENGTHS)[:, None]
    given = {"input_ids": TEXTS * mask, "attention_mask": mask.long()}
    if kind == "multihop":
        padded = [[*sentences_of(length), *[(-1, -1)] * 4][:4] for length in LENGTHS]
        given["sentences"] = torch.tensor(padded)
    with torch.no_grad():
        result = ours(**given)
    found = torch.stack([result.start_logits, result.end_logits], -1) if kind == "qa" else result.logits
    skipped = [0, 0]
    for row, length in enumerate(LENGTHS):
        last, counts = walked(model, state, family, depth, TEXTS[row : row + 1, :length], length)
        left = [length, *counts, *[1] * 2]  # of a row of one token nothing is decided
        skipped = [skipped[0] + left[0] - left[1], skipped[1] + (left[1] - left[2]) * (depth > 3)]
        expected = answered(model, state, family, kind, last[0], sentences_of(length))
        own = found[row] if kind == "classification" else found[row, :length]
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)
    assert skipped[0], "the decisions skip something"
    assert depth < 4 or skipped[1]
    assert ours.config.token_reduction["layers"] == ([1] if depth < 4 else [1, depth // 2])
    assert ours.config.token_reduction["thresholds"] == [0.5] * len(ours.config.token_reduction["layers"])


@pytest.mark.parametrize("depth", [3, 4, 6])
@pytest.mark.parametrize("family", WALK)
def test_options_skip_the_same_tokens_as_in_the_original_with_one_question_at_a_time(
    family: str, depth: int, tmp_path: Path
) -> None:
    model, state = original(family, "choice", depth)
    import_model(saved(tmp_path / "given", model, state, family), "trbert", tmp_path / "out")
    ours, skipped = imported(tmp_path / "out"), 0
    generator = torch.Generator().manual_seed(5)
    questions = torch.randint(1, 100, (5, 4, 14), generator=generator)
    common = (9, 1, 5, 11, 13)
    for question, length in zip(questions, common, strict=True):
        question[:, :length] = question[0, :length]
        question[:, length] = torch.tensor([20, 21, 22, 23])
    with torch.no_grad():
        found = ours(input_ids=questions).logits
    for question, length, scores in zip(questions, common, found, strict=True):
        last, counts = walked(model, state, family, depth, question, length)
        skipped += 14 - counts[-1]
        expected = [answered(model, state, family, "choice", row, None)[0] for row in last]
        torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-5, atol=1e-5)
    assert skipped


def test_tasks_take_the_imported_models_at_once(tmp_path: Path) -> None:
    tasks = write_token_tasks(tmp_path)
    for kind in ("choice", "multihop", "candidates"):
        model, state = original("bert", kind)
        import_model(saved(tmp_path / f"{kind}-given", model, state, "bert"), "trbert", tmp_path / f"{kind}-out")
        given = {name: value for name, value in tasks[kind].items() if name != kind}
        scores = api.evaluate(str(tmp_path / f"{kind}-out"), given, max_length=32, runtime=Runtime(device="cpu"))
        assert scores["validation"]
        config, task = load_config(str(tmp_path / f"{kind}-out")), token_task(given)
        assert tuple(config.id2label.values()) == OUTPUTS[kind]
        assert config.task_specific_params == task.noted(make_config()).task_specific_params
    config = load_config(str(tmp_path / "choice-out"))
    assert config.token_reduction["shared"]
    with pytest.raises(RequestError, match="chooses among candidates"):
        task_of_head(load_config(str(tmp_path / "candidates-out")), make_tokenizer(), 32)


def test_a_classifier_of_two_outputs_for_each_option_scores_them_separately(tmp_path: Path) -> None:
    model, state = original("bert", "classification")
    folder = saved(tmp_path / "given", model, state, "bert")
    import_model(folder, "trbert", tmp_path / "out", head_labels=("wrong", "right"))
    task = write_token_tasks(tmp_path)["choice"] | {"choice": {"scoring": "separately"}}
    assert api.evaluate(str(tmp_path / "out"), task, max_length=32, runtime=Runtime(device="cpu"))["validation"]


def test_remarks_name_labels_and_what_is_left_out(tmp_path: Path) -> None:
    model, state = original("bert", "classification")
    folder = saved(tmp_path / "given", model, state, "bert")
    assert import_model(folder, "trbert", tmp_path / "out", head_labels=LABELS) == [
        "4 layers that skip tokens before layer 1 and 2 (threshold 0.5), and a head for bad, good",
        "left out: 1 index of positions that old versions saved",
    ]
    assert load_config(str(tmp_path / "out")).id2label == dict(enumerate(LABELS))
    model, state = original("bert", "qa", depth=3)
    remarks = import_model(saved(tmp_path / "qa", model, state, "bert"), "trbert", tmp_path / "spans")
    assert "before layer 1 (threshold 0.5), and a head for spans of texts" in remarks[0]
    assert remarks[1].endswith(
        "bert.policies.1.inner.bias, bert.policies.1.inner.weight, bert.policies.1.outer.bias, "
        "bert.policies.1.outer.weight, bert.pooler.dense.bias, bert.pooler.dense.weight"
    )


def test_remarks_name_what_heads_do_otherwise(tmp_path: Path) -> None:
    told = {}
    for kind in ("choice", "multihop", "candidates"):
        model, state = original("bert", kind)
        folder = saved(tmp_path / kind, model, state, "bert")
        told[kind] = import_model(folder, "trbert", tmp_path / f"{kind}-out")
        with pytest.raises(RequestError, match="names the outputs of a classifier, but this head gives"):
            import_model(folder, "trbert", tmp_path / "refused", head_labels=("a",))
    assert told["choice"][0].endswith("a head for options of a question, which skip the same tokens")
    assert "words that all options begin with count as the question's here" in told["choice"][1]
    assert "padding counted as zeros" in told["multihop"][1]
    assert told["candidates"][0].endswith("a head for candidates")
    assert told["candidates"][1] == "left out, as nothing reads them: bert.pooler.dense.bias, bert.pooler.dense.weight"


def refused(state: State, model: Any, tmp_path: Path, match: str, **fields: Any) -> None:
    folder = saved(tmp_path / f"given-{len(list(tmp_path.iterdir()))}", model, state, "bert")
    with pytest.raises(RequestError, match=match):
        import_model(folder, "trbert", tmp_path / "out", **fields)
    assert not (tmp_path / "out").exists()


def test_what_is_refused(tmp_path: Path) -> None:
    model, state = original("bert", "classification")
    spans_model, spans = original("bert", "qa")
    without = {name: value for name, value in state.items() if "linear_" not in name}
    refused(without, model, tmp_path, "decides about no tokens")
    refused({"resnet.weight": torch.ones(1)}, model, tmp_path, "not from TR-BERT.*found resnet.weight")
    headless = {name: value for name, value in state.items() if "classifier" not in name}
    refused(headless, model, tmp_path, "no trained head")
    refused({**spans, "qa_classifier.weight": torch.ones(3, WIDTH)}, spans_model, tmp_path, "5 weights are missing")
    refused(
        {**spans, "qa_outputs.weight": torch.ones(3, WIDTH)}, spans_model, tmp_path, "head 'qa_outputs' is not whole"
    )
    half = {name: value for name, value in state.items() if name != "classifier.bias"}
    refused(half, model, tmp_path, "head 'classifier' is not whole")
    refused({**state, "classifier.weight": torch.tensor(1.0)}, model, tmp_path, "head 'classifier' is not whole")
    refused(
        {**state, "classifier.bias": torch.tensor([0.0, torch.nan])}, model, tmp_path, "not finite.*classifier.bias"
    )
    refused(state, model, tmp_path, "names 'a' twice", head_labels=("a", "a"))
    refused(
        {**state, "bert.strange.weight": torch.ones(1)}, model, tmp_path, r"1 are unknown \(the first: bert.strange"
    )
    lacking = {name: value for name, value in state.items() if not name.endswith("linear_2.1.bias")}
    refused(lacking, model, tmp_path, r"1 weights are missing.*policies.1.outer.bias")
    refused(state, model, tmp_path, "names 3 labels, but the head has 2", head_labels=("a", "b", "c"))
    refused(spans, spans_model, tmp_path, "this head gives spans", head_labels=("a", "b"))
    refused(state, model, tmp_path, "--keep-head is for tinybert", keep_head=True)
