"""What is timed of a model: its layers, called as the encoder calls them, on a batch of the length asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import token_tasks
import torch
from conftest import batch_of as plain_batch
from conftest import make_masked_task, make_model
from made_tables import PAIRS, SHAPES, pretending, table_of

from bertpress.costs.latency_table import check_table
from bertpress.encoders import encoder_of
from bertpress.errors import RequestError
from bertpress.measurements import measuring
from bertpress.measurements.layer_timing import COPIES, batch_of, build, settings_of, stacks
from bertpress.models import COMPACT

each_family = pytest.mark.parametrize("family", COMPACT)


def test_a_model_without_layers_and_layers_of_each_shape_are_timed(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretending(monkeypatch)()
    table = build(make_model(), task, PAIRS, batch_size=2, tokens=9)
    assert list(table.layers_ms) == SHAPES
    assert table.base_ms.median == pytest.approx(0.25)
    # 4 products of 16 x 8 heads' features, 2 of 16 x the width
    assert table.layers_ms["1x12"].median == pytest.approx(0.001 * (4 * 16 * 8 + 2 * 16 * 12))
    assert table.layers_ms["2x24"].median == pytest.approx(0.001 * (4 * 16 * 16 + 2 * 16 * 24))
    assert table.layers_ms["2x24"].low < table.layers_ms["2x24"].median < table.layers_ms["2x24"].high


@each_family
def test_a_stack_is_called_as_the_encoder_calls_its_layers(family: str, task_of: Any) -> None:
    model, task = make_model(family=family), task_of(family)
    batch = batch_of(model, task, batch_size=3, tokens=9)
    (stack,) = stacks(model, task, batch, [(2, 24)])
    stack.layers = encoder_of(model.config).layer_list(model)[:COPIES]
    with torch.inference_mode():
        states = task.forward(model, batch, output_hidden_states=True).hidden_states
        torch.testing.assert_close(stack(batch), states[COPIES])
    full = {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}
    (unmasked,) = stacks(model, task, full, [(2, 24)])
    unmasked.layers = stack.layers
    with torch.inference_mode():
        assert not torch.allclose(unmasked(full), states[COPIES])  # padding is hidden, as it is for the model


@pytest.mark.parametrize("kind", token_tasks.FOLDERS)
def test_rows_of_every_kind_can_be_cut_and_repeated(kind: str, tmp_path: Path) -> None:
    task = token_tasks.token_task(token_tasks.write_token_tasks(tmp_path)[kind])
    head = token_tasks.HEADS.get(kind, "sequence-classification")
    model = make_model(head=head, **token_tasks.label_fields(kind)).eval()
    for tokens in (5, 12, 40):
        batch = batch_of(model, task, 4, tokens)
        assert batch["attention_mask"].sum(1).max() == tokens
        with torch.inference_mode():
            task.forward(model, batch)


def test_weights_that_are_shared_have_one_size() -> None:
    """The embeddings are the output table of a masked language model."""
    model = make_model(head="masked-lm")
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert measuring._size(model) == 4 * sum(weights.numel() for weights in model.parameters())


def test_the_batch_has_the_asked_length_and_padding(task: Any) -> None:
    model = make_model()
    batch = batch_of(model, task, batch_size=5, tokens=30)
    assert batch["input_ids"].shape == (5, 30)
    assert batch["attention_mask"].sum(1).tolist() == [30, 26, 22, 19, 15]
    assert batch_of(model, task, 1, 7)["attention_mask"].tolist() == [[1] * 7]
    assert batch_of(model, task, 100, 4)["input_ids"].shape == (100, 4)  # more rows than there are
    assert set(batch) == set(plain_batch(task))
    with pytest.raises(RequestError, match="asked for at 65 tokens, but the model takes 1 to 64"):
        batch_of(model, task, 1, 65)
    roberta = make_model(family="roberta")
    with pytest.raises(RequestError, match="takes 1 to 64"):
        batch_of(roberta, task, 1, 65)


def test_settings_are_what_times_depend_on(task: Any) -> None:
    model = make_model()
    model.set_attn_implementation("eager")
    found = settings_of(model, task, 32, 64)
    assert model.config._attn_implementation == found.attention == "sdpa"  # as it is deployed
    assert (found.batch_size, found.tokens, found.threads) == (32, 64, torch.get_num_threads())
    assert (found.device, found.dtype, found.head) == ("cpu", "float32", "sequence-classification")
    assert (found.architecture, found.hidden_size, found.head_size) == ("bert", 16, 8)
    assert found.machine
    assert found.outputs == model.config.num_labels
    assert settings_of(model, make_masked_task(), 32, 64).outputs == model.config.vocab_size
    wider = make_model(hidden_size=32)
    with pytest.raises(RequestError, match=r"hidden_size 16, now 32; head_size 8, now 16"):
        check_table(table_of({}).model_copy(update={"settings": found}), settings_of(wider, task, 32, 64))
