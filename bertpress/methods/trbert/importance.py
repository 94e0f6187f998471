"""Which tokens the loss of the full model depends on, at each decision (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bertpress import draws
from bertpress.encoders import encoder_of
from bertpress.engine.evaluation import pieces_of
from bertpress.errors import RequestError
from bertpress.models.walks import Trace
from bertpress.tasks.rows import groups_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from bertpress.methods.trbert import TrBert
    from bertpress.methods.trbert.artefacts import Floats
    from bertpress.tasks.task import Task

BATCH = 16


def gradient_scores(gradient: Tensor, reference: Tensor, states: Sequence[Tensor]) -> Tensor:
    """(decisions, rows, length): how far the loss moves if a token stays as it is before a decision, to first order.

    Args:
        gradient: (rows, length, hidden size) of the loss to the states before the reference layer.
        reference: these states.
        states: of each decision, the states before it.
    """
    return torch.stack([(gradient * (reference - before)).sum(-1).abs() for before in states])


@contextmanager
def states_before(
    model: PreTrainedModel, layers: Sequence[int], leaf: int | None = None
) -> Iterator[dict[int, Tensor]]:
    """While entered, a forward pass puts the states before these layers (1 and on) into a dictionary.

    Args:
        leaf: the states before this layer are made a leaf, to which a gradient can be asked for.
    """
    found: dict[int, Tensor] = {}
    modules = list(encoder_of(model.config).layer_list(model).children())

    def remember(layer: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            states: Tensor = output[0] if isinstance(output, tuple) else output
            if layer == leaf:
                states = states.detach().requires_grad_()
            found[layer] = states
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return hook

    handles = [modules[layer - 1].register_forward_hook(remember(layer)) for layer in set(layers)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def scores_of_rows(model: PreTrainedModel, task: Task, method: TrBert, positions: Sequence[int]) -> list[Floats]:
    """For each of these training rows (decisions, length), in their order; the model is in eval mode and frozen.

    Args:
        model: the full one; for importance by attention a compact one that skips nothing but looks at it.
    """
    encoded = task.encoded("train")
    depth = encoder_of(model.config).depth(model.config)
    layers = method.layers_of(depth)
    result: dict[int, Floats] = {}
    wanted = np.asarray(positions)
    lengths = np.asarray(encoded["length"][:])
    groups = groups_of(encoded, task.together)
    for piece in pieces_of(lengths[wanted], BATCH, None if groups is None else groups[wanted]):
        chosen = wanted[piece].tolist()
        rows = [encoded[position] for position in chosen]
        batch = {name: value.to(model.device) for name, value in task.collate(rows).items()}
        scores = _scores(model, task, method, batch, layers, depth).float().cpu().numpy()
        for index, position in enumerate(chosen):
            result[position] = scores[:, index, : lengths[position]]
    return [result[position] for position in positions]


def _scores(
    model: PreTrainedModel,
    task: Task,
    method: TrBert,
    batch: Mapping[str, Tensor],
    layers: list[int],
    depth: int,
) -> Tensor:
    """(decisions, rows, length)."""
    if method.importance == "random":
        shape = batch["input_ids"].shape
        drawn = [draws.uniform((step,), batch["row"].cpu().numpy(), shape[1]) for step in range(len(layers))]
        return torch.from_numpy(np.stack(drawn))
    if method.importance == "attention":
        trace = Trace()
        with torch.no_grad():
            task.forward(model, batch, trace=trace)
        return trace.scores().permute(2, 0, 1)
    at = method.reference_layer(depth)
    with states_before(model, [*layers, at], leaf=at) as found:
        outputs = task.forward(model, batch)
        before = [found[layer] for layer in layers]
        if method.importance == "norm":
            return torch.stack([(found[at] - states).norm(dim=-1) for states in before]).detach()
        loss = _loss(task, outputs, batch)
        (gradient,) = torch.autograd.grad(loss, found[at])
    return gradient_scores(gradient, found[at].detach(), before).detach()


def _loss(task: Task, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Sum over the rows, so that a row's gradient does not depend on the others; without labels, of its own answer.

    Raises:
        RequestError: neither labels nor classes.
    """
    if "labels" in batch:
        return task.example_losses(outputs, batch).sum()
    answers = []

    def own_answer(logits: Tensor, given: Tensor) -> Tensor:
        """(rows,) negative log-likelihood of the class that the given logits are largest for."""
        answers.append(given)
        return functional.cross_entropy(logits.float(), given.argmax(-1), reduction="none")

    total = task.distillation_losses(outputs.logits, outputs.logits.detach(), batch, own_answer).sum()
    if not answers:  # a score or a vector is at no distance from itself
        raise RequestError(
            f"importance gradient needs labels or classes, and {task.name} has neither; set importance to attention, "
            "norm or random."
        )
    return total
