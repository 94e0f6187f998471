"""A step of TR-BERT's policy phase: one pass for eight rollouts against eight passes, and against the original's way.

MiniLM on MRPC, policies as they begin (every decision keeps half of the tokens). `shared`: what lies below the first
decision is computed once, and the rollouts go on together, packed. `separate`: eight packed passes. `original's
arrangement`: rows padded to 128 and repeated eight times, skipped tokens computed and hidden. All take turns on the
same rows with the same draws. The theoretical ratio counts multiply-adds of the tokens that were kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from interleave import minilm, mrpc
from results import arguments, write_result
from torch import Tensor

from bertpress.encoders.compact import compact
from bertpress.engine.kernels import fastest_kernels
from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.reinforced import Reinforced
from bertpress.methods.trbert.rewards import advantages, policy_loss
from bertpress.methods.trbert.sampling import Rollouts, Sampled
from bertpress.methods.trbert.steps import freeze
from bertpress.models.walks import Masked
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.task import Task

ROLLOUTS, BATCH, PADDED = 8, 32, 128
METHOD = TrBert(rollouts=ROLLOUTS, alpha=1.0)
Batch = Mapping[str, Tensor]


def objective(task: Task) -> Reinforced:
    """Our policy phase on a frozen MiniLM."""
    model = minilm(task)
    layers = METHOD.layers_of(model.config.num_hidden_layers)
    reduced = compact(model, token_reduction=METHOD.settings(layers))
    freeze(reduced)
    made = Reinforced(reduced, task, METHOD, seed=1, phase="policy")
    made.train()
    return made


def shared(ours: Reinforced, batch: Batch) -> None:
    """As the engine does it."""
    ours.training_loss(batch).backward()  # type: ignore[no-untyped-call]


def passes(ours: Reinforced, batch: Batch, count: int, kind: str) -> None:
    """All rollouts in `count` passes, each from the first layer on."""
    each = ROLLOUTS // count
    drawn = ours.drawn(batch, ROLLOUTS)
    repeated = {name: value.repeat(each, *[1] * (value.dim() - 1)) for name, value in batch.items()}
    nll, rewards = [], []
    for turn in range(count):
        cells = each * batch["input_ids"].numel()
        sampled = Sampled(
            ours.rules(repeated),
            lambda decision, at=turn * cells, size=cells: drawn(decision)[at : at + size],  # type: ignore[misc]
        )
        packed = kind == "packed"
        walk = ours.walk(Rollouts if packed else Masked, repeated, sampled, **({"rollouts": 1} if packed else {}))
        losses = ours.task.example_losses(ours.task.forward(ours.model, repeated, walk=walk), repeated)
        rewards.append((-losses - ours.priced(repeated, sampled.kept)).unflatten(0, (each, -1)))
        nll.append(torch.stack(sampled.nll).sum(0).unflatten(0, (each, -1)))
    policy_loss(advantages(torch.cat(rewards), "loo"), torch.cat(nll)).backward()  # type: ignore[no-untyped-call]


def widened(task: Task, batch: Batch) -> dict[str, Tensor]:
    """The batch padded as the original does."""
    room = PADDED - batch["input_ids"].shape[1]
    grown = {name: torch.nn.functional.pad(batch[name], (0, room)) for name in task.inputs if name in batch}
    return {**batch, **grown}


def theory(ours: Reinforced) -> float:
    """Multiply-adds of separate passes over those of the shared one, from the shares kept since the last call."""
    kept = ours.means.take()
    lengths = torch.tensor([float(PADDED)], dtype=torch.float64)
    shares = torch.tensor([[kept[f"kept_{step}"] for step in range(ours.decisions)]], dtype=torch.float64)
    each = float(ours.costs.share(lengths, lengths[:, None] * shares))
    below = min(ours.costs.layers) / len(ours.costs.linear)
    return ROLLOUTS * each / (ROLLOUTS * each - (ROLLOUTS - 1) * below)


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=1)
    quieten()
    task = mrpc()
    ours, rows = objective(task), task.encoded("train")
    sides: dict[str, Callable[[Batch], None]] = {
        "shared": lambda batch: shared(ours, batch),
        "separate": lambda batch: passes(ours, batch, ROLLOUTS, "packed"),
        "original's arrangement": lambda batch: passes(ours, widened(task, batch), 1, "masked"),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    generator = np.random.default_rng(1)
    for turn in range(options.rounds + 1):
        chosen = generator.permutation(len(rows))[:BATCH].tolist()
        batch = task.collate([rows[row] for row in chosen])
        names = list(sides)
        for side in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.perf_counter()
            with fastest_kernels(torch.device("cpu")):
                for _ in range(options.steps):
                    sides[side](batch)
            if turn:  # the first round warms up
                seconds[side].append(time.perf_counter() - began)
    expected = theory(ours)
    found = []
    for side, times in seconds.items():
        ratio, low, high = ratio_interval(times, seconds["shared"])
        found.append(
            {"side": side, "ms_per_step": 1000 * median_interval(np.array(times) / options.steps)[0]}
            | {"times_as_long": ratio, "low": low, "high": high, "rounds": options.rounds}
            | {"in theory": {"shared": 1.0, "separate": expected}.get(side, "-")}
        )
    claims = {"trbert-rollouts": ratio_interval(seconds["separate"], seconds["shared"])}
    write_result("rollouts", "python benchmarks/rollouts.py", found, claims, options.out)


if __name__ == "__main__":
    main()
