"""The course of YOCO-BERT: rows held out, units in order, the super-network, its search, the answer taken out."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertpress.encoders import encoder_of
from bertpress.engine.teachers import find_teacher, load_beside, read_by_both
from bertpress.errors import RequestError
from bertpress.fingerprints import split_digest
from bertpress.methods.yoco.drawing import Drawer
from bertpress.methods.yoco.elastic import elastic
from bertpress.methods.yoco.extracting import sub_network
from bertpress.methods.yoco.held_out import divide
from bertpress.methods.yoco.options import resolve
from bertpress.methods.yoco.ordering import (
    Ordering,
    calibration_batches,
    check_same,
    equal_scores,
    layer_scores,
    order,
    unit_scores,
)
from bertpress.methods.yoco.space import Space, SubNetwork
from bertpress.methods.yoco.super_network import FILE, About, distribution_over, find_super_network
from bertpress.methods.yoco.supernet import SuperNet
from bertpress.processes import barrier, is_first_process, world_size

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.yoco import Yoco
    from bertpress.tasks.task import Task

CALIBRATION, CALIBRATION_BATCH = 1024, 32
"""Training rows by which heads and neurons are put in order, and how many stand in a batch of them."""
REFRESHED = 0.05
"""Share of an epoch after which the probability to exploit is computed anew."""


@dataclass(frozen=True)
class Trained:
    """A super-network that is ready to be searched."""

    model: PreTrainedModel
    """elastic"""
    about: About
    space: Space
    """that is searched; within the trained one"""
    task: Task
    """without the rows of the search among the training rows"""
    split: str
    """that has these"""


def compressed(method: Yoco, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The best sub-network within the budget; `model` is left unchanged.

    Raises:
        RequestError: settings that do not fit the model, the task or the super-network.
        AnswerNo: no sub-network is within the budget.
    """
    from bertpress.methods.yoco.answering import answer
    from bertpress.methods.yoco.exporting import export

    task = read_by_both(method.teacher, task, run)
    trained = opened(method, task, run) if method.super_network else train(method, model, task, run)
    return export(method, trained, answer(method, trained, task, run), model, task, run)


def train(method: Yoco, model: PreTrainedModel, task: Task, run: StepRun) -> Trained:
    """Train a super-network, or read it if that is done."""
    folder = run.folder / "supernet" / "model"
    own, split = divide(method.search, task, run.seed)
    if (folder / FILE).is_file():
        about = About.read(folder)
        return Trained(elastic(load_beside(str(folder), task, run, new_head=False)), about, about.space, own, split)
    judged = split if own.has_labels(split) else task.dev_split
    if not run.is_finished("supernet"):
        run.enter("supernet")
    teacher = find_teacher(method.teacher, model, task, run) if method.teaches else None
    check_teacher(method, model, teacher)
    ordered, ordering = in_order(method, model, own, run)
    ranking = ordering.layers if method.space.depth_policy == "importance" else None
    space = resolve(method.space, model.config, ranking)
    space = space.stock() if method.servable == "stock" else space
    objective = objective_of(method, elastic(ordered), space, own, judged, run, teacher)
    run.train(objective, own, method.supernet, "supernet")
    held = {"seed": run.seed, "share": method.search.held_out, "split": method.search.split}
    arrays = {name: array.tolist() for name, array in ordering.to_arrays().items()}
    about = About(space, objective.distribution(), arrays, {**held, "rows": split_digest(own, split)})
    if is_first_process():
        write(objective.model, about, folder, task)
    barrier()
    return Trained(objective.model, about, space, own, split)


