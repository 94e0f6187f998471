"""What every method has to keep, whatever it does inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROWS, make_config, make_masked_task, make_model, masked_task, without_dropout
from contract.cases import CASES, PAIRS, SUPPORT, Case
from contract.support import KINDS, METHODS, PAGE, cells, filled, refusal
from token_tasks import token_task, write_token_tasks

from bertpress.config import build
from bertpress.costs import cost
from bertpress.costs.shapes import shape_of
from bertpress.encoders import encoder_of
from bertpress.engine import trainer
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import class_of_head, load_config, loader
from bertpress.engine.run import Runtime, StepRun
from bertpress.errors import RequestError
from bertpress.files import held
from bertpress.methods import METHODS as ALL_METHODS
from bertpress.methods import method_named
from bertpress.recipe import make_recipe, parse_yaml
from bertpress.runs import pipeline
from bertpress.tasks import KINDS as KINDS_OF_TASKS

each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
each_pair = pytest.mark.parametrize("case", PAIRS, ids=[case.id for case in PAIRS])
TRAINED = [case for case in PAIRS if case.training]
RESUMED = [case for case in PAIRS if case.family in ("bert", "roberta") or case.name in ("finetune", "theseus")]
each_resumed_pair = pytest.mark.parametrize("case", RESUMED, ids=[case.id for case in RESUMED])
each_trained_pair = pytest.mark.parametrize("case", TRAINED, ids=[case.id for case in TRAINED])

RELOAD = """
import json, sys
import numpy as np, torch, transformers
from torch.nn.functional import cross_entropy
from transformers.dynamic_module_utils import get_class_from_dynamic_module
models, out = json.loads(sys.stdin.read())
def answer(outputs, labels):
    if "start_logits" in outputs:
        return np.stack([outputs.start_logits[0].numpy(), outputs.end_logits[0].numpy()], axis=1).ravel()
    if "last_hidden_state" in outputs:
        return outputs.last_hidden_state[0].numpy().ravel()
    logits = outputs.logits
    if labels is None:
        return logits[0].numpy().ravel()
    asked = torch.tensor(labels) != -100
    logits, labels = logits[0][asked], torch.tensor(labels)[asked]
    guessed = (logits.argmax(dim=1) == labels).sum()
    return np.array([guessed, cross_entropy(logits, labels, reduction="sum"), len(labels)])
answers = {}
for folder, loader, rows in models:
    if hasattr(transformers, loader):
        model = getattr(transformers, loader).from_pretrained(folder, trust_remote_code=True).eval()
    else:  # a head that transformers does not have: its class lies beside the weights
        path = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True).auto_map[loader]
        model = get_class_from_dynamic_module(path, folder).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    answers[folder] = []
    for text, ids, labels in rows:
        inputs = tokenizer(text, return_tensors="pt") if text else {}
        if ids is not None:
            inputs["input_ids"] = torch.tensor([ids])
        if ids is not None and inputs["input_ids"].dim() == 3:  # options, padded
            inputs["attention_mask"] = (inputs["input_ids"] != tokenizer.pad_token_id).long()
        with torch.no_grad():
            answers[folder].append(answer(model(**inputs), labels))
    answers[folder] = np.concatenate(answers[folder])
