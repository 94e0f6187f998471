from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_masked_task, make_model, make_tokenizer
from families import FAMILIES
from torch import nn
from torch.nn import functional

from bertpress.costs.cost import parameters
from bertpress.encoders.surgery import keep_layers
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_for_task
from bertpress.engine.objective import Supervised
from bertpress.errors import RequestError
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.replacing import Hybrid
from bertpress.recipe import TaskSpec, make_recipe, parse_yaml
from bertpress.tasks import load_task
from bertpress.tasks.hiding import IGNORED
from bertpress.tasks.masked_lm import MaskedLanguageModel, MaskedTokens
from bertpress.tasks.masking import Masking

UNTIED = {"tie_word_embeddings": False}
HEADS = [(family, fields) for family in FAMILIES for fields in ({}, UNTIED)] + [("deberta-v2", {"legacy": False})]
each_case = pytest.mark.parametrize(("family", "fields"), HEADS, ids=str)


def test_training_draws_by_its_key_and_evaluation_always_the_same() -> None:
    task = make_masked_task()
    rows = [task.encoded("train")[row] for row in range(8)]
    first, second, third = (task.collate(rows, draw) for draw in ((1, 0), (1, 1), (2, 0)))
    assert torch.equal(task.collate(rows, (1, 0))["input_ids"], first["input_ids"])
    assert not torch.equal(first["labels"], second["labels"])
    assert not torch.equal(first["labels"], third["labels"])
    fixed = task.collate(rows)
    assert torch.equal(fixed["labels"], task.collate(rows[:3] + rows[3:])["labels"])
    clean = torch.where(fixed["labels"] == IGNORED, fixed["input_ids"], fixed["labels"])
    unchanged = torch.where(first["labels"] == IGNORED, first["input_ids"], first["labels"])
    assert torch.equal(clean, unchanged), "the rows themselves are left alone"


class Columns:
    """The fewest things that rows have to be: ids and segments of a corpus, kept as they like."""

    def __init__(self, ids: list[list[int]]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Any) -> Any:
        if key == "length":
            return [len(ids) for ids in self.ids]
        numbers = [key] if isinstance(key, int) else key
        rows = [{"input_ids": self.ids[row], "length": len(self.ids[row]), "row": row} for row in numbers]
        return rows[0] if isinstance(key, int) else {name: [row[name] for row in rows] for name in rows[0]}


def test_rows_may_be_anything_with_ids_lengths_and_numbers() -> None:
    whole = make_masked_task()
    bare = MaskedLanguageModel(
        "text",
        {split: Columns(whole.encoded(split)["input_ids"][:]) for split in whole.splits},
        make_tokenizer(),
        32,
    )
    picked = [3, 0, 7]
    expected = whole.collate([whole.encoded("train")[row] for row in picked])
    found = bare.collate([bare.encoded("train")[row] for row in picked])
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    model = make_model(head="masked-lm")
    answers = [logits_of(model, task, task.encoded("validation")) for task in (whole, bare)]
    assert np.array_equal(*answers)
    assert whole.chance_score("validation") == bare.chance_score("validation")


@each_case
def test_the_head_on_masked_tokens_equals_the_model_s_own_forward_pass(family: str, fields: dict[str, Any]) -> None:
    task, model = make_masked_task(family), make_model(family=family, head="masked-lm", **fields)
    batch = task.collate([task.encoded("validation")[row] for row in range(8)])
    where = batch["labels"] != IGNORED
    with torch.no_grad():
        expected = model(**{name: batch[name] for name in task.inputs}).logits
        found = task.forward(model, batch)
    torch.testing.assert_close(found.logits, expected[where], rtol=1e-5, atol=1e-5)
    losses = functional.cross_entropy(expected.transpose(1, 2), batch["labels"], reduction="none")  # 0 where ignored
    counts = where.sum(dim=1)
    torch.testing.assert_close(task.example_losses(found, batch), losses.sum(dim=1) / counts)
    guessed = (expected.argmax(dim=-1) == batch["labels"]).sum(dim=1)
    condensed = torch.stack([guessed, losses.sum(dim=1), counts], dim=1)
    torch.testing.assert_close(task.condense(found, batch), condensed.float())


