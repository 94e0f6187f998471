from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.losses import Projections, attention_loss, mapped_heads, mean_heads

HEADS = 3
MASK = torch.tensor([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 0]])  # padding anywhere
EXACT = ("maps", "gram")


def made(width: int, seed: int, heads: int = HEADS, length: int = 7, window: int | None = None) -> Projections:
    """Projections as models make them: heads are a transposed view."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys = (torch.randn(3, length, heads, width, generator=generator).transpose(1, 2) for _ in range(2))
    return Projections(queries, keys, width**-0.5, window)


def trained(projections: Projections) -> Projections:
    leaves = (each.detach().clone().requires_grad_() for each in (projections.queries, projections.keys))
    return Projections(*leaves, projections.scaling, projections.window)


def slices(projections: Projections, rows: slice, columns: slice = slice(None)) -> Projections:
    queries, keys = projections.queries[rows, :, columns], projections.keys[rows, :, columns]
    return dataclasses.replace(projections, queries=queries, keys=keys)


def score(projections: Projections, *place: int) -> float:
    b, h, i, j = place
    return projections.scaling * float(projections.queries[b, h, i].double() @ projections.keys[b, h, j].double())


def by_loops(
    student: Projections, teacher: Projections, mask: Tensor, window: int = 99
) -> tuple[list[float], list[int]]:
    """Sum of squared differences and number of compared scores of each example."""
    sums, counts = [0.0] * len(mask), [0] * len(mask)
    for b in range(len(mask)):
        for i, j in torch.cartesian_prod(*[torch.nonzero(mask[b]).flatten()] * 2).tolist():
            for h in range(student.queries.shape[1] if abs(i - j) <= window else 0):
                sums[b] += (score(student, b, h, i, j) - score(teacher, b, h, i, j)) ** 2
                counts[b] += 1
    return sums, counts


def gradients(loss: Any, student: Projections, *args: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    student = trained(student)
    value = loss(student, *args, **options)
    return value.detach(), *torch.autograd.grad(value, (student.queries, student.keys))


def test_the_value_of_a_case_by_hand() -> None:
    # Two tokens, one head of width 1. Student scores 2 * q k' = [[2, 6], [4, 12]], teacher [[1, 0], [0, 1]]:
    # differences 1, 6, 4, 11, squares 1 + 36 + 16 + 121 = 174, over 4 pairs.
    student = Projections(torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([[[[1.0], [3.0]]]]), 2.0)
    teacher = Projections(torch.eye(2)[None, None], torch.eye(2)[None, None], 1.0)
    for implementation in EXACT:
        assert attention_loss(student, teacher, torch.ones(1, 2), implementation=implementation) == 174 / 4


@pytest.mark.parametrize("implementation", EXACT)
def test_both_reductions_equal_loops(implementation: Any) -> None:
    student, teacher = made(4, 1), made(6, 2)
    sums, counts = by_loops(student, teacher, MASK)
    found = [attention_loss(student, teacher, MASK, kind, implementation) for kind in ("example", "tokens")]
    expected = [sum(s / n for s, n in zip(sums, counts, strict=True)) / 3, sum(sums) / sum(counts)]
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected))
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)


def test_the_published_reduction_equals_loops() -> None:
    student, teacher = made(4, 1), made(6, 2)
    student.queries[0, 0, 0] *= 500  # scores below -100, which are set to 0 like padding
    scores = [[score(student, 0, 0, 0, j), score(teacher, 0, 0, 0, j)] for j in range(7)]
    assert min(min(pair) for pair in scores) < -100
    total = 0.0
    for b, h, i, j in torch.cartesian_prod(*map(torch.arange, (3, HEADS, 7, 7))).tolist():
        pair = [score(each, b, h, i, j) + (0 if MASK[b, j] else -10_000) for each in (student, teacher)]
        total += (0 if pair[0] <= -100 else pair[0]) ** 2 if pair[1] <= -100 else 0
        total += ((0 if pair[0] <= -100 else pair[0]) - pair[1]) ** 2 if pair[1] > -100 else 0
    loss = attention_loss(student, teacher, MASK, "upstream")
    torch.testing.assert_close(loss, torch.tensor(total / (3 * HEADS * 7 * 7)))


@pytest.mark.parametrize("length", [7, 40, 300])
@pytest.mark.parametrize("reduction", ["example", "tokens"])
@pytest.mark.parametrize("near", [False, True])
def test_gram_equals_maps_in_value_and_gradient(length: int, reduction: Any, near: bool) -> None:
    """Relative to what the maps themselves amount to: where both nearly agree the difference is mostly cancelled."""
    teacher = made(16, 2, length=length)
    student = made(8, 1, length=length)
    if near:
        noise = made(16, 3, length=length)
        moved = (teacher.queries + 1e-3 * noise.queries, teacher.keys + 1e-3 * noise.keys)
        student = Projections(*moved, teacher.scaling)
    mask = torch.ones(3, length)
    mask[1, length // 3 :] = 0
    maps = gradients(attention_loss, student, teacher, mask, reduction, "maps")
    gram = gradients(attention_loss, student, teacher, mask, reduction, "gram")
    nothing = dataclasses.replace(teacher, scaling=0.0)
    norms = gradients(attention_loss, student, nothing, mask, reduction, "maps")
    assert norms[0] > 0.1
    for found, expected, norm in zip(gram, maps, norms, strict=True):
        assert (found - expected).norm() <= 1e-5 * norm.norm()


def test_gram_builds_nothing_of_length_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            sizes.extend(
                each.numel()
                for each in (result if isinstance(result, tuple | list) else [result])
                if hasattr(each, "numel")
            )
            return result

    student, teacher, mask = trained(made(4, 1, length=200)), made(6, 2, length=200), torch.ones(3, 200)
    largest = {}
    for implementation in EXACT:
        sizes.clear()
        with Sizes():
            attention_loss(student, teacher, mask, implementation=implementation).backward()  # type: ignore[arg-type]
        largest[implementation] = max(sizes)
    assert largest == {"maps": 3 * HEADS * 200 * 200, "gram": 3 * HEADS * 200 * 6}


@pytest.mark.parametrize(
    ("length", "widths", "options", "chosen"),
    [
        (128, (4, 6), {}, "maps"),
        (129, (4, 6), {}, "gram"),
        (200, (150, 150), {}, "maps"),  # Gram matrices of 150 x 150 are no smaller than maps
        (129, (4, 6), {"reduction": "upstream"}, "maps"),
    ],
)
def test_auto_takes_what_is_cheaper(
    length: int, widths: tuple[int, int], options: Any, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertpress.losses import attention

    called: list[str] = []
    for name in ("map_sums", "gram_sums", "upstream_sums"):
        kind = "gram" if name == "gram_sums" else "maps"
        original = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *args, o=original, k=kind: (called.append(k), o(*args))[1])
    attention_loss(
        made(widths[0], 1, length=length), made(widths[1], 2, length=length), torch.ones(3, length), **options
    )
    assert called == [chosen]


@pytest.mark.parametrize("implementation", EXACT)
@pytest.mark.parametrize("reduction", ["example", "tokens"])
def test_more_padding_changes_nothing(implementation: Any, reduction: Any) -> None:
    student, teacher = made(4, 1, length=12), made(6, 2, length=12)
    student.queries[:, :, 7:], teacher.keys[:, :, 7:] = torch.nan, torch.inf  # whatever stands there
    short = slice(0, 7)
    expected = gradients(
        attention_loss,
        slices(student, slice(None), short),
        slices(teacher, slice(None), short),
        MASK,
        reduction,
        implementation,
    )
    mask = torch.nn.functional.pad(MASK, (0, 5))
    found = gradients(attention_loss, student, teacher, mask, reduction, implementation)
    torch.testing.assert_close(found[0], expected[0])
    for padded, gradient in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(padded[:, :, short], gradient)
        assert not padded[:, :, 7:].any()


@pytest.mark.parametrize("reduction", ["example", "tokens", "upstream"])
@pytest.mark.parametrize("implementation", EXACT)
def test_an_example_of_padding_adds_0(implementation: Any, reduction: Any) -> None:
    if (implementation, reduction) == ("gram", "upstream"):
        implementation = "auto"
    student, teacher = made(4, 1), made(6, 2)
    mask = MASK.clone()
    mask[2] = 0
    loss, *grads = gradients(attention_loss, student, teacher, mask, reduction, implementation)
    two = attention_loss(slices(student, slice(2)), slices(teacher, slice(2)), mask[:2], reduction, implementation)
    torch.testing.assert_close(loss, two * (1 if reduction == "tokens" else 2 / 3))
    assert all(each.isfinite().all() and not each[2].any() for each in grads)
    nothing = gradients(attention_loss, student, teacher, torch.zeros_like(mask), reduction, implementation)
    assert not any(each.any() for each in nothing)


def test_one_batch_of_examples_equals_its_parts() -> None:
    student, teacher = made(4, 1), made(6, 2)
    whole = attention_loss(student, teacher, MASK)
    parts = [attention_loss(slices(student, s), slices(teacher, s), MASK[s]) for s in map(slice, range(3), range(1, 4))]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_equal_models_have_no_loss() -> None:
    same = made(6, 2)
    for reduction in ("example", "tokens", "upstream"):
        assert attention_loss(same, same, MASK, reduction, "maps") == 0  # type: ignore[arg-type]
    nothing = dataclasses.replace(same, scaling=0.0)
    norm = attention_loss(same, nothing, MASK)
    assert 0 <= attention_loss(same, same, MASK, implementation="gram") <= 1e-5 * norm


@pytest.mark.parametrize("implementation", EXACT)
def test_low_precision_is_computed_in_float32(implementation: Any) -> None:
    student, teacher = (
        Projections(each.queries.bfloat16(), each.keys.bfloat16(), each.scaling) for each in (made(4, 1), made(6, 2))
    )
    full = [Projections(each.queries.float(), each.keys.float(), each.scaling) for each in (student, teacher)]
    expected = gradients(attention_loss, full[0], full[1], MASK, "example", implementation)
    found = gradients(attention_loss, student, teacher, MASK, "example", implementation)
    assert torch.equal(found[0], expected[0])
    assert [each.dtype for each in found] == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert all(map(torch.equal, found[1:], (each.bfloat16() for each in expected[1:])))
    student = trained(full[0])
    with torch.autocast("cpu", torch.bfloat16):
        inside = attention_loss(student, full[1], MASK, "example", implementation)
    assert torch.equal(inside, expected[0])
    assert all(map(torch.equal, torch.autograd.grad(inside, (student.queries, student.keys)), expected[1:]))


@pytest.mark.parametrize("implementation", EXACT)
def test_the_teacher_gets_no_gradient_and_may_come_from_inference_mode(implementation: Any) -> None:
    student, teacher = trained(made(4, 1)), trained(made(6, 2))
    attention_loss(student, teacher, MASK, implementation=implementation).backward()
    assert student.queries.grad is not None
    assert teacher.queries.grad is None
    with torch.inference_mode():
        teacher = made(6, 2)
    attention_loss(student, teacher, MASK, implementation=implementation).backward()


# Windows


def test_a_window_compares_the_pairs_inside_of_it() -> None:
    student, teacher = made(4, 1, window=2), made(6, 2, window=3)
    sums, counts = by_loops(student, teacher, MASK, window=2)
    expected = [sum(s / n for s, n in zip(sums, counts, strict=True)) / 3, sum(sums) / sum(counts)]
    for reduction, value in zip(("example", "tokens"), expected, strict=True):
        torch.testing.assert_close(attention_loss(student, teacher, MASK, reduction), torch.tensor(value))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="no Gram form for a sliding window of 2 tokens"):
        attention_loss(student, teacher, MASK, implementation="gram")
    with pytest.raises(RequestError, match="no Gram form for reduction 'upstream'"):
        attention_loss(made(4, 1), made(6, 2), MASK, "upstream", "gram")


def test_a_window_that_reaches_everything_is_none() -> None:
    wide, none = made(4, 1, window=6), made(4, 1)
    for implementation in EXACT:
        losses = [attention_loss(each, made(6, 2), MASK, implementation=implementation) for each in (wide, none)]  # type: ignore[arg-type]
        assert torch.equal(*losses)


def test_pairs_outside_of_a_window_are_0_in_the_published_reduction() -> None:
    student, teacher = made(4, 1, window=2), made(6, 2, window=2)
    total = 0.0
    for b, h, i, j in torch.cartesian_prod(*map(torch.arange, (3, HEADS, 7, 7))).tolist():
        if MASK[b, j] and abs(i - j) <= 2:
            total += (score(student, b, h, i, j) - score(teacher, b, h, i, j)) ** 2
    loss = attention_loss(student, teacher, MASK, "upstream")
    torch.testing.assert_close(loss, torch.tensor(total / (3 * HEADS * 49)))


# Heads


def test_unequal_heads_are_refused() -> None:
    with pytest.raises(
        RequestError, match=r"3 heads and the teacher 2; .*'relation', 'mean_heads', 'head_map' or 'none'"
    ):
        attention_loss(made(4, 1), made(6, 2, heads=2), MASK)
    with pytest.raises(RequestError, match="3 heads and the teacher 1"):
        attention_loss(made(4, 1), made(6, 2, heads=1), MASK)


@pytest.mark.parametrize("implementation", EXACT)
def test_mean_heads_are_means_of_scores(implementation: Any) -> None:
    student, teacher = made(4, 1), made(6, 2, heads=2)
    maps = [each.scaling * (each.queries @ each.keys.mT).mean(1) for each in (student, teacher)]
    pairs = MASK[:, :, None] * MASK[:, None]
    expected = (((maps[0] - maps[1]) * pairs).square().sum((1, 2)) / pairs.sum((1, 2))).mean()
    found = attention_loss(mean_heads(student), mean_heads(teacher), MASK, implementation=implementation)
    torch.testing.assert_close(found, expected)


def test_mapped_heads_are_the_teacher_s_in_the_given_order() -> None:
    student, teacher = made(4, 1), made(6, 2, heads=2)
    mapped = mapped_heads(teacher, (1, 0, 1))
    sums, counts = by_loops(student, mapped, MASK)
    assert score(mapped, 0, 0, 1, 2) == score(teacher, 0, 1, 1, 2)
    expected = torch.tensor(sum(s / n for s, n in zip(sums, counts, strict=True)) / 3)
    torch.testing.assert_close(attention_loss(student, mapped, MASK), expected)
    for wrong in (2, -1):
        with pytest.raises(RequestError, match=f"names head {wrong} of the teacher, which has heads 0 to 1"):
            mapped_heads(teacher, (0, wrong, 1))
