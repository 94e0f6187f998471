from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bertpress.losses import cosine_loss, hidden_loss, normalised

MASK = torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [0, 1, 0, 1, 1]])
STUDENT, TEACHER = (torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))


def error(b: int, i: int) -> float:
    return sum((float(STUDENT[b, i, d]) - float(TEACHER[b, i, d])) ** 2 for d in range(4))


def test_the_value_of_a_case_by_hand() -> None:
    # Tokens (1, 2) against (0, 0) and (3, 3) against (3, 1): (1 + 4 + 0 + 4) / (2 tokens * 2).
    student, teacher = torch.tensor([[[1.0, 2.0], [3.0, 3.0]]]), torch.tensor([[[0.0, 0.0], [3.0, 1.0]]])
    assert hidden_loss(student, teacher, torch.ones(1, 2)) == 9 / 4


def test_reductions_equal_loops() -> None:
    tokens = [[i for i in range(5) if MASK[b, i]] for b in range(3)]
    example = sum(sum(error(b, i) for i in tokens[b]) / (4 * len(tokens[b])) for b in range(3)) / 3
    masked = sum(error(b, i) for b in range(3) for i in tokens[b]) / (4 * sum(map(len, tokens)))
    upstream = sum(error(b, i) for b in range(3) for i in range(5)) / (3 * 5 * 4)
    for kind, expected in (("example", example), ("tokens", masked), ("upstream", upstream)):
        torch.testing.assert_close(hidden_loss(STUDENT, TEACHER, MASK, kind), torch.tensor(expected))  # type: ignore[arg-type]


def test_cosine_equals_a_loop() -> None:
    total = 0.0
    for b in range(3):
        tokens = [i for i in range(5) if MASK[b, i]]
        for i in tokens:
            s, t = STUDENT[b, i].tolist(), TEACHER[b, i].tolist()
            product = sum(x * y for x, y in zip(s, t, strict=True))
            total += (1 - product / math.hypot(*s) / math.hypot(*t)) / len(tokens) / 3
    torch.testing.assert_close(cosine_loss(STUDENT, TEACHER, MASK), torch.tensor(total))


LOSSES = {
    "example": lambda *args: hidden_loss(*args, "example"),
    "tokens": lambda *args: hidden_loss(*args, "tokens"),
    "cosine": cosine_loss,
}
each_loss = pytest.mark.parametrize("name", LOSSES)


@each_loss
def test_padding_changes_nothing_whatever_it_holds(name: str) -> None:
    def run(student: Any, teacher: Any, mask: Any) -> Any:
        student = student.clone().requires_grad_()
        value = LOSSES[name](student, teacher, mask)
        return value.detach(), torch.autograd.grad(value, student)[0]

    rubbish = [torch.cat([each, torch.full((3, 2, 4), math.nan)], 1) for each in (STUDENT, TEACHER)]
    (expected, gradient), (found, padded) = (
        run(STUDENT, TEACHER, MASK),
        run(*rubbish, torch.nn.functional.pad(MASK, (0, 2))),
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(padded[:, :5], gradient)
    assert not padded[:, 5:].any()
    assert not gradient[MASK == 0].any()
    nothing, gradient = run(STUDENT, TEACHER, torch.zeros_like(MASK))
    assert nothing == 0
    assert not gradient.any()


def test_an_example_of_padding_adds_0() -> None:
    mask = MASK.clone()
    mask[1] = 0
    rest = [0, 2]
    assert hidden_loss(STUDENT, TEACHER, mask) == pytest.approx(
        float(hidden_loss(STUDENT[rest], TEACHER[rest], mask[rest])) * 2 / 3
    )


@each_loss
def test_equal_states_have_no_loss_and_no_gradient(name: str) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = LOSSES[name](student, STUDENT, MASK)
    assert loss == 0
    assert not torch.autograd.grad(loss, student)[0].any()


@each_loss
def test_low_precision_is_computed_in_float32(name: str) -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    loss = LOSSES[name](student, teacher, MASK)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, LOSSES[name](student.float(), teacher.float(), MASK))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOSSES[name](student, teacher, MASK), loss)


@each_loss
def test_the_teacher_gets_no_gradient_and_may_come_from_inference_mode(name: str) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    LOSSES[name](student, teacher, MASK).backward()
    assert student.grad is not None
    assert teacher.grad is None
    with torch.inference_mode():
        teacher = TEACHER.clone()
    LOSSES[name](student, teacher, MASK).backward()


@each_loss
def test_widths_that_differ_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(3, 5, 1\) of the student and \(3, 5, 4\) of the teacher; project"):
        LOSSES[name](STUDENT[..., :1], TEACHER, MASK)


def test_normal_forms() -> None:
    hidden = torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16)
    torch.testing.assert_close(normalised(hidden, "l2"), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(normalised(hidden, "layernorm"), torch.tensor([[-1.0, 1.0]]), atol=1e-4, rtol=0)
    assert torch.equal(normalised(hidden, "none"), hidden.float())
