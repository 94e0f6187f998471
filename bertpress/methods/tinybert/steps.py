"""The course of TinyBERT: teacher, student, more texts, stored signals, step 1, step 2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.encoders import encoder_of
from bertpress.encoders.scores import disable_capture
from bertpress.engine.teachers import read_by_both
from bertpress.files import new_file, write_json
from bertpress.fingerprints import weights_digest
from bertpress.methods.tinybert.checks import check_teacher
from bertpress.methods.tinybert.intermediate import Comparison, Intermediate
from bertpress.methods.tinybert.mapping import describe, rises
from bertpress.methods.tinybert.observing import Wanted
from bertpress.methods.tinybert.prediction import Prediction, wanted_of
from bertpress.methods.tinybert.signals import MOST_BYTES, Signals, bytes_needed, store
from bertpress.methods.tinybert.student import find_teacher, make_student
from bertpress.processes import barrier, is_first_process, world_size

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.tinybert import TinyBert
    from bertpress.tasks.task import Task

PROJECTIONS = "projections.safetensors"
SAMPLED_ROWS = 1000


def distil(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The student after both steps; `model` is left unchanged."""
    task = read_by_both(method.teacher, task, run)
    teacher: PreTrainedModel | None
    teacher, taught = find_teacher(method, model, task, run)
    student = make_student(method, model, task, run)
    comparison = Comparison(method, student.config, teacher.config) if method.intermediate is not None else None
    if method.teacher_check and method.prediction is not None and not run.has_begun("intermediate", "prediction"):
        check_teacher(teacher, taught)
    with run.timed("augmentation"):
        task, taught = augmented(method, teacher, task, taught, run)
    if method.shape is not None:
        say_untrained(student, task, run)
    run.enter(next((phase for phase in method.trainings() if not run.is_finished(phase)), None))
    with run.timed("signals"):
        inside, answers = prepare_signals(method, teacher, taught, comparison, run, apart=taught is not task)
    if (inside or comparison is None) and (answers or method.prediction is None):
        teacher = None  # everything that it says is stored
    if comparison is not None and method.intermediate is not None:
        say_comparison(comparison, run)
        objective = Intermediate(student, task, comparison, None if inside else teacher, inside)
        load_projections(objective, method.student, run)
        run.train(objective, task, method.intermediate, "intermediate")
        save_projections(objective, run.folder)
        del objective
        disable_capture(student)
    if method.prediction is not None:
        answering = Prediction(student, task, method, None if answers else teacher, answers)
        run.train(answering, task, method.prediction, "prediction")
    return student


def augmented(method: TinyBert, teacher: PreTrainedModel, task: Task, taught: Task, run: StepRun) -> tuple[Task, Task]:
    """The task, and as the teacher reads it, with more training texts, if the method asks for them.

    They are made once, kept in the step, and taken from there or from another run that has made the same.
    """
    from bertpress.augmentation.augmenting import augment
    from bertpress.augmentation.job import Job, Source
    from bertpress.augmentation.telling import told, warnings
    from bertpress.tasks.tables import read_file

    if method.augmentation is None:
        return task, taught
    folder = run.folder / "augmentation"
    if not (folder / "manifest.json").is_file():
        run.enter("augmentation")
    source = Source(weights_digest(teacher), taught.tokenizer, lambda: embeddings_of(teacher))
    made = augment(Job.of(task, method.augmentation, source, run.runtime), folder, reuse=True)
    for line in (*told(made), *warnings(made)):
        run.runtime.say(line)
    rows = read_file(folder / "train.parquet")
    more = task.with_train(rows)
    return more, more if taught is task else taught.with_train(rows)


def embeddings_of(model: PreTrainedModel) -> np.ndarray:
    """Input embeddings, shape (vocabulary, width)."""
    weight: np.ndarray = model.get_input_embeddings().weight.detach().float().cpu().numpy()
    return weight