np.savez(out, **answers)
"""


class Killed(Exception):
    """Stands for a run that is broken off."""


def result_of(run: Path, case: Case) -> Path:
    return run / f"00-{case.name}"


def weights_of(run: Path, case: Case) -> bytes:
    return (result_of(run, case) / "model" / "model.safetensors").read_bytes()


def log_of(run: Path, case: Case) -> list[dict[str, Any]]:
    """Losses, gradient norms, rates and scores of every phase; the kept weights may be older than a stop."""
    files = sorted(result_of(run, case).glob("*/log.jsonl"))
    entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [entry for entry in entries if "train_runtime" not in entry]


@pytest.fixture(scope="session")
def run_case(
    carry_out: Callable[..., Path],
    folder_of: Callable[..., Path],
    tiny_text_task: dict[str, Any],
    token_tasks: dict[str, dict[str, Any]],
) -> Callable[..., Path]:
    """Runs a case in a folder."""
    tasks = {"masked-lm": tiny_text_task, **token_tasks}

    def run(case: Case, folder: Path, progress: Any = None, **fields: Any) -> Path:
        model = {"model": str(folder_of(case.family, case.head, case.kind))}
        task = {"task": tasks[case.kind]} if case.kind in tasks else {}
        return carry_out(case.step, folder, progress, **{**model, **task, **fields})

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test run."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "contract"


@pytest.fixture(scope="session")
def finished(run_case: Callable[..., Path], shared: Path) -> Callable[[Case], Path]:
    """The finished run of a case, carried out once, whichever process needs it first."""

    def run(case: Case) -> Path:
        folder = shared / "runs" / case.id
        with held(shared / f"{case.id}.lock"):
            if not (folder / "report.json").exists():
                run_case(case, folder)
        return folder

    return run


@pytest.fixture(scope="session")
def token_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Tasks whose answers are places in a text, as a recipe names them."""
    return write_token_tasks(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="session")
def task_for(task_of: Callable[[str], Any], token_tasks: dict[str, dict[str, Any]]) -> Callable[[Case], Any]:
    """The task of a case, the same as that of its run."""

    def task(case: Case) -> Any:
        if case.kind in token_tasks:
            return token_task(token_tasks[case.kind], case.family)
        return make_masked_task(case.family) if case.kind == "masked-lm" else task_of(case.family)

    return task


def reread(case: Case, task: Any, model: Path) -> Any:
    """The task as the result in a folder reads it, which may have a tokenizer of its own."""
    if not method_named(case.name).changes_tokens:
        return task
    tokenizer = loader("AutoTokenizer").from_pretrained(model)
    return masked_task(tokenizer) if case.kind == "masked-lm" else task.with_tokenizer(tokenizer)


def options_of(task: Any) -> list[Any]:
    """The inputs of each validation question, its options padded to the longest."""
    rows = list(task.encoded("validation"))
    questions = [[row for row in rows if row["record"] == number] for number in range(rows[-1]["record"] + 1)]
    return [task.collate(options)["input_ids"].tolist() for options in questions]


def rows_for(case: Case, task: Any) -> list[tuple[str, list[int] | None, list[int] | None]]:
    """The validation texts; of a masked language model also the masked tokens, and what they were.

    Of heads that answer for tokens, and of pairs of texts, the inputs, whatever was made of the texts.
    """
    texts = [text for text, _ in ROWS["validation"]]
    if case.kind == "choice":
        return [("", options, None) for options in options_of(task)]
    if task.by_token or task.together:
        return [("", list(row["input_ids"]), None) for row in task.encoded("validation")]
    if case.kind != "masked-lm":
        return [(text, None, None) for text in texts]
    batches = [task.collate([row]) for row in task.encoded("validation")]
    masked = [(batch["input_ids"][0].tolist(), batch["labels"][0].tolist()) for batch in batches]
    return [(text, *pair) for text, pair in zip(texts, masked, strict=True)]


@pytest.fixture(scope="session")
def reloaded(finished: Callable[[Case], Path], task_for: Callable[[Case], Any], shared: Path) -> dict[str, np.ndarray]:
    """Answers to the validation texts by every result, from one fresh process without this package.

    Models that are not stock ones bring their code along.
    """
    out = shared / "reloaded.npz"
    folders = {case.id: str(result_of(finished(case), case) / "model") for case in PAIRS}
    tasks = {case.id: reread(case, task_for(case), Path(folders[case.id])) for case in PAIRS}
    models = [(folders[case.id], class_of_head(case.head), rows_for(case, tasks[case.id])) for case in PAIRS]
    request = json.dumps([models, str(out)])
    with held(shared / "reloaded.lock"):
        if not out.exists():
            subprocess.run([sys.executable, "-c", RELOAD], input=request, text=True, check=True, capture_output=True)
    with np.load(out) as answers:
        return {name: answers[folder] for name, folder in folders.items()}


