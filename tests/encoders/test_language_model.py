from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import batch_of, make_config, randomise
from families import FAMILIES
from transformers import AutoModelForMaskedLM

from bertpress.encoders import ENCODERS
from bertpress.encoders.language_model import masked_lm_logits

CASES = [*((family, {}) for family in FAMILIES), ("deberta-v2", {"legacy": False})]


@pytest.mark.parametrize(("family", "fields"), CASES, ids=str)
def test_the_head_on_chosen_positions_equals_the_whole_forward(family: str, fields: Any, task_of: Any) -> None:
    model = AutoModelForMaskedLM.from_config(make_config(family, **fields))
    randomise(model)
    model.eval()
    task = task_of(family)
    batch = {name: value for name, value in batch_of(task).items() if name in task.inputs}
    rows, positions = [0, 0, 3, 7], [1, 2, 1, 3]
    with torch.inference_mode():
        expected = model(**batch).logits[rows, positions]
        hidden = model.base_model(**batch).last_hidden_state
        torch.testing.assert_close(masked_lm_logits(model, hidden[rows, positions]), expected, rtol=1e-5, atol=1e-5)
        whole = masked_lm_logits(model, hidden)
    torch.testing.assert_close(whole[rows, positions], expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1, "weights that are all alike would hide a wrong order"


def test_every_encoder_names_its_head() -> None:
    assert all("masked-lm" in encoder.heads for encoder in ENCODERS.values())
