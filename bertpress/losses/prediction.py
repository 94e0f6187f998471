"""Logits against logits, one value per example: what a task's head says, for the caller to average or to weight.

A temperature t softens both sides. Gradients then shrink by t squared, so the losses are multiplied by it (Hinton et
al., arXiv 1503.02531, section 2); `scale=False` leaves that out. Teachers get no gradient.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from bertpress.errors import RequestError


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, scale: bool = True
) -> Tensor:
    """Cross-entropy of the student's classes against the teacher's; (..., classes) give (...).

    At its least it is the entropy of the teacher's classes; `kl_divergence` has the same gradient and ends at 0.

    Raises:
        RequestError: a single class.
    """
    student, teacher = _log_classes(student_logits, teacher_logits, temperature)
    return -(teacher.exp() * student).sum(-1) * _factor(temperature, scale)


def kl_divergence(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, scale: bool = True
) -> Tensor:
    """Divergence of the student's classes from the teacher's, 0 if equal; (..., classes) give (...).

    Raises:
        RequestError: a single class.
    """
    student, teacher = _log_classes(student_logits, teacher_logits, temperature)
    divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    return divergence * _factor(temperature, scale)


def logits_mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean over outputs of the squared difference, for classes and for scores; (..., outputs) give (...)."""
    return (student_logits.float() - teacher_logits.detach().float()).square().mean(-1)


def soft_binary(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, scale: bool = True) -> Tensor:
    """Binary cross-entropy, mean over labels, for logits that each stand for a yes or no; (..., labels) give (...).

    A logit z is what two classes with logits 0 and z are to `soft_cross_entropy`, at every temperature.
    """
    expected = (teacher_logits.detach().float() / temperature).sigmoid()
    losses = functional.binary_cross_entropy_with_logits(
        student_logits.float() / temperature, expected, reduction="none"
    )
    return losses.mean(-1) * _factor(temperature, scale)


def upstream_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """The loss of TinyBERT's published code: divided by the number of classes, not scaled by the temperature.

    With many classes it is small, and so is its gradient. To reproduce, not to use.

    Raises:
        RequestError: a single class.
    """
    losses = soft_cross_entropy(student_logits, teacher_logits, temperature, scale=False)
    return losses / student_logits.shape[-1]


def _log_classes(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logarithms of both models' classes at a temperature, in float32."""
    if student_logits.shape[-1] == 1:
        raise RequestError(
            "A softmax over one logit is always 1 and has no gradient; "
            "use soft_binary (yes or no) or logits_mse (a score)."
        )
    student = (student_logits.float() / temperature).log_softmax(-1)
    return student, (teacher_logits.detach().float() / temperature).log_softmax(-1)


def _factor(temperature: float, scale: bool) -> float:
    return temperature**2 if scale else 1.0
