"""The distribution over sub-networks, and how it learns from the losses of some of them.

Independent categorical variables: the depth, then the slots of the space. Samples are ranked by their losses, and the
probabilities take a natural-gradient step towards the better ones. The update is the one of ASNG-NAS (Akimoto et al.,
"Adaptive Stochastic Natural Gradient Method for One-Shot Neural Architecture Search", ICML 2019), which YOCO-BERT
(arXiv 2106.02435) uses without its adapted step.

How we differ from the code of YOCO-BERT: the step is adapted unless that is switched off; a variable learns only from
samples in which it decided something; ties are found whatever the losses' sign and size; floors exist for every space;
the entropy that decides about exploring is the mean one, not that of the mean.

Probabilities are an array (variables, most options), float64, 0 past each variable's own number of options.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bertpress.methods.yoco.space import UNUSED, Choice

Floats = NDArray[np.float64]
Schedule = Literal["entropy", "upstream", "constant", "off"]
SENSITIVITY = 1.5
"""alpha of ASNG: the larger, the longer the steps stay long"""
STILL = 1e-10
"""a gradient whose norm is below this is round-off; divided by its norm it would become a step like any other"""


def rank_utility(losses: ArrayLike, rho: float = 0.25) -> Floats:
    """+1/mu for the mu best losses, -1/mu for the mu worst, 0 between; mu = ceil(rho * samples); ties share the mean.

    Args:
        losses: (samples,) finite; lower is better.
    """
    values = np.asarray(losses, dtype=np.float64)
    count = len(values)
    best = math.ceil(count * rho)
    places = np.arange(count)
    signs = (places < best).astype(np.int64) - (places >= count - best)
    order = np.argsort(values, kind="stable")
    utilities = np.zeros(count)
    start = 0
    for end in range(1, count + 1):
        if end == count or not _tie(values[order[start]], values[order[end]]):
            # whole numbers are added up, so that a group of all is exactly 0
            utilities[order[start:end]] = signs[start:end].sum() / (best * (end - start))
            start = end
    return utilities


def _tie(one: float, other: float) -> bool:
    return bool(abs(other - one) <= 1e-12 * max(1.0, abs(one)))


def natural_gradient(theta: Floats, choices: Sequence[Choice], utilities: Floats) -> Floats:
    """(variables, options): mean over samples of weight * (one-hot choice - probabilities).

    A variable learns from the samples in which it is used, whose utilities less their mean are the weights; so with one
    of them, as with none, it does not move.
    """
    picks = np.asarray(choices)  # (samples, variables)
    used = picks != UNUSED
    counts = used.sum(0)
    means = np.where(used, utilities[:, None], 0.0).sum(0) / np.maximum(counts, 1)
    weights = np.where(used, utilities[:, None] - means, 0.0)
    chosen = picks[..., None] == np.arange(theta.shape[1])
    return np.asarray((weights[..., None] * (chosen - theta)).sum(0) / len(picks))


def fisher_norm(theta: Floats, gradient: Floats) -> float:
    """Length of a gradient under the Fisher metric: the root of the sum of gradient^2 / theta."""
    return float(np.sqrt((gradient**2 / np.where(theta > 0, theta, 1.0)).sum()))


def fisher_root(theta: Floats, gradient: Floats, sizes: Sequence[int]) -> Floats:
    """The gradient times a root of the Fisher matrix in the first K - 1 coordinates of every variable of K options.

    Returns:
        (sum of K - 1,), whose plain length is `fisher_norm`.
    """
    coordinates = []
    for row, slope, size in zip(theta, gradient, sizes, strict=True):
        root, last, slope = np.sqrt(row[: size - 1]), row[size - 1], slope[: size - 1]
        coordinates.append(slope / root + root * slope.sum() / (last + np.sqrt(last)))
    return np.concatenate(coordinates)


def uniform(sizes: Sequence[int]) -> Floats:
    """Equal probabilities for the options of every variable."""
    counts = np.asarray(sizes)[:, None]
    return np.where(np.arange(max(sizes)) < counts, 1 / counts, 0.0)


def floors(sizes: Sequence[int]) -> Floats:
    """(variables,) least probability of an option: 1 / (D (K - 1)) for D variables with a choice, at most 0.5 / K.

    The second is ours: without it the floors of small spaces leave no room above them.
    """
    deciding = sum(size > 1 for size in sizes)
    return np.array([min(1 / (deciding * (size - 1)), 0.5 / size) if size > 1 else 0.0 for size in sizes])


def project(theta: Floats, sizes: Sequence[int]) -> Floats:
    """Probabilities no lower than the floors: what lies above them is scaled so that every variable sums to 1."""
    counts, low = np.asarray(sizes)[:, None], floors(sizes)[:, None]
    real = np.arange(theta.shape[1]) < counts
    above = np.where(real, np.maximum(theta - low, 0.0), 0.0)
    return np.where(real, low + (1 - counts * low) * above / above.sum(1, keepdims=True), 0.0)


def entropies(theta: Floats) -> Floats:
    """(rows,) in nats."""
    return np.asarray(-(theta * np.log(np.where(theta > 0, theta, 1.0))).sum(-1))


def entropy_share(theta: Floats, sizes: Sequence[int]) -> float:
    """Entropy of all variables as a share of the largest that it can be; 1 where nothing is to be chosen."""
    most = sum(map(math.log, sizes))
    return float(entropies(theta).sum() / most) if most else 1.0


def upstream_entropy_share(theta: Floats, sizes: Sequence[int]) -> float:
    """The same as the code of YOCO-BERT has it: entropy of the depth, and of the mean of the slots' probabilities.

    Slots that are each sure of another option count as unsure, so this stays high where `entropy_share` falls.
    """
    deciding = [slot for slot, size in enumerate(sizes) if slot > 0 and size > 1]
    most = math.log(sizes[0]) + math.log(max((sizes[slot] for slot in deciding), default=1))
    mean = theta[deciding].mean(0, keepdims=True) if deciding else theta[:0]
    return float((entropies(theta[:1]).sum() + entropies(mean).sum()) / most) if most else 1.0


def exploit_probability(share: float, schedule: Schedule, low: float = 0.1, high: float = 0.9) -> float:
    """How probable it is to draw from what was learned rather than uniformly.

    Args:
        share: `entropy_share`; for the schedule upstream `upstream_entropy_share`. It falls as more is learned.
        schedule: `entropy` is the share from low to high, so that neither source disappears; `upstream` the share as
            it is; `constant` is high, where `entropy` begins; `off` is 1: nothing is explored.
    """
    return {"entropy": min(max(share, low), high), "upstream": share, "constant": high, "off": 1.0}[schedule]


class Distribution:
    """Probabilities that learn, and the state of their step.

    Args:
        sizes: options of each variable.
        theta: where to begin; uniform without it.
        adapt: the step shrinks when updates contradict each other and grows back when they agree (ASNG); else all
            updates have the same one.
        step: the first step, or the fixed one; of its size in the Fisher metric is every update.
    """

    def __init__(self, sizes: Sequence[int], theta: Floats | None = None, adapt: bool = True, step: float = 1.0):
        self.sizes, self.adapt, self.step = tuple(sizes), adapt, step
        self.theta = uniform(sizes) if theta is None else project(theta, sizes)
        self.s = np.zeros(sum(size - 1 for size in sizes))
        self.gamma = 0.0
        self.spread = 1.0
        """Delta of ASNG: the step is divided by it"""

    def update(self, choices: Sequence[Choice], losses: ArrayLike) -> bool:
        """Learn from samples of one comparison; whether anything moved.

        Nothing does if a loss is not finite, if all are equal, or if the samples do not differ.
        """
        values = np.asarray(losses, dtype=np.float64)
        if not np.isfinite(values).all():
            return False
        gradient = natural_gradient(self.theta, choices, rank_utility(values))
        norm = fisher_norm(self.theta, gradient)
        if norm < STILL:
            return False
        delta = self.step
        if self.adapt:
            delta /= self.spread
            self._adapt(delta, fisher_root(self.theta, gradient, self.sizes) / norm)
        self.theta = project(self.theta + delta / (norm + 1e-8) * gradient, self.sizes)
        return True

    def _adapt(self, delta: float, direction: Floats) -> None:
        rate = min(1.0, delta / math.sqrt(len(self.s)))
        self.s = (1 - rate) * self.s + math.sqrt(rate * (2 - rate)) * direction
        self.gamma = (1 - rate) ** 2 * self.gamma + rate * (2 - rate)
        agreement = float(self.s @ self.s) / SENSITIVITY
        # At least 1: without it steps grow beyond the first one where updates agree for long.
        self.spread = max(1.0, self.spread * math.exp(rate * (self.gamma - agreement)))

    def mode(self) -> Choice:
        """The most probable option of every variable, whether or not the depth uses it."""
        return tuple(int(row[:size].argmax()) for row, size in zip(self.theta, self.sizes, strict=True))

    def entropy_share(self, schedule: Schedule = "entropy") -> float:
        """What `exploit_probability` wants to know for that schedule."""
        measure = upstream_entropy_share if schedule == "upstream" else entropy_share
        return measure(self.theta, self.sizes)

    def to_arrays(self) -> dict[str, Floats]:
        """Everything that changes, in shapes that never do."""
        state = {"theta": self.theta, "s": self.s, "gamma": np.array(self.gamma), "spread": np.array(self.spread)}
        return {name: array.copy() for name, array in state.items()}

    def load_arrays(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Go on where `to_arrays` was called.

        Raises:
            ValueError: the arrays are those of other variables.
        """
        own = self.to_arrays()
        given = {name: np.array(arrays[name], dtype=np.float64) for name in own}
        if wrong := [name for name in own if own[name].shape != given[name].shape]:
            raise ValueError(f"expected {wrong[0]} of shape {own[wrong[0]].shape}, got {given[wrong[0]].shape}")
        self.theta, self.s = given["theta"], given["s"]
        self.gamma, self.spread = float(given["gamma"]), float(given["spread"])

    def copy(self) -> Distribution:
        """One that learns on its own from here."""
        return copy.deepcopy(self)
