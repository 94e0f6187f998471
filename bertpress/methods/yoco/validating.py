"""How far a table of latencies is off for sub-networks that are timed from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bertpress.costs.latency_table import LatencyTable, check_table, key_of, validation_of
from bertpress.encoders.compact import head_class
from bertpress.measurements import layer_timing
from bertpress.measurements.layer_timing import COPIES, Whole, batch_of, model_of_shapes, settings_of, stacks
from bertpress.methods.yoco.costs import latency_costs, shapes_in
from bertpress.methods.yoco.space import UNUSED, Choice, Space, SubNetwork

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

GROUP = 5
"""Whole sub-networks that are held at once, and take turns."""
FEWEST = 5
"""Rounds, however long they take."""


def validate(
    table: LatencyTable,
    model: PreTrainedModel,
    task: Task,
    space: Space,
    count: int = 20,
    seed: int = 0,
    seconds: float = 40,
) -> LatencyTable:
    """The table with what random sub-networks take from end to end, built as they would be exported.

    A machine may be faster or slower than when the table was measured. So some of the table's own layers take turns
    with the sub-networks, and times are told in multiples of theirs: what is off then is the sum of parts.

    Args:
        count: sub-networks; every depth and every option is equally likely.
        seconds: rounds go on for so long, of all groups together; there are at least 5 of each.

    Raises:
        RequestError: the table was measured under other settings, or lacks an option.
    """
    batch_size, tokens = table.settings.batch_size, table.settings.tokens
    check_table(table, settings_of(model, task, batch_size, tokens))
    costs = latency_costs(space, table.model_copy(update={"validation": None}))
    choices = random_choices(space, count, seed)
    batch = batch_of(model, task, batch_size, tokens)
    shapes = shapes_in(space)
    shapes = sorted({shapes[0], shapes[len(shapes) // 2], shapes[-1]})
    parts = stacks(model, task, batch, shapes)
    expected = COPIES * sum(table.layers_ms[key_of(shape)].median for shape in shapes)
    measured, speeds = [], []
    for start in range(0, len(choices), GROUP):
        group = choices[start : start + GROUP]
        models = [Whole(standalone(model, space.sub_network(choice)), task) for choice in group]
        times = layer_timing.seconds_of([*models, *parts], batch, FEWEST, seconds * len(group) / len(choices))
        yardstick = times[len(group) :].sum(0)
        measured += (expected * np.median(times[: len(group)] / yardstick, axis=1)).tolist()
        speeds.append(1000 * float(np.median(yardstick)) / expected)
    predicted = [costs.of(space, choice) for choice in choices]
    return table.model_copy(update={"validation": validation_of(predicted, measured, float(np.median(speeds)))})


def random_choices(space: Space, count: int, seed: int) -> list[Choice]:
    """Sub-networks whose depth and options are drawn with equal chances."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        depth = int(generator.integers(len(space.layer_sets)))
        picks = [int(generator.integers(len(options))) for options in space.options]
        active = space.slots(depth)
        found.append((depth, *(pick if slot in active else UNUSED for slot, pick in enumerate(picks))))
    return found


def standalone(model: PreTrainedModel, network: SubNetwork) -> PreTrainedModel:
    """A model of random weights with the layers of a sub-network and the head, device and precision of `model`."""
    return model_of_shapes(model, f"Compact{head_class(model)}", network.to_list())
