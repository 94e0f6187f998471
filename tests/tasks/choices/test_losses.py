from __future__ import annotations

import math

import pytest
import torch

from bertpress.losses import kl_divergence, logits_mse, soft_cross_entropy
from bertpress.tasks.choices.losses import choice_distances, choice_losses
from bertpress.tasks.grouping import questions_of

RECORDS = torch.tensor([7, 3, 7, 7, 3, 9])
ROWS = torch.tensor([10, 4, 12, 11, 5, 20])
LABELS = torch.tensor([0, 1, 0, 1, 0, 0])
SCORES = torch.tensor([1.0, -0.5, 2.0, 0.5, 0.25, 3.0])


def test_rows_of_a_question_have_its_number_and_copies_are_others():
    found = questions_of(RECORDS, ROWS).tolist()
    assert found == [1, 0, 1, 1, 0, 2]
    twice = questions_of(RECORDS.repeat(2), ROWS.repeat(2)).tolist()
    assert len(set(twice)) == 6
    assert not set(twice[:6]) & set(twice[6:])


def test_every_option_has_the_loss_of_its_question():
    found = choice_losses(SCORES, LABELS, questions_of(RECORDS, ROWS)).tolist()
    of_7 = math.log(sum(map(math.exp, (1.0, 2.0, 0.5)))) - 0.5
    of_3 = math.log(sum(map(math.exp, (-0.5, 0.25)))) + 0.5
    assert found == pytest.approx([of_7, of_3, of_7, of_7, of_3, 0.0])


def test_a_question_without_its_right_option_learns_nothing_and_others_are_not_touched():
    scores = SCORES.clone().requires_grad_()
    choice_losses(scores, LABELS, questions_of(RECORDS, ROWS)).sum().backward()
    assert scores.grad[5] == 0
    assert scores.grad[[0, 2, 3]].sum().abs() < 1e-6
    assert scores.grad[3] < 0 < scores.grad[2]
    far = torch.tensor([1e4, -1e4, 0.0])
    assert choice_losses(far, torch.tensor([0, 1, 0]), torch.zeros(3)).tolist() == [2e4] * 3


@pytest.mark.parametrize("loss", [soft_cross_entropy, kl_divergence, logits_mse])
def test_distances_are_those_of_each_question_alone(loss):
    teacher = SCORES.flip(0)
    found = choice_distances(SCORES, teacher, questions_of(RECORDS, ROWS), loss)
    assert found[5] == 0, "one option alone is chosen whatever its score is"
    for rows in ([0, 2, 3], [1, 4]):
        alone = loss(SCORES[rows][None], teacher[rows][None])
        torch.testing.assert_close(found[rows], alone.expand(len(rows)))