@pytest.mark.slow
@each_pair
def test_a_fresh_process_gives_the_same_answers(
    case: Case, finished: Callable[[Case], Path], task_for: Callable[[Case], Any], reloaded: dict[str, np.ndarray]
) -> None:
    from pyarrow import parquet

    model = result_of(finished(case), case) / "model"
    task = reread(case, task_for(case), model)
    if task.by_token or task.together:
        expected = answers_here(model, case, task)
    else:
        table = parquet.read_table(result_of(finished(case), case) / "predictions" / "validation.parquet")
        expected = np.ravel(table["logits"].to_pylist())
    np.testing.assert_allclose(reloaded[case.id], expected, atol=1e-5)


def answers_here(folder: Path, case: Case, task: Any) -> np.ndarray:
    """What is said of every token of the validation rows, one row at a time, without the second segment: logits, or
    the states of a model without head."""
    model = loader(class_of_head(case.head)).from_pretrained(folder).eval()
    if case.kind == "choice":
        without = ("token_type_ids",) if "token_type_ids" in task.inputs else ()
        outputs = logits_of(
            model,
            task,
            task.encoded("validation"),
            lambda model, batch: task.forward(
                model, {name: values for name, values in batch.items() if name not in without}
            ),
        )
        return outputs.ravel()
    inputs = [torch.tensor([ids]) for _, ids, _ in rows_for(case, task)]
    rows = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in inputs]
    with torch.no_grad():
        found = [task.forward(model, row) for row in rows]
    said = [one.logits if case.head else one.last_hidden_state for one in found]
    return np.concatenate([each.numpy().ravel() for each in said])


@pytest.mark.slow
@each_pair
def test_the_plan_is_the_shape_of_the_result_or_bounds_it(case: Case, finished: Callable[[Case], Path]) -> None:
    before = make_config(case.family, **case.outputs)
    planned = build(method_named(case.name), case.fields).plan(before)
    result = load_config(str(result_of(finished(case), case) / "model"))
    encoder = encoder_of(before)
    assert encoder.depth(planned) == encoder.depth(result) == case.layers
    most, own = (cost.parameters(config, head=case.head) for config in (planned, result))
    assert own.total < most.total if case.bounded else own == most
    saved = json.loads((result_of(finished(case), case) / "result.json").read_text())
    assert saved["layers"] == case.layers
    assert saved["cost"]["parameters"]["total"] == own.total


@pytest.mark.slow
@each_resumed_pair
def test_stopped_and_resumed_equals_not_stopped(
    case: Case, finished: Callable[[Case], Path], run_case: Callable[..., Path], tmp_path: Path
) -> None:
    for stop in case.stops:

        def progress(phase: str, step: int, total: int, logs: dict[str, float], stop: Any = stop) -> None:
            if (phase, step) == stop:
                raise Killed

        with pytest.raises(Killed):
            run_case(case, tmp_path / "run", progress)
        assert not (result_of(tmp_path / "run", case) / "result.json").exists()
    run_case(case, tmp_path / "run")
    assert weights_of(tmp_path / "run", case) == weights_of(finished(case), case)
    log = log_of(finished(case), case)
    assert any("grad_norm" in entry for entry in log) == bool(case.training)
    assert log_of(tmp_path / "run", case) == log


@pytest.mark.slow
@each_case  # of all the others, that a resumed run equals one that was not stopped says the same
def test_the_same_seed_gives_the_same_result_and_another_does_not(
    case: Case, finished: Callable[[Case], Path], run_case: Callable[..., Path], tmp_path: Path
) -> None:
    again = run_case(case, tmp_path / "again")
    assert weights_of(again, case) == weights_of(finished(case), case)
    other = run_case(case, tmp_path / "other", seed=2)
    assert (weights_of(other, case) == weights_of(finished(case), case)) != bool(case.training)


