"""Closed-form costs of compact models equal counted ones, exactly, whichever way they are executed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import ONE_ANSWER
from models.making import BACKENDS, SHAPES, make_batch, make_compact, run
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from bertpress.costs.cost import Parameters, executed_macs, ideal_macs, layer_macs, macs, parameters
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config
from bertpress.engine.loading import AUTO_CLASSES
from bertpress.models import COMPACT

each_family = pytest.mark.parametrize("family", COMPACT)
KIND = {head: name.removeprefix("AutoModel") or "Model" for head, name in AUTO_CLASSES.items()}
LENGTHS = (12, 7, 3, 12, 1, 2)
SELECTORS: list[dict[str, Any]] = [
    {"layers": [1, 2]},
    {"layers": [2], "policy_hidden": 5},
    {"layers": [1, 3], "selector": "attention", "shares": [0.6, 0.3]},
    {"layers": [1, 3], "selector": "first", "shares": [0.6, 0.3]},
    {"layers": [1, 2], "min_tokens": 8},
    {"layers": [1, 2], "selector": "first", "shares": [0.2, 0.1], "min_keep": 5},
    {"layers": [1, 2], "selector": "first", "shares": [0.9, 0.8], "max_keep": 4},
    {"layers": [1, 2], "min_tokens": 99},
    {"layers": [1, 2], "selector": "attention", "shares": [0.6, 0.3], "min_tokens": 99},
    {"layers": []},
]


def by_hand(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *_: Any, scale: float) -> Tensor:
    """Attention in products that the counter sees; it misses the fused one on CPUs."""
    scores = query @ key.mT * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return torch.softmax(scores, -1) @ value


@pytest.fixture(autouse=True)
def counted_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)


def counted(model: Any, batch: dict[str, Tensor], **options: Any) -> int:
    model.requires_grad_(False)  # the counter stumbles over a parameter that is passed to a module
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**batch, **options)
    return int(counter.get_total_flops()) // 2


@each_family
@pytest.mark.parametrize("head", KIND)
@pytest.mark.parametrize("shapes", [None, SHAPES])
def test_parameters_equal_the_counted_ones(family: str, head: str | None, shapes: Any) -> None:
    for reduction in (None, {"layers": [1, 3]}, {"layers": [1], "selector": "first", "shares": [0.5]}):
        model = make_compact(family, KIND[head], layer_shapes=shapes, token_reduction=reduction)
        layers = model.base_model.get_submodule(encoder_of(model.config).layers)
        numbers = [sum(value.numel() for value in part.parameters()) for part in (model, layers)]
        assert parameters(model.config, head=head) == Parameters(*numbers)


@each_family
@pytest.mark.parametrize("head", KIND)
def test_macs_of_layers_of_unequal_shape_equal_the_counted_ones(family: str, head: str | None) -> None:
    model = make_compact(family, KIND[head], layer_shapes=SHAPES, token_reduction=None)
    for tokens, batch in ((1, 1), (7, 3)):
        positions = 1 if head in ONE_ANSWER else tokens
        found = macs(model.config, tokens, batch, head=head, positions=positions)
        model.set_attn_implementation("eager")
        options = (1,) if head == "multiple-choice" else ()
        assert found == counted(model, {"input_ids": torch.full((batch, *options, tokens), 7)})


CELLS = [*((family, SELECTORS[0]) for family in COMPACT), *(("bert", reduction) for reduction in SELECTORS[1:])]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("family", "reduction"), CELLS, ids=str)
def test_executed_macs_equal_the_counted_ones(family: str, backend: Any, reduction: dict[str, Any]) -> None:
    model = make_compact(family, layer_shapes=SHAPES, token_reduction=reduction)
    batch = make_batch(model, LENGTHS)
    wide = {
        name: torch.nn.functional.pad(values, (0, 3), value=int(name == "input_ids")) for name, values in batch.items()
    }
    for inputs in (batch, wide):
        kept = run(model, inputs, backend=backend)[1].kept().tolist()
        width = inputs["input_ids"].shape[1]
        found = executed_macs(model.config, LENGTHS, kept, width=width, backend=backend)
        assert found == counted(model, inputs, backend=backend)


@pytest.mark.parametrize("head", KIND)
@pytest.mark.parametrize("reduction", SELECTORS, ids=str)
def test_ideal_macs_are_those_of_each_row_alone(head: str | None, reduction: dict[str, Any]) -> None:
    model = make_compact(kind=KIND[head], token_reduction=reduction)
    batch = make_batch(model, LENGTHS)
    rows = [{name: values[[row], ..., :length] for name, values in batch.items()} for row, length in enumerate(LENGTHS)]
    kept = run(model, batch)[1].kept().tolist()
    positions = (lambda tokens: 1) if head in ONE_ANSWER else (lambda tokens: tokens)
    alone = [counted(model, row) for row in rows]
    assert ideal_macs(model.config, LENGTHS, kept, head=head, positions=positions) == sum(alone)
    for length, left, number in zip(LENGTHS, kept, alone, strict=True):
        assert macs(model.config, length, kept=left, head=head, positions=positions(length)) == number
    if head in ONE_ANSWER:  # others read padding too
        assert executed_macs(model.config, LENGTHS, kept, width=12, head=head) >= sum(alone)


def test_shares_fix_what_is_kept_and_else_all_is() -> None:
    fixed = compact_config(BertConfig(), token_reduction={"layers": [1, 6], "shares": [0.4, 0.2]})
    free = compact_config(BertConfig(), token_reduction={"layers": [1, 6]})
    assert macs(fixed, 128) == macs(free, 128, kept=(52, 26))
    assert macs(free, 128) == macs(free, 128, kept=(128, 128)) == macs(BertConfig(), 128) + 2 * 128 * 24_608
    assert macs(free, 128, batch=3, kept=(52, 26)) == 3 * macs(free, 128, kept=(52, 26))


# The numbers of the original's accounting


def reduced(**fields: Any) -> Any:
    return compact_config(BertConfig(**fields), token_reduction={"layers": [1, 6]})


def test_one_layer() -> None:
    tokens = (1, 128, 256, 512, 1024)
    expected = [7_079_424, 931_135_488, 1_912_602_624, 4_026_531_840, 8_858_370_048]
    assert [layer_macs(BertConfig(), count) for count in tokens] == expected


def test_the_worked_example() -> None:
    config = reduced()
    assert macs(config, 400, kept=(120, 30), mode="upstream") == 8_720_246_976
    assert macs(BertConfig(), 400, mode="upstream") == 36_922_983_936
    assert macs(config, 400, kept=(120, 30)) == 8_729_941_760
    assert macs(BertConfig(), 400) == 36_923_573_760
    assert pytest.approx(4.2342, abs=5e-5) == 36_922_983_936 / 8_720_246_976
    assert pytest.approx(4.2295, abs=5e-5) == 36_923_573_760 / 8_729_941_760


def test_upstream_is_its_formula_in_integers() -> None:
    for layers, tokens, first, second in ((12, 77, 31, 1), (12, 512, 512, 300), (6, 9, 3, 2)):
        config = compact_config(
            BertConfig(num_hidden_layers=layers, num_labels=5), token_reduction={"layers": [1, layers // 2]}
        )

        def layer(count: int) -> int:
            return 7_077_888 * count + 1536 * count**2

        expected = layer(tokens) + layer(first) * (layers // 2 - 1) + layer(second) * (layers // 2)
        expected += (first + second) * (32 * 768 + 32) + 768 * 5
        assert macs(config, tokens, kept=(first, second), mode="upstream") == expected
        again = layer(tokens) + layer(first) * (layers - 1) + 2 * first * (32 * 768 + 32) + 768 * 5
        assert macs(config, tokens, kept=(first,), mode="upstream") == again


TABLE = {
    128: (1.00, 1.87, 2.43, 2.89, 3.93, 5.28, 7.33),
    256: (1.00, 1.89, 2.46, 2.94, 3.96, 5.34, 7.51),
    512: (1.00, 1.93, 2.52, 3.01, 4.07, 5.46, 7.68),
    1024: (1.00, 2.00, 2.62, 3.15, 4.27, 5.70, 7.92),
}
SHARES = ((1, 1), (0.5, 0.5), (0.5, 0.25), (0.4, 0.2), (0.3, 0.1), (0.2, 0.05), (0.1, 0.02))


@pytest.mark.parametrize("tokens", TABLE)
def test_what_speed_up_is_possible(tokens: int) -> None:
    config = reduced(max_position_embeddings=1024)
    found = []
    for shares in SHARES:
        kept = [int(share * tokens + 0.5) for share in shares]
        found.append(round(macs(BertConfig(), tokens) / macs(config, tokens, kept=kept), 2))
    assert found == list(TABLE[tokens])


def test_the_whole_of_a_bert_base() -> None:
    for tokens, mflops in ((512, 96_637), (384, 70_666), (128, 22_347), (1024, 212_601)):
        assert 2 * macs(BertConfig(), tokens, mode="upstream") / 1e6 == pytest.approx(mflops, abs=1)
