"""From a super-network and a budget to the sub-network that answers it, with everything worth knowing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.costs.latency_table import LatencyTable, check_table, load_table
from bertpress.engine.evaluation import mean_tokens
from bertpress.errors import AnswerNo
from bertpress.files import read_json, write_json
from bertpress.fingerprints import split_digest, weights_digest
from bertpress.measurements import layer_timing
from bertpress.methods.yoco.archive import Archive, Entry, matching_entries
from bertpress.methods.yoco.budget import HALF, Budget
from bertpress.methods.yoco.cells import candidates_of_front, cells_of_front, cells_within
from bertpress.methods.yoco.costs import Additive, extremes, latency_costs, mac_costs, parameter_costs, shapes_in
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.methods.yoco.front import points_of, scored, with_flops
from bertpress.methods.yoco.limits import Limit, check, limits
from bertpress.methods.yoco.opening import narrowed
from bertpress.methods.yoco.searching import BEFORE, Search, costs_of
from bertpress.methods.yoco.space import SubNetwork
from bertpress.methods.yoco.super_network import find_super_network
from bertpress.methods.yoco.validating import validate
from bertpress.processes import barrier, is_first_process

if TYPE_CHECKING:
    from bertpress.engine.run import StepRun
    from bertpress.methods.yoco import Yoco
    from bertpress.methods.yoco.space import Space
    from bertpress.methods.yoco.steps import Trained
    from bertpress.tasks.task import Task

FOUND = "found.json"
ROUNDS, ROUNDS_OF_FRONT = 6, 3
USED = 0.75
"""What uses less of a budget is no answer to it: it was found by the search of a smaller one."""


@dataclass(frozen=True)
class Prices:
    """What sub-networks cost, and what the answer may cost."""

    costs: dict[str, Additive]
    """by name, what is noted of every sub-network"""
    limits: list[Limit]


def answer(method: Yoco, trained: Trained, task: Task, run: StepRun) -> SubNetwork:
    """The best sub-network within the method's budget; searched once, then read.

    Raises:
        AnswerNo: no sub-network is within the budget.
    """
    folder = run.folder / "search"
    if not run.is_finished("search"):
        run.enter("search")
        prices = priced(method, trained, task, run)
        for line in check(prices.limits, trained.space):
            run.runtime.say(line)
        folder.mkdir(parents=True, exist_ok=True)
        with run.timed("search"):
            found = searched(method, trained, prices, folder, run)
            chosen = best(found, prices.limits)
            shown = points_of(found) | {"chosen": chosen}
            if is_first_process():
                write_json(folder / FOUND, summary(found, prices, scored(shown, trained, task, run), trained))
            barrier()
    return SubNetwork.of(read_json(folder / FOUND)["chosen"]["network"])


def priced(method: Yoco, trained: Trained, task: Task, run: StepRun) -> Prices:
    """Costs in closed form, and those of time from a table that is measured where they are limited."""
    config, space, tokens = trained.model.config, trained.space, mean_tokens(task)
    positions = task.positions(tokens)
    costs = {
        "parameters": parameter_costs(space, config, task.head),
        "encoder_parameters": parameter_costs(space, config, task.head, "encoder"),
        "macs": mac_costs(space, config, task.head, tokens, positions),
    }
    table = measured_table(method, trained, task, run) if "latency_ms" in method.given() else None
    if table is not None:
        costs["latency_ms"] = latency_costs(space, table)
    budget: Budget = method if method.given() else HALF
    return Prices(costs, limits(budget, space, config, task.head, tokens, positions, table))


def measured_table(method: Yoco, trained: Trained, task: Task, run: StepRun) -> LatencyTable:
    """The table of latencies on this machine, measured once for a run, compared with whole sub-networks.

    Raises:
        RequestError: the run has one that was measured under other settings.
    """
    file, model = run.folder / "search" / "latency_table.json", trained.model.eval()
    size, tokens = method.search.latency_batch, method.search.latency_tokens or mean_tokens(task)
    settings = layer_timing.settings_of(model, task, size, tokens)
    if not file.is_file() and is_first_process():
        run.runtime.say(f"timing layers at batch {size}, {tokens} tokens")
        table = layer_timing.build(model, task, shapes_in(trained.space), size, tokens)
        validate(table, model, task, trained.space).save(file)
    barrier()
    table = load_table(file)
    check_table(table, settings)
    run.runtime.say(table.remark())
    return table


def searched(method: Yoco, trained: Trained, prices: Prices, folder: Path, run: StepRun) -> Search:
    """The search, carried out: for the budget, or for the whole front where there is none."""
    settings, space = method.search, trained.space
    evaluator = Evaluator(
        trained.model.eval(), trained.task, trained.split, settings.rungs, space.largest, trained.about.held_out["seed"]
    )
    key = {
        "super-network": weights_digest(trained.model),
        "rows": split_digest(trained.task, trained.split),
        "rungs": evaluator.ends,
    }
    archive = Archive(folder, key)
    earlier = earlier_entries(method, key, space, prices.costs)
    archive.take([entry for entry in earlier if entry.network not in archive.entries])
    theta = theta_for(trained)
    if method.given():
        cells = cells_within(method, space, prices.limits, theta)
        rounds, candidates = settings.rounds, settings.candidates
        if rounds is None:
            rounds = 0 if answers_already(earlier, evaluator, space, prices.limits) else ROUNDS
            if rounds and earlier:
                run.runtime.say(f"nothing in the archive of {method.super_network} uses most of this budget: searching")
    else:
        cells = cells_of_front(method, space, prices.costs["encoder_parameters"], theta)
        rounds = ROUNDS_OF_FRONT if settings.rounds is None else settings.rounds
        candidates = candidates_of_front(method)
    if is_first_process():
        archive.begin()
    barrier()
    search = Search(
        space, *cells, prices.costs, evaluator, archive, run.seed, rounds, candidates,
        lambda done, total: run.runtime.progress("search", done, total, {}), earlier,
    )  # fmt: skip
    if not method.given():
        search.look_at([space.smallest, space.largest])
    elif rounds:
        search.look_at(widest_within(space, prices.limits))
    search.run()
    if earlier and not search.forwards:
        run.runtime.say(f"answered from the archive of {method.super_network}: no sub-network was run")
    return search


def widest_within(space: Space, limited: Sequence[Limit]) -> list[SubNetwork]:
    """The deepest sub-network within all limits that leaves out nothing but layers, as the full one does; or none.

    No draw is likely to come upon it, and where nothing binds it is the answer.
    """
    for depth in reversed(range(len(space.layer_sets))):
        network = space.sub_network(space.widest(depth))
        if within(network, space, limited):
            return [network]
    return []


def theta_for(trained: Trained) -> Any:
    """What the training learned about the space that is searched; None if that has other variables."""
    about, space = trained.about, trained.space
    if space.uniform != about.space.uniform:
        return None
    return narrowed(about.distribution.theta, about.space, space)


def earlier_entries(method: Yoco, key: Mapping[str, Any], space: Space, costs: Mapping[str, Additive]) -> list[Entry]:
    """What the search in the super-network's own run has found out about this space, if it was of the same rows.

    Costs are those of this search, which may limit others.
    """
    if method.super_network is None:
        return []
    found = matching_entries(find_super_network(method.super_network).parents[1] / "search", key)
    return [
        replace(entry, round=BEFORE, costs=costs_of(entry.network, space, costs))
        for entry in found
        if space.has(entry.network)
    ]


def answers_already(earlier: Sequence[Entry], evaluator: Evaluator, space: Space, limited: Sequence[Limit]) -> bool:
    """True if an earlier search has shown all rows to something within the limits that uses most of one of them.

    Of several limits one is enough: where it binds, nothing within all of them may use most of the others.
    """
    last = len(evaluator.ends) - 1
    judged = (entry.network for entry in earlier if entry.reached == last)
    return any(within(network, space, limited) and used(network, space, limited) >= USED for network in judged)


def used(network: SubNetwork, space: Space, limited: Sequence[Limit]) -> float:
    """The largest share that a sub-network uses of what a limit allows, at most that of the largest one."""
    choice = space.choice_of(network)
    allowed = (min(limit.most, limit.cost.of(space, extremes(space, limit.cost)[1])) for limit in limited)
    return max(limit.cost.of(space, choice) / most for limit, most in zip(limited, allowed, strict=True))


def within(network: SubNetwork, space: Space, limited: Sequence[Limit]) -> bool:
    """True if a sub-network of the space meets all limits."""
    choice = space.choice_of(network)
    return all(limit.cost.of(space, choice) <= limit.most for limit in limited)


def best(search: Search, limited: Sequence[Limit]) -> Entry:
    """What loses least on all rows of those within the limits.

    Raises:
        AnswerNo: nothing that was looked at is within them.
    """
    for entry in search.judged:
        if within(entry.network, search.space, limited):
            return entry
    asked = " and ".join(map(str, limited))
    raise AnswerNo(f"The search looked at no sub-network within {asked}; give it rounds (--rounds), or candidates.")


def summary(search: Search, prices: Prices, shown: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """Everything worth knowing about a search, as plain values."""
    largest = trained.space.largest
    return {
        "schema": 1,
        "limits": [{"name": limit.cost.name, "most": limit.most, "asked": limit.asked} for limit in prices.limits],
        "chosen": shown["chosen"],
        "points": [shown[name] for name in shown if name != "chosen"],
        "largest": {"network": largest.to_list(), "costs": with_flops(costs_of(largest, search.space, search.costs))},
        "evaluated": len(search.archive.entries),
        "forwards": search.forwards,
        "rows": search.evaluator.ends[-1],
        "rungs": search.evaluator.ends,
        "sub_networks": trained.space.count(),
        "distribution": {
            "space": trained.about.space.to_dict(),
            "theta": trained.about.distribution.theta.tolist(),
        },
        "space": trained.space.to_dict(),
        "searched": searched_distributions(search),
    }


def searched_distributions(search: Search) -> list[dict[str, Any]]:
    """What strategies that learn have learned, cell by cell, as probabilities of the options of the searched space."""
    found = []
    for cell in search.cells:
        tables = cell.strategy.state().get("tables")
        if tables is not None:
            depth = search.space.depths[cell.depth]
            found.append({"group": cell.group, "depth": depth, "theta": tables[cell.depth]["theta"]})
    return found