@pytest.mark.slow
@each_pair
def test_the_declared_cost_never_goes_up(
    case: Case, finished: Callable[[Case], Path], task_for: Callable[[Case], Any]
) -> None:
    read = [
        json.loads((finished(case) / part / "result.json").read_text())
        for part in ("start", "00-" + case.name)
        if (finished(case) / part / "result.json").is_file()
    ]
    config = make_config(case.family, **case.outputs)
    planned = build(method_named(case.name), case.fields).plan(config)
    most = cost.parameters(config, head=case.head)
    policies = [part for decision in shape_of(planned).decisions for part in decision.parts]
    beside = sum(part.parameters for part in policies)  # what decides about tokens stands beside the model
    for result in read:
        assert result["cost"]["parameters"]["encoder"] <= most.encoder
        assert result["cost"]["parameters"]["total"] <= most.total + beside
        tokens = result["cost"]["macs"]["tokens"]
        positions = task_for(case).positions(tokens)
        assert result["cost"]["macs"]["value"] <= cost.macs(config, tokens, head=case.head, positions=positions)
    assert cost.macs(planned, 32) <= cost.macs(config, 32) + 32 * sum(part.macs for part in policies)


class OneStep(StepRun):
    """A step that trains one optimizer step and keeps what it was made with and what came out."""

    seed = 1

    def __init__(self, folder: Path, imposed: Any) -> None:
        vars(self).update(folder=folder, runtime=Runtime(), imposed=imposed)
        vars(self).update(gradients={}, before={}, after={})

    def train(self, objective: Any, task: Any, training: Any, phase: str) -> None:
        objective.impose(self.imposed)
        original = objective.before_update

        def before_update() -> None:
            original()
            named = objective.named_parameters()
            self.gradients.update({name: value.grad.clone() for name, value in named if value.grad is not None})

        objective.before_update = before_update
        self.before.update({name: value.detach().clone() for name, value in objective.named_parameters()})
        trainer.train(objective, task, training, self.folder / phase, self.seed, lambda *_: None, device="cpu")
        self.after.update({name: value.detach().clone() for name, value in objective.named_parameters()})


ONE_STEP = {"max_steps": 1, "warmup": 0.0, "learning_rate": 1e-3, "clip": 1e6}


def method_of_one_step(case: Case, batch_size: int, accumulation: int = 1) -> Any:
    training = {**ONE_STEP, "batch_size": batch_size, "accumulation": accumulation}
    first = {case.training: training} if case.training else {}
    return build(method_named(case.name), {**case.fields, **case.one_step, **first})


@pytest.mark.slow
@each_trained_pair
def test_one_step_of_16_equals_four_of_4(case: Case, task_for: Callable[[Case], Any], tmp_path: Path) -> None:
    task = task_for(case)
    fields = {"family": case.family, "head": case.head, **case.outputs, **without_dropout(case.family)}
    whole, parts = OneStep(tmp_path / "whole", case.imposed), OneStep(tmp_path / "parts", case.imposed)
    method_of_one_step(case, 16).compress(make_model(**fields), task, whole)
    method_of_one_step(case, 4, 4).compress(make_model(**fields), task, parts)
    assert whole.gradients.keys() == parts.gradients.keys()
    moved = 0
    for name, before in whole.before.items():
        if name not in whole.gradients:
            assert torch.equal(whole.after[name], before), name
            assert torch.equal(parts.after[name], before), name
            continue
        gradient = whole.gradients[name]
        torch.testing.assert_close(parts.gradients[name], gradient, rtol=1e-4, atol=1e-6)
        # Adam's first step is the sign of the gradient, which is chance where the gradient is 0 but for rounding.
        clear = gradient.abs() > 1e-4
        torch.testing.assert_close(parts.after[name][clear], whole.after[name][clear], rtol=0, atol=1e-6)
        moved += int((whole.after[name] != before).any())
    assert moved > 1


