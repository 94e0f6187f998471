"""Attention of rows that lie behind each other is that of each row alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from bertpress.models import packed_attention
from bertpress.models.packed_attention import Received, Span, attend, spans_of

MODULE = torch.nn.Identity()


def made(*shape: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(shape, generator=generator) for _ in range(3))


def test_spans_join_equal_neighbours() -> None:
    assert spans_of((2, 2, 3, 1, 1)) == (Span(0, 2, 2), Span(4, 1, 3), Span(7, 2, 1))


@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_rows_see_themselves_alone(dropout: float) -> None:
    query, key, value = made(1, 2, 9, 4)
    received = Received()
    found, _ = attend(MODULE, query, key, value, None, dropout, spans=spans_of((2, 2, 5)), received=received)
    assert found.shape == (1, 9, 2, 4)
    for first, last in ((0, 2), (2, 4), (4, 9)):
        part = [tensor[:, :, first:last] for tensor in (query, key, value)]
        expected = functional.scaled_dot_product_attention(*part).transpose(1, 2)
        torch.testing.assert_close(found[:, first:last], expected, atol=1e-6, rtol=1e-5)
        weights = torch.softmax(part[0] @ part[1].mT / 2, -1)
        torch.testing.assert_close(received.share[first:last], weights.mean((0, 1, 2)), atol=1e-6, rtol=1e-5)


def test_what_padding_receives_is_nothing() -> None:
    query, key, value = made(2, 3, 4, 8)
    valid = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    received = Received()
    attend(MODULE, query, key, value, valid[:, None, None].expand(-1, 1, 4, -1), received=received)
    assert received.share[0, 3] == 0
    torch.testing.assert_close(received.share.sum(1), torch.ones(2))
    alone = Received()
    short = [tensor[:1, :, :3] for tensor in (query, key, value)]
    attend(MODULE, *short, None, received=alone)
    torch.testing.assert_close(received.share[0, :3], alone.share[0])


def test_a_key_s_weight_counts_in_the_softmax_and_has_a_gradient() -> None:
    query, key, value = made(1, 1, 3, 4)
    ones = torch.ones(1, 3, requires_grad=True)
    plain, _ = attend(MODULE, query, key, value, None)
    found, _ = attend(MODULE, query, key, value, None, key_weights=ones)
    torch.testing.assert_close(found, plain)
    found.sum().backward()
    assert ones.grad is not None
    assert ones.grad.abs().sum() > 0
    without, _ = attend(MODULE, query, key, value, None, key_weights=torch.tensor([[1.0, 1.0, 0.0]]))
    shorter, _ = attend(MODULE, query, key[:, :, :2], value[:, :, :2], None)
    torch.testing.assert_close(without, shorter)


@pytest.mark.parametrize(
    ("width", "dtype", "capability", "fits"),
    [
        (64, torch.bfloat16, (8, 0), True),
        (64, torch.float16, (7, 5), False),
        (26, torch.bfloat16, (9, 0), False),
        (64, torch.float32, (9, 0), False),
    ],
)
def test_the_kernel_for_unequal_rows_is_called_where_it_runs(
    width: int, dtype: torch.dtype, capability: tuple[int, int], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its limits as they are written down; no GPU is asked."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    query: Any = SimpleNamespace(device=torch.device("cuda"), dtype=dtype, shape=(1, 2, 5, width))
    assert packed_attention._has_varlen(query) is fits
