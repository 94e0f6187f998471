"""Options that share decisions: what they have in common is skipped in all of them or in none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models.making import REDUCTION, make_compact

from bertpress.models import COMPACT
from bertpress.models.shared_choices import Shared
from bertpress.models.walks import BACKENDS, Trace

CHOICES = "ForMultipleChoice"
IDS = torch.tensor(
    [
        [2, 7, 8, 3, 9, 3, 0],
        [2, 7, 8, 3, 10, 11, 3],
        [2, 7, 9, 3, 12, 3, 0],
        [2, 7, 9, 3, 12, 13, 3],
        [2, 7, 9, 3, 3, 0, 0],
        [2, 5, 6, 3, 0, 0, 0],
    ]
)
GROUPS = torch.tensor([4, 4, 1, 1, 1, 9])


def test_what_rows_have_in_common_by_hand() -> None:
    shared = Shared.of(GROUPS, IDS, IDS != 0)
    assert shared.lengths == (4, 4, 4, 4, 4, 4), "one row alone has all in common"
    cells = shared.cell.view_as(IDS)
    assert torch.equal(cells[0, :4], cells[1, :4])
    assert torch.equal(cells[2, :4], cells[4, :4])
    assert cells[0, 1] != cells[2, 1]
    assert (cells[:, 4:] == -1).all()
    longer = Shared.of(torch.tensor([1, 1]), IDS[2:4], IDS[2:4] != 0)
    assert longer.lengths == (5, 5), "options that begin alike share that, too"


def test_means_and_sums_by_hand() -> None:
    shared = Shared.of(GROUPS, IDS, IDS != 0)
    place = (IDS != 0).flatten().nonzero()[:, 0]
    values = torch.arange(float(len(place)))
    table = torch.zeros(IDS.numel()).index_put((place,), values).view_as(IDS)
    found = torch.zeros(IDS.numel()).index_put((place,), shared.mean(values, place)).view_as(IDS)
    assert found[0, 2] == found[1, 2] == (table[0, 2] + table[1, 2]) / 2
    assert found[3, 1] == table[2:5, 1].mean()
    assert torch.equal(found[5], table[5])
    assert torch.equal(found[1, 4:], table[1, 4:])
    total = torch.zeros(IDS.numel()).index_put((place,), shared.total(values, place)).view_as(IDS)
    assert total[4, 3] == table[2:5, 3].sum()
    some = place[place % 7 != 2]  # a token that no option has any more
    assert shared.mean(torch.ones(len(some)), some).tolist() == [1.0] * len(some)


def test_padding_may_stand_on_the_left() -> None:
    valid = IDS != 0
    left = torch.stack([row.roll(int((row == 0).sum())) for row in IDS])
    moved = Shared.of(GROUPS, left, left != 0)
    expected = Shared.of(GROUPS, IDS, valid).cell.view_as(IDS)
    assert moved.lengths == (4,) * 6
    assert torch.equal(moved.cell.view_as(IDS)[left != 0], expected[valid])


def make_questions(model: Any, options: tuple[int, ...] = (3, 3), seed: int = 3) -> dict[str, torch.Tensor]:
    """(questions, options, length): each question begins with tokens of its own, and goes on with an option's."""
    generator = torch.Generator().manual_seed(seed)
    width, pad = 16, model.config.pad_token_id
    rows = []
    for number, count in enumerate(options):
        common = torch.randint(5, 50, (9 - 2 * number,), generator=generator)
        for option in range(count):
            own = torch.randint(50, 100, (3 + 2 * option,), generator=generator)
            own[0] = 60 + option
            row = torch.cat([common, own])
            rows.append(torch.cat([row, torch.full((width - len(row),), pad)]))
    ids = torch.stack(rows).view(len(options), -1, width) if len(set(options)) == 1 else torch.stack(rows)
    return {"input_ids": ids, "attention_mask": (ids != pad).long()}


def chooser(family: str = "bert", **fields: Any) -> Any:
    return make_compact(family, CHOICES, token_reduction={**REDUCTION, "shared": True, **fields})


@pytest.mark.parametrize("family", COMPACT)
@pytest.mark.parametrize("backend", BACKENDS)
def test_options_skip_the_same_tokens_and_none_of_their_own(family: str, backend: str) -> None:
    model = chooser(family)
    batch = make_questions(model)
    trace = Trace()
    with torch.no_grad():
        outputs = model(**batch, trace=trace, backend=backend)
    assert outputs.logits.shape == (2, 3)
    alive = trace.alive().view(2, 3, 16, 2)
    mask = batch["attention_mask"].bool()
    skipped = 0
    for question, common in enumerate((9, 7)):
        assert all(torch.equal(alive[question, option, :common], alive[question, 0, :common]) for option in (1, 2))
        own = mask[question].clone()
        own[:, :common] = False
        assert alive[question][own].all()
        skipped += int((~alive[question, 0, :common]).sum())
    assert 0 < skipped < 2 * 16
    scores = trace.scores().view(2, 3, 16, 2)
    assert scores[0, :, 9:].isnan().all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"shares": [0.6, 0.3]},
        {"min_keep": 5},
        {"max_keep": 3},
        {"min_tokens": 8},
        {"selector": "random", "shares": [0.5, 0.3]},
        {"selector": "first", "shares": [0.5, 0.3]},
        {"selector": "attention", "thresholds": [0.05, 0.06]},
    ],
    ids=str,
)
def test_the_order_of_questions_and_options_and_their_neighbours_change_nothing(fields: dict[str, Any]) -> None:
    """The original took the decisions of other questions where a batch had several."""
    model = chooser(**fields)
    batch = make_questions(model)
    with torch.no_grad():
        expected = model(**batch).logits
        alone = torch.cat([model(**{name: each[[row]] for name, each in batch.items()}).logits for row in (0, 1)])
        turned = model(**{name: each.flip(0, 1) for name, each in batch.items()}).logits.flip(0, 1)
        rows = {name: each.flatten(0, 1)[:, None] for name, each in batch.items()}
        by_row = model(**rows, groups=torch.tensor([5, 5, 5, 0, 0, 0])).logits.view(2, 3)
        mixed = torch.tensor([4, 0, 5, 2, 1, 3])
        shuffled = {name: each[mixed] for name, each in rows.items()}
        back = model(**shuffled, groups=torch.tensor([0, 5, 0, 5, 5, 0])).logits[torch.argsort(mixed)].view(2, 3)
        unshared = model(**rows).logits.view(2, 3)
    for found in (alone, turned, by_row, back):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(unshared, expected, atol=1e-4), "a row by itself is a question of one option"


def test_ragged_options_are_rows() -> None:
    model = chooser()
    batch = make_questions(model, (2, 4))
    groups = torch.tensor([0, 0, 1, 1, 1, 1])
    rows = {name: each[:, None] for name, each in batch.items()}
    with torch.no_grad():
        found = model(**rows, groups=groups).logits[:, 0]
        alone = [
            model(**{name: each[groups == number][None] for name, each in batch.items()}).logits[0] for number in (0, 1)
        ]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_embeddings_cannot_be_compared() -> None:
    model = chooser()
    with pytest.raises(ValueError, match="compared by their ids: give input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 4, 16))
