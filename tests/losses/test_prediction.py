from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bertpress.errors import RequestError
from bertpress.losses import kl_divergence, logits_mse, soft_binary, soft_cross_entropy, upstream_cross_entropy

STUDENT, TEACHER = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
LOSSES: dict[str, Any] = {
    "soft_cross_entropy": soft_cross_entropy,
    "kl_divergence": kl_divergence,
    "logits_mse": logits_mse,
    "soft_binary": soft_binary,
    "upstream_cross_entropy": upstream_cross_entropy,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_losses_over_classes_equal_loops(temperature: float) -> None:
    cross_entropies, divergences = [], []
    for student, teacher in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p, q = softmax(teacher, temperature), softmax(student, temperature)
        cross_entropies.append(-sum(a * math.log(b) for a, b in zip(p, q, strict=True)))
        divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    expected, scale = torch.tensor([cross_entropies, divergences]), temperature**2
    arguments = (STUDENT, TEACHER, temperature)
    torch.testing.assert_close(soft_cross_entropy(*arguments), expected[0] * scale)
    torch.testing.assert_close(soft_cross_entropy(*arguments, scale=False), expected[0])
    torch.testing.assert_close(kl_divergence(*arguments), expected[1] * scale)
    torch.testing.assert_close(kl_divergence(*arguments, scale=False), expected[1])
    torch.testing.assert_close(upstream_cross_entropy(*arguments), expected[0] / 3)


def test_values_by_hand() -> None:
    # The teacher says 3/4 and 1/4, the student 1/2 and 1/2: cross-entropy log 2, divergence 3/4 log 3/2 + 1/4 log 1/2.
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    assert soft_cross_entropy(student, teacher).item() == pytest.approx(math.log(2))
    assert upstream_cross_entropy(student, teacher).item() == pytest.approx(math.log(2) / 2)
    assert kl_divergence(student, teacher).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert logits_mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])).item() == 2.5
    # One label: the teacher is at 3/4, the student at 1/2. Two labels, the second at 1/2 in both: log 2 each.
    assert soft_binary(student[:, :1], teacher[:, :1]).item() == pytest.approx(math.log(2))
    assert soft_binary(torch.tensor([[2.0, 0.0]]), teacher).item() == pytest.approx(
        (0.75 * math.log1p(math.exp(-2)) + 0.25 * math.log1p(math.exp(2)) + math.log(2)) / 2
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_yes_or_no_is_two_classes(temperature: float) -> None:
    pairs = [torch.stack([torch.zeros(5), logits[:, 0]], 1) for logits in (STUDENT, TEACHER)]
    expected = soft_cross_entropy(*pairs, temperature)
    torch.testing.assert_close(soft_binary(STUDENT[:, :1], TEACHER[:, :1], temperature), expected)


def test_a_divergence_is_exactly_0_for_equal_logits_and_has_the_gradient_of_the_cross_entropy() -> None:
    assert not kl_divergence(TEACHER, TEACHER, 2.0).any()
    assert not logits_mse(TEACHER, TEACHER).any()
    student = STUDENT.clone().requires_grad_()
    gradients = [
        torch.autograd.grad(loss(student, TEACHER, 2.0).sum(), student)[0]
        for loss in (kl_divergence, soft_cross_entropy)
    ]
    torch.testing.assert_close(*gradients)


@each_loss
def test_there_is_one_value_per_example_in_float32(loss: Any) -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    values = loss(student, teacher)
    assert values.shape == (5,)
    assert values.dtype == torch.float32
    assert torch.equal(values, loss(student.float(), teacher.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(student, teacher), values)
    torch.testing.assert_close(values[3:4], loss(student[3:4], teacher[3:4]))
    tokens = loss(STUDENT.view(1, 5, 3), TEACHER.view(1, 5, 3))
    torch.testing.assert_close(tokens, loss(STUDENT, TEACHER)[None])


@each_loss
def test_the_teacher_gets_no_gradient_and_may_come_from_inference_mode(loss: Any) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss(student, teacher).sum().backward()
    assert student.grad is not None
    assert teacher.grad is None
    with torch.inference_mode():
        teacher = TEACHER.clone()
    loss(student, teacher).sum().backward()


@pytest.mark.parametrize("loss", [soft_cross_entropy, kl_divergence, upstream_cross_entropy])
def test_a_softmax_over_one_class_is_refused(loss: Any) -> None:
    with pytest.raises(RequestError, match=r"one logit is always 1 .* use soft_binary .* or logits_mse"):
        loss(STUDENT[:, :1], TEACHER[:, :1])