def check_teacher(method: Yoco, model: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
    """Refuse a teacher whose states cannot be compared with the super-network's.

    Raises:
        RequestError: it has another depth or width.
    """
    if teacher is None or method.imitated != "teacher" or not method.hidden_weight:
        return
    sizes = [(encoder_of(each.config).depth(each.config), each.config.hidden_size) for each in (model, teacher)]
    if sizes[0] != sizes[1]:
        raise RequestError(
            f"The teacher has {sizes[1][0]} layers of width {sizes[1][1]}, the model {sizes[0][0]} of {sizes[0][1]}, "
            "so their states cannot be compared; set hidden_weight to 0."
        )


def in_order(method: Yoco, model: PreTrainedModel, task: Task, run: StepRun) -> tuple[PreTrainedModel, Ordering]:
    """A trainable copy of the model with its heads and neurons in order, and where they stood."""
    result = copy.deepcopy(model).requires_grad_(True)
    batches = calibration_batches(task, CALIBRATION, CALIBRATION_BATCH, run.seed, model.device)
    scores = equal_scores(model.config)
    if method.order_by == "importance":
        run.runtime.say(f"importance of heads and neurons on {min(CALIBRATION, len(task.encoded('train')))} inputs")
        scores = unit_scores(result, task, batches)
    if method.space.depth_policy == "importance":
        scores = dataclasses.replace(scores, layers=layer_scores(result, task, batches))
    ordering = order(result, scores)
    check_same(model.base_model, result.base_model, task.inputs_of(model, batches[0]))  # heads are left as they are
    return result, ordering


def objective_of(
    method: Yoco,
    model: PreTrainedModel,
    space: Space,
    task: Task,
    split: str,
    run: StepRun,
    teacher: PreTrainedModel | None,
) -> SuperNet:
    """What trains the super-network."""
    start = distribution_over(space, adapt=method.learning == "adaptive", step=method.learning_step)
    refresh = max(1, round(REFRESHED * method.supernet.steps_of_epoch(len(task.encoded("train")), world_size())))
    drawer = Drawer(method, space, model.config, run.seed, start, refresh)
    return SuperNet(model, task, method, drawer, split, probes_of(space), teacher, run.runtime.say)


def probes_of(space: Space) -> dict[str, SubNetwork]:
    """Networks by which the super-network is judged while it trains: both ends, and the middle option of everything."""
    depth = len(space.layer_sets) // 2
    middle = (
        depth,
        *(len(options) // 2 if slot in space.slots(depth) else -1 for slot, options in enumerate(space.options)),
    )
    return {"largest": space.largest, "middle": space.sub_network(middle), "smallest": space.smallest}


def write(model: PreTrainedModel, about: About, folder: Path, task: Task) -> None:
    """The super-network's folder: an ordinary model, and last the file that makes it a super-network."""
    from bertpress.engine.loading import tokenizer_for
    from bertpress.engine.run import save_model

    card = (
        "# A super-network\n\nThe model in this folder is its largest network. Any of its sub-networks:\n\n"
        "```python\nfrom bertpress import sub_network\n\n"
        'model = sub_network("FOLDER", [{"origin": 0, "heads": 4, "intermediate_size": 384}])\n```\n\n'
        "`bertpress search FOLDER --task T --parameters 15M` finds the best one within a budget.\n"
    )
    whole = sub_network(model, about.space.whole)
    companions = task.companions(whole.config)
    save_model(whole, tokenizer_for(model, task.tokenizer), folder, card, companions=companions)
    about.write(folder)


def opened(method: Yoco, task: Task, run: StepRun) -> Trained:
    """A super-network that was trained before, in the space that is asked for.

    Raises:
        RequestError: there is none, or it was not trained in that space.
    """
    folder = find_super_network(method.super_network or "")
    about = About.read(folder)
    held = about.held_out
    search = method.search.model_copy(
        update={
            name: held[key]
            for name, key in (("held_out", "share"), ("split", "split"))
            if not getattr(method.search, name)
        }
    )
    own, split = divide(search, task, held["seed"])
    if split_digest(own, split) != held["rows"]:
        run.runtime.say("warning: the search looks at other rows than its super-network was told to leave out.")
    model = load_beside(str(folder), task, run, new_head=False)
    space = method.space_of(model.config)
    if missing := space.missing_from(about.space):
        raise RequestError(
            f"The super-network was not trained for {', '.join(missing[:4])}; it has {about.space.described()}."
        )
    if space != about.space:
        run.runtime.say(f"searching {space.described()}, of the trained {about.space.described()}")
    return Trained(elastic(model), about, space, own, split)