def test_the_loss_of_a_row_is_its_mean_and_of_a_batch_the_mean_of_the_rows() -> None:
    where = torch.tensor([[True, False, True], [False, True, False], [False, False, False]])
    logits = torch.zeros(3, 4)
    logits[0, 2], logits[1, 2] = math.log(3), math.log(3)  # probabilities 1/6, 1/6, 3/6, 1/6, and 1/4 for the third
    outputs = MaskedTokens(logits, torch.tensor([2, 0, 1]), where)
    task = make_masked_task()
    losses = task.example_losses(outputs, {})
    torch.testing.assert_close(losses, torch.tensor([(math.log(2) + math.log(6)) / 2, math.log(4), 0.0]))
    condensed = task.condense(outputs, {})
    expected = [[1.0, math.log(12), 2.0], [0.0, math.log(4), 1.0], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(condensed, torch.tensor(expected))
    scores = task.score(condensed.numpy(), "validation")
    assert scores["masked_accuracy"] == pytest.approx(1 / 3)
    assert scores["mean_probability"] == pytest.approx(48 ** (-1 / 3))
    assert task.remarks(scores) == ["perplexity of the masked tokens 3.6"]
    assert task.truths(condensed.numpy(), "validation") == [2, 1, 0]
    assert task.decode(condensed.numpy(), "validation")[0] == {
        "masked": 2,
        "guessed": 1,
        "probability": pytest.approx(12**-0.5),
    }
    with pytest.raises(RequestError, match="no token that could be hidden"):
        task.score(np.zeros((2, 3)), "validation")


def test_chance_is_always_the_commonest_token() -> None:
    task = make_masked_task()
    rows = task.encoded("validation")
    labels = torch.cat([task.collate([row])["labels"].flatten() for row in rows])
    counts = torch.bincount(labels[labels != IGNORED])
    assert task.chance_score("validation") == pytest.approx(counts.max().item() / counts.sum().item())


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    task = make_masked_task()
    model = make_model(head="masked-lm", vocab_size=20)
    with pytest.raises(RequestError, match=r"tokenizer has \d+ tokens, but the model 20 outputs"):
        task.aligned(model.config)
    assert task.aligned(make_model(head="masked-lm").config) is task


def output_table(model: Any) -> Any:
    """What hidden states are multiplied by; a DeBERTa-v2 that is not `legacy` takes the embeddings themselves."""
    given = hasattr(model, "lm_predictions")
    return model.get_input_embeddings().weight if given else masked_lm_parts(model)[-1].weight


def masked_lm_parts(model: Any) -> list[Any]:
    return [part for part in model.modules() if isinstance(part, nn.Linear) and part.out_features == 100]


@each_case
def test_a_step_reaches_everything_and_the_output_table_is_the_embeddings(family: str, fields: dict[str, Any]) -> None:
    task, model = make_masked_task(family), make_model(family=family, head="masked-lm", **fields)
    before = model.get_input_embeddings().weight.detach().clone()
    objective = Supervised(model, task).train()
    batch = task.collate([task.encoded("train")[row] for row in range(16)], (1, 0))
    objective(**batch)["loss"].backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    # BERT, RoBERTa and DeBERTa-v2 have a second name for the last bias, which is nobody's where nothing is tied.
    spare = {"cls.predictions.bias", "lm_head.bias"} if fields == UNTIED else set()
    assert {name for name, _ in model.named_parameters()} - reached <= spare
    torch.optim.SGD(objective.parameters(), lr=0.1).step()
    assert (output_table(model) is model.get_input_embeddings().weight) == ("tie_word_embeddings" not in fields)
    # Tokens that are not in the batch are reached through the output alone.
    absent = sorted(set(range(100)) - set(batch["input_ids"].flatten().tolist()) - {task.tokenizer.pad_token_id})
    moved = (model.get_input_embeddings().weight != before).any(dim=1)[absent]
    assert moved.all() if "tie_word_embeddings" not in fields else not moved.any()


@each_case
def test_the_result_of_theseus_is_a_masked_language_model_with_tied_weights(
    family: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    task, model = make_masked_task(family), make_model(family=family, head="masked-lm", **fields)
    for result in (Hybrid(copy.deepcopy(model), Theseus(), seed=1).successor(), keep_layers(model, (0, 2))):
        tied = output_table(result) is result.get_input_embeddings().weight
        assert tied == ("tie_word_embeddings" not in fields)
        assert output_table(result).data_ptr() != output_table(model).data_ptr()
        result.save_pretrained(tmp_path)
        loaded, _, remarks = load_for_task(str(tmp_path), task)
        assert remarks == []
        assert type(loaded) is type(model)
        assert (output_table(loaded) is loaded.get_input_embeddings().weight) == tied
        counted = sum(value.numel() for value in loaded.parameters())
        assert parameters(loaded.config, head="masked-lm").total == counted
        answers = [logits_of(each, task, task.encoded("validation")) for each in (result, loaded)]
        assert np.array_equal(*answers)


def test_a_recipe_of_text_and_masking(tmp_path: Path) -> None:
    values = {"model": "folder", "steps": ["finetune"], "task": {"text": "lines.txt", "masking": {"whole_word": True}}}
    recipe = make_recipe(values)
    assert recipe.task.masking == Masking(whole_word=True)
    again = make_recipe(parse_yaml(recipe.to_yaml(), "the recipe"))
    assert again == recipe
    assert recipe.identity()["task.masking.whole_word"] is True
    with pytest.raises(RequestError, match="corpus and masking describe plain text"):
        load_task(TaskSpec(name="pydoc", masking=Masking()), make_tokenizer(), 32)
