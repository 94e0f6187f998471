from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.losses import (
    check_relation_heads,
    default_relation_heads,
    joined_heads,
    relation_loss,
    valid_relation_heads,
)

MASK = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1]])
STUDENT, TEACHER = (torch.randn(3, 6, width, generator=torch.Generator().manual_seed(width)) for width in (8, 12))


def relations(vectors: Tensor, heads: int) -> Tensor:
    """(heads, tokens, tokens) of one sequence without padding, from the definition."""
    width = vectors.shape[1] // heads
    parts = [vectors[:, head * width : (head + 1) * width] for head in range(heads)]
    return torch.stack([(part @ part.T / math.sqrt(width)).softmax(-1) for part in parts])


def by_sequence(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    losses = []
    for row, real in enumerate(mask.bool()):
        t, s = relations(teacher[row, real].double(), heads), relations(student[row, real].double(), heads)
        losses.append((t * (t / s).log()).sum() / (heads * int(real.sum())))
    return torch.stack(losses).mean().float()


def test_the_value_of_a_case_by_hand() -> None:
    # One head of width 1. The student's vectors are 0: relations 1/2. The teacher's are 0 and a with a * a = log 3:
    # relations (1/2, 1/2) and (1/4, 3/4). KL 0 and 1/4 log(1/2) + 3/4 log(3/2), over two tokens.
    teacher = torch.tensor([[[0.0], [math.sqrt(math.log(3))]]])
    expected = (0.25 * math.log(0.5) + 0.75 * math.log(1.5)) / 2
    assert relation_loss(torch.zeros(1, 2, 1), teacher, torch.ones(1, 2), 1).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_equals_a_loop_over_sequences(heads: int) -> None:
    student, other = (STUDENT.clone().requires_grad_() for _ in range(2))
    found, expected = relation_loss(student, TEACHER, MASK, heads), by_sequence(other, TEACHER, MASK, heads)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss, leaf in ((found, student), (expected, other))]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_padding_changes_nothing_whatever_it_holds() -> None:
    def run(student: Any, teacher: Any, mask: Any) -> Any:
        student = student.clone().requires_grad_()
        loss = relation_loss(student, teacher, mask, 2)
        return loss.detach(), torch.autograd.grad(loss, student)[0]

    rubbish = [torch.cat([each, torch.full((3, 2, each.shape[-1]), math.nan)], 1) for each in (STUDENT, TEACHER)]
    (expected, gradient), (found, padded) = (
        run(STUDENT, TEACHER, MASK),
        run(*rubbish, torch.nn.functional.pad(MASK, (0, 2))),
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(padded[:, :6], gradient)
    assert not padded[:, 6:].any()
    mask = MASK.clone()
    mask[0] = 0
    loss, gradient = run(STUDENT, TEACHER, mask)
    torch.testing.assert_close(loss, by_sequence(STUDENT[1:], TEACHER[1:], MASK[1:], 2) * 2 / 3)
    assert not gradient[0].any()


def test_equal_vectors_have_no_loss() -> None:
    assert relation_loss(TEACHER, TEACHER, MASK, 4) == 0


def test_low_precision_is_computed_in_float32() -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    expected = relation_loss(student.float(), teacher.float(), MASK, 2)
    assert torch.equal(relation_loss(student, teacher, MASK, 2), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(relation_loss(student.float(), teacher.float(), MASK, 2), expected)


def test_the_teacher_gets_no_gradient_and_may_come_from_inference_mode() -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    relation_loss(student, teacher, MASK, 2).backward()
    assert student.grad is not None
    assert teacher.grad is None
    with torch.inference_mode():
        teacher = TEACHER.clone()
    relation_loss(student, teacher, MASK, 2).backward()


def test_joined_heads_are_what_the_projection_gave() -> None:
    projected = torch.randn(2, 5, 12)
    assert torch.equal(joined_heads(projected.view(2, 5, 3, 4).transpose(1, 2)), projected)


@pytest.mark.parametrize(
    ("widths", "layers", "expected"),
    [((768, 384), 12, 48), ((768, 312), 12, 24), ((1024, 384), 24, 64), ((1024, 384), 12, 32), ((768, 768), 12, 48)],
)
def test_default_relation_heads(widths: tuple[int, int], layers: int, expected: int) -> None:
    assert default_relation_heads(*widths, layers) == expected


def test_relation_heads_that_do_not_divide_both_widths_are_refused() -> None:
    assert valid_relation_heads(768, 312) == [1, 2, 3, 4, 6, 8, 12, 24]
    for wrong in (48, 0, 5):
        with pytest.raises(
            RequestError, match=r"teacher \(768\) and student \(312\); use one of 1, 2, 3, 4, 6, 8, 12, 24\."
        ):
            check_relation_heads(wrong, 768, 312)
    with pytest.raises(
        RequestError, match=r"relation_heads 3 .* teacher \(12\) and student \(8\); use one of 1, 2, 4\."
    ):
        relation_loss(STUDENT, TEACHER, MASK, 3)