@pytest.mark.slow
@each_pair
def test_the_given_model_is_unchanged(case: Case, task_for: Callable[[Case], Any], tmp_path: Path) -> None:
    model = make_model(family=case.family, head=case.head, **case.outputs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = {name: value.requires_grad for name, value in model.named_parameters()}
    config = model.config.to_dict()
    result = method_of_one_step(case, 16).compress(model, task_for(case), OneStep(tmp_path, case.imposed))
    assert result is not model
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: value.requires_grad for name, value in model.named_parameters()} == flags
    assert model.config.to_dict() == config
    shared = {value.data_ptr() for value in model.parameters()} & {value.data_ptr() for value in result.parameters()}
    assert not shared


@each_case
def test_a_recipe_survives_yaml(case: Case) -> None:
    recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": [case.step]})
    again = make_recipe(parse_yaml(recipe.to_yaml(), "the recipe"))
    assert again == recipe
    assert again.to_yaml() == recipe.to_yaml()
    assert again.identity() == recipe.identity()


@each_case
def test_an_unknown_field_is_refused_with_the_nearest_name(case: Case) -> None:
    field = next(iter(case.fields))
    wrong = {**case.fields, f"{field}s_": 1}
    with pytest.raises(RequestError, match=f"unknown field '{field}s_' .*did you mean '{field}'"):
        make_recipe({"model": "folder", "task": "pydoc", "steps": [{case.name: wrong}]})


@pytest.mark.slow
@each_pair
def test_a_finished_run_is_not_trained_again(
    case: Case, finished: Callable[[Case], Path], run_case: Callable[..., Path], tmp_path: Path
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(finished(case), copied)

    def progress(*_: Any) -> None:
        raise Killed

    run_case(case, copied, progress)
    assert weights_of(copied, case) == weights_of(finished(case), case)
    assert not list(copied.glob("*/*/checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("case", SUPPORT, ids=[case.id for case in SUPPORT])
def test_every_promised_pair_of_method_task_and_architecture_works(
    case: Case, run_case: Callable[..., Path], task_for: Callable[[Case], Any], tmp_path: Path
) -> None:
    result = result_of(run_case(case, tmp_path / "run", loads=True), case)
    saved = json.loads((result / "result.json").read_text())
    scores = saved["metrics"]["validation"]
    assert saved["primary_metric"] in scores
    assert saved["kind"] == case.kind
    model = loader(class_of_head(case.head)).from_pretrained(result / "model")
    task = reread(case, task_for(case), result / "model").aligned(model.config)
    again = task.score(logits_of(model, task, task.encoded("validation")), "validation")
    assert again == pytest.approx(scores, abs=1e-6)
    assert scores.keys() == set(task.metrics)


REFUSED = [(cell, reason) for cell in cells() if (reason := refusal(*cell)) is not None]


@pytest.mark.parametrize(("cell", "reason"), REFUSED, ids=["-".join(cell) for cell, _ in REFUSED])
def test_what_is_not_promised_is_refused_for_its_reason(
    cell: tuple[str, str, str],
    reason: str,
    folder_of: Callable[..., Path],
    token_tasks: dict[str, dict[str, Any]],
    tiny_text_task: dict[str, Any],
    tiny_data_folder: Path,
) -> None:
    method, kind, architecture = cell
    case = replace(next(case for case in CASES if case.name == method), kind=kind, family=architecture)
    own = {"masked-lm": tiny_text_task, "classification": {"files": str(tiny_data_folder), "columns": ["text"]}}
    task = {**own, **token_tasks}[kind]
    head = None if case.head == "multi-hop" else case.head
    model = str(folder_of(architecture, head, kind if head else "classification"))
    recipe = make_recipe({"model": model, "task": task, "steps": [case.step], "max_length": 32})
    with pytest.raises(RequestError, match="no compact"):
        pipeline.prepare(recipe, Runtime(device="cpu"))


def test_the_docs_show_what_is_promised() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run python tests/contract/support.py"
    assert {kind for kinds in KINDS_OF_TASKS.values() for kind in kinds} <= {*KINDS, "regression", "encoder"}
    assert set(METHODS) == {method.name for method in ALL_METHODS}