def prepare_signals(
    method: TinyBert,
    teacher: PreTrainedModel,
    task: Task,
    comparison: Comparison | None,
    run: StepRun,
    apart: bool = False,
) -> tuple[dict[str, Signals], dict[str, Signals]]:
    """What step 1 and step 2 can read instead of asking the teacher; empty where nothing is stored.

    Args:
        task: as the teacher reads it.
        apart: the student reads it otherwise, so that the teacher cannot be asked about its batches.
    """
    named = run.runtime.signals is not None
    if named and not task.repeats:
        run.runtime.say("the texts of this task differ from epoch to epoch, so nothing that the teacher says is stored")
    if method.signals == "none" or not task.repeats or all(map(run.is_finished, method.trainings())):
        return {}, {}
    if method.signals == "auto" and not (apart or named) and _epochs(method, len(task.encoded("train"))) < 2:
        return {}, {}  # computing what is read once gains nothing, unless other students read it too
    splits = ["train", task.dev_split]
    asked = wanted_of(method, teacher) if method.prediction is not None else Wanted()
    whole = asked | (comparison.wanted(1) if comparison is not None else Wanted())
    fits = method.signals == "all" or bytes_needed(teacher, task, splits, whole) <= MOST_BYTES
    if method.signals == "logits" or method.reduction == "upstream" or not fits:
        whole = Wanted(logits=asked.logits)  # the original's means count padding, of which nothing is stored
    if not whole:
        return {}, {}
    folder = run.runtime.signals or run.folder / "signals"
    if is_first_process():
        run.runtime.say(f"storing what the teacher says: {bytes_needed(teacher, task, splits, whole) / 1e6:.0f} MB")
        store(folder, teacher, task, splits, whole)
    barrier()
    found = store(folder, teacher, task, splits, whole)
    inside = found if comparison is not None and whole.covers(comparison.wanted(1)) else {}
    return inside, found if whole.covers(asked) else {}


def _epochs(method: TinyBert, rows: int) -> float:
    """How often both steps together go through the training rows."""
    trainings = method.trainings().values()
    seen = sum(one.steps(rows, world_size()) * one.batch_size * one.accumulation for one in trainings)
    return seen * world_size() / rows


def say_comparison(comparison: Comparison, run: StepRun) -> None:
    """Print and store which layers are compared and how."""
    maps = {"hidden states": comparison.hidden, f"attention ({comparison.kind})": comparison.attention}
    for what, pairs in maps.items():
        if pairs:
            run.runtime.say(f"{what}, student-teacher: {describe(pairs)}")
        if not rises(pairs):
            run.runtime.say(f"the map of {what} does not rise: a deeper student layer learns from a shallower one.")
    if is_first_process():
        write_json(run.folder / "distillation.json", comparison.describe())


def say_untrained(student: PreTrainedModel, task: Task, run: StepRun) -> None:
    """Name embeddings of a student from random weights that no training text reaches."""
    rows = task.encoded("train")
    longest, positions = int(max(rows["length"][:])), encoder_of(student.config).positions(student.config)
    if longest < positions:
        run.runtime.say(f"positions from {longest} on are not trained: no training text is longer.")
    some = rows[list(range(min(SAMPLED_ROWS, len(rows))))]
    if getattr(student.config, "type_vocab_size", 0) > 1 and not any(map(any, some.get("token_type_ids", []))):
        run.runtime.say("second segments are not trained: the training texts have one; tasks of pairs need them.")


def save_projections(objective: Intermediate, folder: Path) -> None:
    """Keep the projections beside the step's model, for a next distillation; they are no part of the model."""
    from safetensors.torch import save_file

    state = objective.projections.state_dict()
    if state and is_first_process():
        with new_file(folder / PROJECTIONS) as temporary:
            save_file({name: value.contiguous().cpu() for name, value in state.items()}, temporary)


def load_projections(objective: Intermediate, student: str | None, run: StepRun) -> None:
    """Start from the projections that an earlier distillation left beside the student, where they have this form."""
    from safetensors.torch import load_file

    from bertpress.engine.loading import model_folder

    if student is None:
        return
    folder = Path(model_folder(student))
    of_step = [folder.parent] if folder.name == "model" and (folder.parent / "result.json").is_file() else []
    for place in (folder, *of_step):
        if (place / PROJECTIONS).is_file():
            stored, own = load_file(place / PROJECTIONS), objective.projections.state_dict()
            fits = _shapes(stored) == _shapes(own)
            if fits:
                objective.projections.load_state_dict(stored)
            layout = ", ".join(sorted({name.partition(".")[0] for name in stored}))
            unused = f" not taken up: they are those of {layout}, in another form than the setting projection asks for"
            run.runtime.say(f"projections from {place / PROJECTIONS}{'' if fits else unused}")
            return


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
