"""A finished model and the rows to run it on, as the commands that look at a model want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bertpress.engine.run import Runtime, check_device, default_device
from bertpress.errors import RequestError
from bertpress.opened.how_opened import OWN, OpeningAtSpeed, Speed, said_to, settled
from bertpress.recipe import TaskSpec, task_spec
from bertpress.tasks.task import OWN_TEXTS
from bertpress.tasks.used import hint_unknown, size_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class Sample:
    """The rows of a split to look at."""

    task: Task
    split: str

    @property
    def encoded(self) -> Rows:
        """The rows as a model reads them."""
        return self.task.encoded(self.split)

    @property
    def size(self) -> str:
        """How many rows these are, in words."""
        return size_of(self.task, self.split)

    @property
    def is_own(self) -> bool:
        """Whether these are texts that belong to no data set."""
        return self.split == OWN_TEXTS

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The texts of each record; none where the records were never texts."""
        rows = self.task.splits[self.split]
        return list(zip(*(rows[column][:] for column in self.task.columns), strict=True))

    @property
    def has_labels(self) -> bool:
        """True if every row can be scored."""
        return not self.is_own and self.task.has_labels(self.split)


def open_model(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec,
    answers: bool = False,
    **how: Unpack[OpeningAtSpeed],
) -> tuple[PreTrainedModel, Task]:
    """A model with a trained head, and the task in its order of labels; `answers` refuses a task that asks nothing."""
    from bertpress.encoders import check_length, encoder_of
    from bertpress.engine.loading import load_config, load_tokenizer
    from bertpress.tasks import load_task

    runtime, speed, max_length = settled(how)
    prepare(runtime)
    if speed != OWN:
        require_reduction(model, runtime)
    config = load_config(model, runtime.trust_remote_code)
    check_length(max_length, encoder_of(config).positions(config))
    spec = asked_of(model, task, runtime)
    data = load_task(spec, load_tokenizer(model, runtime.trust_remote_code), max_length, how.get("limit"))
    if answers and not data.asks:
        raise RequestError("Text of kind encoder asks nothing, so there is nothing to score or predict; use masked-lm.")
    return _load(model, data, runtime, speed, how.get("head_labels"))


def asked_of(model: str, task: str | Mapping[str, Any] | TaskSpec, runtime: Runtime) -> TaskSpec:
    """A task, of the kind that a finished model was trained for where it names none.

    Raises:
        RequestError: it names another kind, or there is no such model.
    """
    from bertpress.engine.loading import load_config
    from bertpress.tasks.trained import of_its_kind

    return of_its_kind(task_spec(task), load_config(model, runtime.trust_remote_code), model)


def where_both_run(runtime: Runtime, *models: str | None) -> Runtime:
    """How models are run that are compared: on the CPU if one of them is an exported graph.

    Raises:
        RequestError: another device is asked for.
    """
    from bertpress.exports import is_export
    from bertpress.exports.session import require_cpu

    graphs = [name for name in models if name is not None and is_export(name)]
    for graph in graphs:
        require_cpu(graph, runtime.device)
    return dataclasses.replace(runtime, device="cpu") if graphs else runtime


def open_texts(
    model: str, texts: Sequence[tuple[str, ...]], **how: Unpack[OpeningAtSpeed]
) -> tuple[PreTrainedModel, Sample]:
    """A model and texts of your own, each a tuple of one or two; label names are those of the model's head.

    Raises:
        RequestError: no texts, some with a second one and some without, or inputs that are longer than the model reads.
    """
    from bertpress.encoders import check_length, encoder_of
    from bertpress.engine.loading import load_config, load_tokenizer
    from bertpress.tasks.trained import task_of_head

    if how.get("limit") or how.get("head_labels"):
        raise _of_tasks()
    if len({len(parts) for parts in texts}) != 1:
        raise RequestError("Give at least one text, and each with a second one, or none.")
    runtime, speed, max_length = settled(how)
    prepare(runtime)
    if speed != OWN:
        require_reduction(model, runtime)
    tokenizer = load_tokenizer(model, runtime.trust_remote_code)
    config = load_config(model, runtime.trust_remote_code)
    data = task_of_head(config, tokenizer, max_length)
    loaded, task = _load(model, data.with_texts(texts), runtime, speed)
    positions = encoder_of(config).positions(config)
    if max(task.encoded(OWN_TEXTS)["length"]) > positions:
        check_length(max_length, positions)
    hint_unknown(task, OWN_TEXTS, runtime.say)
    return loaded, Sample(task, OWN_TEXTS)


