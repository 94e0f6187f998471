from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conftest import make_model
from torch import Tensor
from torch.nn import functional

from bertpress.engine import kernels
from bertpress.engine.kernels import CpuKernels, dropout, fastest_kernels, linear

pytestmark = pytest.mark.skipif(
    not isinstance(fastest_kernels(torch.device("cpu")), CpuKernels), reason="needs a PyTorch with oneDNN on x86"
)
INPUTS = {
    "contiguous": torch.randn(4, 7, 12),
    "transposed": torch.randn(7, 4, 12).transpose(0, 1),
    "strided": torch.randn(4, 7, 24)[..., ::2],
    "first token": torch.randn(5, 7, 12)[:, 0],
    "expanded": torch.randn(1, 12).expand(6, 12),
    "four dimensions": torch.randn(2, 3, 4, 12),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("outputs", [5, 30])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("frozen", ["nothing", "input", "weight"])
def test_linear_and_its_gradients_equal_the_stock_ones(name: str, outputs: int, with_bias: bool, frozen: str) -> None:
    def run(function: Any) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(0)
        input = INPUTS[name].clone().requires_grad_(frozen != "input")
        weight = torch.randn(outputs, 12, requires_grad=frozen != "weight")
        bias = torch.randn(outputs, requires_grad=frozen != "weight") if with_bias else None
        output = function(input, weight, bias)
        leaves = [leaf for leaf in (input, weight, bias) if leaf is not None and leaf.requires_grad]
        turned = torch.randn(*reversed(output.shape)).permute(*reversed(range(output.dim())))  # not contiguous
        return output, list(torch.autograd.grad(output, leaves, turned))

    output, gradients = run(linear)
    expected, expected_gradients = run(functional.linear)
    assert not torch.equal(output, torch.zeros_like(output))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradients, expected_gradients)


def test_dropout_keeps_the_right_share_scaled_and_drops_the_same_on_the_way_back() -> None:
    torch.manual_seed(0)
    values = torch.full((1000, 999), 2.0, requires_grad=True)
    result = dropout(values, 0.1)
    dropped = result == 0
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=3 * (0.09 / dropped.numel()) ** 0.5)
    keep = 1 - round(0.1 * 65536) / 65536
    torch.testing.assert_close(result[~dropped], torch.full_like(result[~dropped], 2 / keep))
    result.sum().backward()
    torch.testing.assert_close(values.grad, torch.where(dropped, 0.0, 1 / keep))
    columns = dropped.float().mean(0)
    assert float(columns.std()) == pytest.approx((0.09 / 1000) ** 0.5, rel=0.1), "places are independent"


def test_dropout_in_mixed_precision_scales_by_the_exact_share() -> None:
    values = torch.full((100, 99), 3.0, dtype=torch.bfloat16, requires_grad=True)
    with CpuKernels(), torch.autocast("cpu", torch.bfloat16):
        result = functional.dropout(values, 0.1)
    assert result.dtype == torch.bfloat16
    assert type(result.grad_fn).__name__ == "DropoutBackward"
    expected = (torch.tensor(3.0) / (1 - round(0.1 * 65536) / 65536)).bfloat16()
    assert set(result.flatten().tolist()) == {0.0, float(expected)}
    result.sum().backward()
    assert torch.equal(values.grad != 0, result != 0)


def test_dropout_follows_the_seed_of_torch() -> None:
    def draw() -> Tensor:
        torch.manual_seed(3)
        return dropout(torch.ones(50, 7), 0.5)

    first = draw()
    assert torch.equal(first, draw())
    assert not torch.equal(first, dropout(torch.ones(50, 7), 0.5))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.3, False)])
def test_dropout_at_its_ends_is_the_stock_one(p: float, training: bool) -> None:
    values = torch.randn(5, 6)
    assert torch.equal(dropout(values, p, training), functional.dropout(values, p, training))


def test_a_model_inside_runs_them_and_outside_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def spy(name: str, function: Any) -> Any:
        return lambda *args, **kwargs: (calls.append(name), function(*args, **kwargs))[1]

    substitutes = {stock: spy(stock.__name__, ours) for stock, ours in kernels.SUBSTITUTES.items()}
    monkeypatch.setattr(kernels, "SUBSTITUTES", substitutes)
    model = make_model(attn_implementation="eager").train()
    batch = {"input_ids": torch.randint(0, 20, (3, 9))}
    model(**batch)
    assert not calls
    with CpuKernels():
        model(**batch)
    layers = model.config.num_hidden_layers
    assert calls.count("linear") == 6 * layers + 2, "six in a layer, pooler and head"
    assert calls.count("dropout") == 3 * layers + 2, "three in a layer, embeddings and head"


def test_what_does_not_fit_goes_the_stock_way() -> None:
    weight = torch.randn(3, 4)
    with CpuKernels():
        assert functional.linear(torch.randn(4), weight).shape == (3,)
        assert functional.linear(torch.randn(0, 4), weight).shape == (0, 3)
        assert functional.linear(torch.randn(2, 4).double(), weight.double()).dtype == torch.float64
        assert functional.linear(input=torch.randn(2, 4), weight=weight).shape == (2, 3)
        with torch.autocast("cpu", torch.bfloat16):
            assert functional.linear(torch.randn(2, 4), weight).dtype == torch.bfloat16


def test_a_model_gives_the_same_logits_and_gradients() -> None:
    model = make_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    other = copy.deepcopy(model)
    batch = {"input_ids": torch.randint(0, 20, (6, 11)), "labels": torch.arange(6) % model.config.num_labels}
    model(**batch).loss.backward()
    with CpuKernels():
        outputs = other(**batch)
    outputs.loss.backward()
    for (name, ours), stock in zip(other.named_parameters(), model.parameters(), strict=True):
        assert (ours.grad is None) == (stock.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, stock.grad, rtol=1e-4, atol=1e-6)


def test_other_devices_are_left_alone() -> None:
    assert not isinstance(fastest_kernels(torch.device("cuda")), CpuKernels)


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", {"linear", "dropout"}), ("AVX2", {"dropout"})])
def test_linear_maps_stay_with_mkl_where_vectors_are_narrow(
    monkeypatch: pytest.MonkeyPatch, capability: str, expected: set[str]
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    chosen = fastest_kernels(torch.device("cpu"))
    assert isinstance(chosen, CpuKernels)
    assert {function.__name__ for function in chosen.substitutes} == expected
