"""The update of YOCO-BERT's distribution, and searches below a limit, on objectives that cost nothing to evaluate.

Optimisers: 13 variables of the default space of BERT-base (4 depths, 12 options in each of 12 layers), every one of
which counts. Either a hidden target is to be matched, or random numbers are added up, one for each option of each
variable, uniform and scaled to 0 for the worst sum and 1 for the best. Samples are compared in pairs, with noise or
without. The mode is scored at the end without noise, for random search the best network of all that it saw, which under
noise it could not tell: this reading, and that the numbers are uniform, follow from the reference's own random search.

Searches: parameters of the backbone are limited. A network's score is 50 points for all layers, in proportion, and 50
points times the weighted mean of sqrt(heads / 12) and sqrt(width / 3072) over the layers that it has, whose weights,
from 0.5 to 1.5, are drawn for each instance. So it is concave in every width, and depth pays.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import RESULTS, Interval, write_result
from transformers import BertConfig

from bertpress.methods.yoco.costs import Additive, extremes
from bertpress.methods.yoco.distribution import Distribution
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.sampling import Draws, Window
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.methods.yoco.strategies import MUTATION, PARENTS, EeSng, Evolution, RandomFeasible, Strategy
from bertpress.methods.yoco.sums import pick

Generator = np.random.Generator
Score = Callable[[Choice], float]
SIZES = (4, *[12] * 12)
OPTIMISERS: dict[str, dict[str, Any]] = {
    "step 1": {"adapt": False, "step": 1.0},
    "adapted": {"adapt": True},
    "step 0.3": {"adapt": False, "step": 0.3},
}
PROBLEMS: dict[str, tuple[str, float, int, float]] = {  # kind, noise, evaluations, tolerance
    "matches": ("match", 0.0, 1000, 0.5),
    "matches, noise 1": ("match", 1.0, 4000, 0.5),
    "sum": ("sum", 0.0, 1000, 0.02),
    "sum, noise 0.05": ("sum", 0.05, 4000, 0.02),
}
# Means of 10 seeds of an implementation of its own, from before this one: random search, then OPTIMISERS.
REFERENCE: dict[str, tuple[float, ...]] = {
    "matches": (5.5, 12.6, 13.0, 12.8),
    "matches, noise 1": (6.4, 11.9, 12.9, 13.0),
    "sum": (0.777, 0.967, 0.956, 0.983),
    "sum, noise 0.05": (0.807, 0.944, 0.968, 0.986),
}
LIMITS = {66_955_008: 5, 50_000_000: 5, 42_000_000: 3}
"""parameters and instances"""
EVALUATIONS = 1000
GROUP = 4


# Optimisers


def problem(kind: str, generator: Generator) -> NDArray[np.float64]:
    """(variables, options): what each option adds to the value."""
    table = np.zeros((len(SIZES), max(SIZES)))
    for row, size in zip(table, SIZES, strict=True):
        row[:size] = generator.random(size) if kind == "sum" else np.arange(size) == generator.integers(size)
        row[:size] -= row[:size].min()
    return table / table.max(1).sum() if kind == "sum" else table


def sampled(theta: NDArray[np.float64], count: int, generator: Generator) -> list[Choice]:
    """Independent draws of every variable."""
    numbers = generator.random((len(theta), count))
    return list(zip(*(pick(row, each).tolist() for row, each in zip(theta, numbers, strict=True)), strict=True))


def worth(table: NDArray[np.float64], choices: Sequence[Choice]) -> NDArray[np.float64]:
    """Values of choices, without noise."""
    return np.asarray(table[np.arange(len(SIZES)), np.array(choices)].sum(-1))


def by_chance(table: NDArray[np.float64], evaluations: int, generator: Generator) -> float:
    """Random search: what the best of all draws is worth."""
    return float(worth(table, sampled(Distribution(SIZES).theta, evaluations, generator)).max())


def by_learning(
    table: NDArray[np.float64], noise: float, evaluations: int, generator: Generator, **settings: Any
) -> float:
    """What the mode is worth in the end."""
    distribution = Distribution(SIZES, **settings)
    for _ in range(evaluations // 2):
        pair = sampled(distribution.theta, 2, generator)
        distribution.update(pair, -(worth(table, pair) + noise * generator.normal(size=2)))
    return float(worth(table, [distribution.mode()])[0])


def optimised(name: str, seeds: int) -> dict[str, float]:
    """Means over seeds of all optimisers on one problem."""
    kind, noise, evaluations, _ = PROBLEMS[name]
    found: dict[str, list[float]] = {side: [] for side in ("random", *OPTIMISERS)}
    for seed in range(seeds):
        key = [list(PROBLEMS).index(name), seed]
        table = problem(kind, np.random.default_rng(key))
        found["random"].append(by_chance(table, evaluations, np.random.default_rng([*key, 0])))
        for number, (side, settings) in enumerate(OPTIMISERS.items(), start=1):
            generator = np.random.default_rng([*key, number])
            found[side].append(by_learning(table, noise, evaluations, generator, **settings))
    return {side: float(np.mean(values)) for side, values in found.items()}


def compared(means: dict[str, dict[str, float]]) -> tuple[float, int]:
    """Largest distance to the reference, in tolerances; pairs in another order that are further apart there."""
    distances, reversed_pairs = [], 0
    for name, (_, _, _, tolerance) in PROBLEMS.items():
        pairs = list(zip(means[name].values(), REFERENCE[name], strict=True))
        distances += [abs(ours - theirs) / tolerance for ours, theirs in pairs]
        for (ours, theirs), (our_other, their_other) in combinations(pairs, 2):
            apart = abs(theirs - their_other) > tolerance
            reversed_pairs += apart and (ours > our_other) != (theirs > their_other)
    return max(distances), reversed_pairs


# Searches


def backbone_parameters(space: Space, hidden: int = 768, head: int = 64) -> Additive:
    """Of a BERT with 30,522 tokens and 512 positions, pooler included."""
    layers = [
        tuple(heads * head * (4 * hidden + 3) + width * (2 * hidden + 1) + 6 * hidden for heads, width in options)
        for options in space.options
    ]
    fixed = (30_522 + 512 + 2) * hidden + 2 * hidden + hidden * (hidden + 1)
    return Additive("parameters", fixed, tuple(layers), integral=True)


def objective(space: Space, generator: Generator) -> Score:
    """The score of an instance; see the head of this file."""
    weights = generator.uniform(0.5, 1.5, size=(len(space.full), 2))

    def score(choice: Choice) -> float:
        layers = space.sub_network(choice).layers
        shapes = [[np.sqrt(each.heads / 12), np.sqrt(each.intermediate_size / 3072)] for each in layers]
        return float(50 * len(layers) / 12 + 50 * np.average(shapes, weights=weights[: len(layers)]))

    return score


def masked(space: Space, genes: Sequence[int]) -> Choice:
    """Genes of all variables as a choice."""
    used = space.slots(genes[0])
    return (genes[0], *(gene if slot in used else UNUSED for slot, gene in enumerate(genes[1:])))


def penalised(draws: Draws, score: Score, generator: Generator) -> float:
    """A fixed step of 1 on networks of any size, their score lowered by how far they are above the limit."""
    (cost, window), space = draws.limits[0], draws.space
    largest = cost.of(space, extremes(space, cost)[1])
    distribution, best = Distribution(space.sizes, adapt=False), 0.0
    for _ in range(EVALUATIONS // 2):
        pair, losses = sampled(distribution.theta, 2, generator), []
        for genes in pair:
            choice = masked(space, genes)
            over = max(0.0, cost.of(space, choice) - window.high)
            points = score(choice)
            losses.append(-points * (1 - over / (largest - window.high)) ** 2)
            best = best if over else max(best, points)
        distribution.update(pair, losses)
    return best


def together_evolved(draws: Draws, score: Score, generator: Generator) -> float:
    """Evolution with the depth as a gene; children that do not fit are never born."""
    space = draws.space
    members: list[tuple[float, list[int]]] = []
    while len(members) < EVALUATIONS:
        parents = sorted(members, reverse=True)[: max(2, int(PARENTS * 100))]
        spare = generator.integers(space.sizes).tolist()
        if len(members) < 100:
            genes = [own if own != UNUSED else gene for own, gene in zip(draws.draw(generator), spare, strict=True)]
        else:
            first, second = (parents[index][1] for index in generator.integers(len(parents), size=2))
            mutates = generator.random() < 0.5
            changed = generator.random(len(spare)) < (MUTATION if mutates else 0.5)
            genes = np.where(changed, spare if mutates else second, first).tolist()
        if draws.fits(masked(space, genes)):
            members.append((score(masked(space, genes)), genes))
    return max(members)[0]


def together_random(draws: Draws, score: Score, generator: Generator) -> float:
    """Random networks that fit."""
    return max(map(score, draws.many(EVALUATIONS, generator)))


def together_learned(draws: Draws, score: Score, generator: Generator) -> float:
    """One distribution over all networks, its draws conditioned on fitting."""
    distribution, best = Distribution(draws.space.sizes), 0.0
    for _ in range(EVALUATIONS // GROUP):
        choices = draws.at(distribution.theta).many(GROUP, generator)
        scores = list(map(score, choices))
        distribution.update(choices, [-each for each in scores])
        best = max(best, *scores)
    return best


def by_depth(make: Callable[[Draws], Strategy]) -> Callable[[Draws, Score, Generator], float]:
    """A search that shares its evaluations between depths and goes on with the better half of them."""

    def search(draws: Draws, score: Score, generator: Generator) -> float:
        strategy = make(draws)
        depths = [depth for depth in range(len(draws.space.layer_sets)) if draws.mass(depth) > 0]
        best = dict.fromkeys(depths, 0.0)
        stages = int(np.ceil(np.log2(len(depths)))) + 1
        for _ in range(stages):
            for _ in range(EVALUATIONS // stages // len(depths) // GROUP):
                for depth in depths:
                    choices = strategy.ask(depth, GROUP, generator)
                    scores = list(map(score, choices))
                    strategy.tell(depth, choices, [-each for each in scores])
                    best[depth] = max(best[depth], *scores)
            depths = sorted(depths, key=best.__getitem__, reverse=True)[: (len(depths) + 1) // 2]
        return max(best.values())

    return search


TOGETHER: dict[str, Callable[[Draws, Score, Generator], float]] = {
    "evolution": together_evolved,
    "random": together_random,
    "adapted": together_learned,
}
SEARCHES = {
    "penalty, step 1": penalised,
    **TOGETHER,
    "random by depth": by_depth(RandomFeasible),
    "evolution by depth": by_depth(Evolution),
    "adapted by depth": by_depth(lambda draws: EeSng(draws, schedule="off")),
}


def searched(space: Space, limit: int, instances: int) -> dict[str, list[float]]:
    """Best score of each search on each instance."""
    draws = Draws(space, [(backbone_parameters(space), Window(high=limit))])
    found: dict[str, list[float]] = {name: [] for name in SEARCHES}
    for instance in range(instances):
        score = objective(space, np.random.default_rng(instance))
        for number, (name, search) in enumerate(SEARCHES.items()):
            found[name].append(search(draws, score, np.random.default_rng([limit, instance, number])))
    return found


def leads(found: dict[int, dict[str, list[float]]]) -> dict[str, Interval]:
    """The claims about searches: mean lead of the adapted step by depth, and its range over instances."""

    def lead(limit: int, others: Sequence[str]) -> Interval:
        rivals = np.max([found[limit][name] for name in others], axis=0)
        gains = np.array(found[limit]["adapted by depth"]) - rivals
        return float(gains.mean()), float(gains.min()), float(gains.max())

    tight = list(LIMITS)[1:]
    return {
        "yoco-depth-strata": min((lead(limit, list(TOGETHER)) for limit in tight), key=lambda each: each[1]),
        "yoco-feasible-draws": min((lead(limit, ["penalty, step 1"]) for limit in LIMITS), key=lambda each: each[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="of each optimiser on each problem")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    means = {name: optimised(name, options.seeds) for name in PROBLEMS}
    rows: list[dict[str, Any]] = []
    for name, values in means.items():
        pairs = zip(values.items(), REFERENCE[name], strict=True)
        numbers = {key: each for (side, ours), theirs in pairs for key, each in
                   ((side, ours), (f"{side}, reference", theirs))}  # fmt: skip
        rows.append({"problem": name, "evaluations": PROBLEMS[name][2], **numbers})
    space = resolve(Options(), BertConfig())
    found = {limit: searched(space, limit, instances) for limit, instances in LIMITS.items()}
    for limit, scores in found.items():
        rows.append({"parameters at most": limit} | {name: float(np.mean(each)) for name, each in scores.items()})
    distance, reversed_pairs = compared(means)
    claims: dict[str, Interval] = {
        "yoco-optimiser-values": (distance, distance, distance),
        "yoco-optimiser-order": (reversed_pairs, reversed_pairs, reversed_pairs),
        **leads(found),
    }
    write_result("optimiser", "python benchmarks/optimiser.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