def open_sample(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec | None,
    texts: Sequence[tuple[str, ...]] | None,
    split: str | None,
    **how: Unpack[OpeningAtSpeed],
) -> tuple[PreTrainedModel, Sample]:
    """A model that skips tokens, and either texts of your own or a split of a task, by default that for development.

    Raises:
        RequestError: both or neither, or a model that skips none.
    """
    require_reduction(model, how.get("runtime") or Runtime())
    if (task is None) == (texts is None):
        raise RequestError("Give either a task (--task) or texts of your own (--text or --input).")
    if task is None:
        if split is not None:
            raise _of_tasks()
        return open_texts(model, texts or (), **how)
    loaded, data = open_model(model, task, **how)
    split = split or data.dev_split
    hint_unknown(data, split, said_to(how))
    return loaded, Sample(data, split)


def _of_tasks() -> RequestError:
    return RequestError("--split, --limit and --head-labels describe a task; leave them out with your own texts.")


def prepare(runtime: Runtime) -> None:
    """Silence the libraries, set threads, and refuse a device that there is not."""
    from bertpress.runs.pipeline import quieten

    quieten(runtime.threads)
    check_device(runtime.device)


def _load(
    model: str, data: Task, runtime: Runtime, speed: Speed, head_labels: tuple[str, ...] | None = None
) -> tuple[PreTrainedModel, Task]:
    from bertpress.engine.loading import load_for_task
    from bertpress.engine.objective import choose_attention
    from bertpress.exports import is_export

    if is_export(model):
        return _load_export(model, data, runtime, speed, head_labels)
    loaded, aligned, _ = load_for_task(
        model, data, trust_remote_code=runtime.trust_remote_code, head_labels=head_labels
    )
    _hint_length(model, data.max_length, runtime.say)
    loaded.to(runtime.device or default_device())
    choose_attention(loaded, training=False)
    if speed != OWN:
        set_speed(model, loaded, speed)
    return loaded, aligned


def _hint_length(model: str, max_length: int, say: Callable[[str], None]) -> None:
    """Say so where the model of a run is to read less of its inputs than it was trained on."""
    from bertpress.engine.loading import model_folder
    from bertpress.reports.recorded import read_mapping

    recipe = Path(model_folder(model)).parent.parent / "recipe.yaml"  # RUN/NN-method/model
    trained = read_mapping(recipe).get("max_length", 0) if recipe.is_file() else 0
    if max_length < trained:
        say(f"hint: {model} was trained on inputs of up to {trained} tokens and reads {max_length}; give --max-length.")


def _load_export(
    folder: str, data: Task, runtime: Runtime, speed: Speed, head_labels: tuple[str, ...] | None
) -> tuple[PreTrainedModel, Task]:
    """An exported graph, which stands in for the model that it was made of.

    Raises:
        RequestError: it has another head, or another speed than its own is wanted.
    """
    from bertpress.engine.loading import auto_class, class_of_head, load_config, name_labels
    from bertpress.exports.session import open_export

    if speed != OWN:
        raise RequestError(f"{folder} is an export, which has one speed; export the model at the speed that you want.")
    config = load_config(folder)
    has, wanted = auto_class(config.architectures), class_of_head(data.head)
    if has != wanted:
        raise RequestError(
            f"{folder} was exported as {has}, but {data.name} needs {wanted}; export a model with that head."
        )
    if head_labels is not None:
        name_labels(config, folder, head_labels)
    aligned = data.aligned(config)
    aligned.noted(config)
    graph: Any = open_export(folder, config, runtime.threads, runtime.device)
    return graph, aligned


def open_whole(model: str, runtime: Runtime, speed: Speed = OWN) -> PreTrainedModel:
    """A model with the head that it has, for no task."""
    from bertpress.engine.loading import load_whole

    prepare(runtime)
    if speed != OWN:
        require_reduction(model, runtime)
    loaded: PreTrainedModel = load_whole(model, runtime.trust_remote_code).to(runtime.device or default_device())
    if speed != OWN:
        set_speed(model, loaded, speed)
    return loaded


def set_speed(name: str, model: PreTrainedModel, speed: Speed) -> None:
    """Let a model run at one of its speeds from now on.

    Raises:
        RequestError: no such profile, or thresholds that do not fit.
    """
    if speed.profile is not None and speed.token_threshold is not None:
        raise RequestError("Give a profile or a token threshold, not both.")
    encoder: Any = model.base_model
    try:
        encoder.settings = encoder.settings.changed(speed.profile, speed.token_threshold)
    except ValueError as error:
        raise RequestError(f"{name}: {error}.") from None


def require_reduction(name: str, runtime: Runtime) -> None:
    """Refuse a model that skips no tokens, before its weights are read.

    Raises:
        RequestError: it reads every token in every layer.
    """
    from bertpress.engine.loading import load_config
    from bertpress.models import skips_tokens

    if not skips_tokens(load_config(name, runtime.trust_remote_code)):
        raise RequestError(
            f"{name} reads every token in every layer, so there is no speed to choose; make a model that skips tokens "
            f"of it first: bertpress trbert --model {name} --task NAME --out FOLDER."
        )
