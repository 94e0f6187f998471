"""A recipe: a start model, a task, a list of steps, a seed. YAML, flags and Python build the same object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SerializeAsAny

from bertpress.bounds import Bounds
from bertpress.config import Config, build, choice
from bertpress.corpus import CorpusSpec
from bertpress.errors import RequestError, nearest
from bertpress.exports import EXPORTS, OnnxExport
from bertpress.methods import METHODS
from bertpress.methods.method import Method
from bertpress.tasks import KINDS
from bertpress.tasks.candidates.settings import CandidateSettings
from bertpress.tasks.choices.settings import ChoiceSettings
from bertpress.tasks.embedding.settings import EmbeddingSettings
from bertpress.tasks.hops.settings import HopSettings
from bertpress.tasks.masking import Masking
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.splits import parse_shares
from bertpress.tasks.tagging.settings import TaggingSettings


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 2e-5 is a number, as in YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """The same for what is written: a text that reads as such a number is quoted."""


for _half in (_Loader, _Dumper):
    _half.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|[-+]?\.inf$|\.nan$"),
        list("-+0123456789."),
    )


MAX_LENGTH = 128
"""Longest input in tokens, unless a recipe or a command says otherwise."""
OVER_A_DATA_SETS = ("corpus", "qa", "embedding")
"""Fields of a task whose settings count if they were set, also to what is usual: a data set may have other defaults."""
OF_OWN_DATA = ("data_dir", "columns", "label", "unlabelled", "make_splits", "corpus")
"""Fields of a task that say where its data are and what is in them."""


def _kind(name: str) -> str:
    known = [*KINDS["files"], *KINDS["text"]]
    if name not in known:
        raise ValueError(f"unknown kind '{name}'{nearest(name, known)}")
    return name


def _shares(text: str) -> str:
    parse_shares(text)
    return text


class TaskSpec(Config):
    """Which task, and where its data are. A plain string in YAML is the name."""

    name: str = "files"
    """glue/mrpc, pydoc, ... or files for your own"""
    data_dir: str | None = None
    """folder with train|validation|test as parquet, jsonl, csv or tsv, or one file; tagging, mrc, qa and choice have
    formats of their own"""
    columns: tuple[str, ...] | None = None
    """text columns of your own data, one or two; of tagging the column of tokens; of qa question and context; of
    choice context, question and options"""
    label: str | None = None
    """label column of your own data; default label, of tagging ner_tags, of qa answers, of choice answer"""
    kind: Annotated[str, AfterValidator(_kind)] | None = None
    """files: classification, regression (default where labels have decimals), tagging, mrc (entities by reading
    comprehension), qa (answers that are spans of a text), multihop (answers from several paragraphs, with the
    sentences that say them), candidates (which of several answers documents speak for), choice (one of several options)
    or embedding (texts as vectors); data sets of entities: tagging (default) or mrc; glue/stsb: regression (default) or
    embedding; text: masked-lm (default), or encoder, asked nothing but what a teacher says"""
    unlabelled: bool = False
    """files: the training rows have no labels; for methods that learn from a teacher"""
    make_splits: Annotated[str, AfterValidator(_shares)] | None = None
    """percentages of train, validation and test, by which splits that are missing are made of the training rows, the
    same each time: 80/10/10"""
    corpus: CorpusSpec | None = None
    """text: which files, and how rows are made of them, in place of data_dir"""
    masking: Masking | None = None
    """text: which tokens are masked; default 15 % for masked-lm, none for encoder"""
    tagging: TaggingSettings | None = None
    """tagging: scheme of the tags, words or characters, windows"""
    mrc: QuerySettings | None = None
    """mrc: questions, loss, decoding"""
    qa: ReadingSettings | None = None
    """qa: windows, decoding, questions without an answer"""
    multihop: HopSettings | None = None
    """multihop: markers, what is learned, decoding"""
    candidates: CandidateSettings | None = None
    """candidates: markers, lengths, segments"""
    choice: ChoiceSettings | None = None
    """choice: options scored together or separately, tokens of an option, blanks"""
    embedding: EmbeddingSettings | None = None
    """embedding: pooling, loss, distance from a teacher, range of the scores"""


def task_values(value: Any) -> Any:
    """Plain values of a task that is written as its name, or as ``{files: FOLDER, ...}`` or ``{text: FOLDER, ...}``."""
    if isinstance(value, str):
        return {"name": value}
    for name in ("files", "text"):
        if isinstance(value, Mapping) and name in value:
            return {"name": name, "data_dir": value[name], **{k: v for k, v in value.items() if k != name}}
    return value


def renamed_task(known: Any, name: str) -> dict[str, Any]:
    """The values of a recipe's task if it is named once more: all of them under its own name.

    Under another name, what says how rows are read stays, and is refused later where that task has no such thing. Where
    the recipe's own data are and what is in them goes, and so does a kind that is not asked of the other data.
    """
    values = task_values(known)
    if not isinstance(values, Mapping):
        return {"name": name}
    if values.get("name", "files") != name:
        gone = {*OF_OWN_DATA, *(() if values.get("kind") in KINDS.get(name, ()) else ("kind",))}
        values = {field: value for field, value in values.items() if field not in gone}
    return {**values, "name": name}


def task_spec(task: Any) -> TaskSpec:
    """A task of its name, of a mapping that says where the data are, or as it is.

    Raises:
        RequestError: names the wrong field.
    """
    return task if isinstance(task, TaskSpec) else build(TaskSpec, task_values(task), where="task")


def _task_to(value: TaskSpec) -> Any:
    given = value.model_dump(mode="json", exclude_defaults=True)
    for name in OVER_A_DATA_SETS:
        if (own := getattr(value, name)) is not None:
            given[name] = own.model_dump(mode="json", exclude_unset=True)
    return value.name if set(given) <= {"name"} else {"name": value.name, **given}


_PARSE, _DUMP = choice({method.name: method for method in METHODS})
Step = Annotated[SerializeAsAny[Method], _PARSE, _DUMP]
Export = Annotated[OnnxExport, *choice(EXPORTS)]


def _distinct(exports: tuple[OnnxExport, ...]) -> tuple[OnnxExport, ...]:
    folders = [export.folder for export in exports]
    if twice := next((name for name in folders if folders.count(name) > 1), None):
        raise ValueError(f"two exports would be written to export/{twice}; leave one out")
    return exports


class Recipe(Config):
    """Everything that determines a result. Device, threads and phases do not: they are chosen when it runs."""

    model: str
    """start model: a folder, a run, a hub name, or packaged-minilm"""
    task: Annotated[TaskSpec, BeforeValidator(task_values), PlainSerializer(_task_to)]
    """task name, or a mapping that says where your own data are"""
    steps: tuple[Step, ...] = Field(min_length=1)
    """the methods, applied one after the other"""
    seed: int = Field(1, ge=0, lt=2**32)
    """same seed and machine, same weights"""
    max_length: int = Field(MAX_LENGTH, ge=4)
    """longest input in tokens"""
    limit: dict[str, Annotated[int, Field(ge=1)]] = Field({})
    """largest number of rows of a split, chosen at random: {train: 10000}"""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """arithmetic of the training; results are stored in float32"""
    baseline: bool = True
    """also train the truncated baseline where a step changes the depth"""
    exports: Annotated[tuple[Export, ...], AfterValidator(_distinct)] = ()
    """what the result is turned into for other runtimes, in folders of the run's `export/`"""
    head_labels: tuple[str, ...] | None = None
    """label names in the order of the start model's head, where its configuration does not tell"""

    budget: Bounds | None = None
    """what the result has to keep against the start model; nothing trains differently for it"""

    def to_yaml(self) -> str:
        """The recipe with every default written out."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)

    def identity(self) -> dict[str, Any]:
        """Flat path to value of everything that determines the result."""
        values = yaml.safe_load(self.to_yaml())
        del values["budget"]
        return dict(flatten(values))


def flatten(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Dotted path to leaf value of nested mappings and lists."""
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and value:
        items = ((str(index), item) for index, item in enumerate(value))  # type: ignore[assignment]
    else:
        return [(path, value)]
    return [pair for key, item in items for pair in flatten(item, f"{path}.{key}" if path else str(key))]


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely.

    Raises:
        RequestError: names the source and the place.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise RequestError(f"{source} is not valid YAML: {reason}") from None


def shipped_recipes() -> dict[str, str]:
    """Name to text of the recipes that come with the package."""
    folder = files("bertpress") / "recipes"
    found = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return {name.removesuffix(".yaml"): found[name].read_text(encoding="utf-8") for name in sorted(found)}


def read_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe file, or of a shipped recipe by its name.

    Raises:
        RequestError: no such file or name, or not a mapping.
    """
    path = Path(name)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise RequestError(f"{name} is not a text file; expected a recipe in YAML.") from None
    else:
        shipped = shipped_recipes()
        if name not in shipped:
            raise RequestError(f"There is no recipe file or shipped recipe '{name}'{nearest(name, list(shipped))}.")
        text = shipped[name]
    values = parse_yaml(text, name)
    if not isinstance(values, dict):
        raise RequestError(f"{name} should hold a mapping with model, task and steps.")
    return values


def override(values: dict[str, Any], assignments: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Apply ``path=value`` assignments; a path is dotted, list positions are numbers, values are YAML.

    Args:
        values: plain values of a recipe; not changed.
        assignments: as typed after ``--set``.
        prefix: where paths start (``steps.0.theseus`` for a one-step command).
    """
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(values))
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign:
            raise RequestError(f"--set expects path=value, got '{assignment}'.")
        _assign(result, [*prefix.split("."), *path.split(".")] if prefix else path.split("."), parse_yaml(text, path))
    return result


def _assign(target: Any, path: list[str], value: Any) -> None:
    for position, key in enumerate(path):
        last = position == len(path) - 1
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                raise RequestError(f"--set {'.'.join(path)}: '{key}' is not a position in a list of {len(target)}.")
            key = int(key)  # type: ignore[assignment]
        if last:
            target[key] = value
            return
        inner = target[int(key)] if isinstance(target, list) else target.get(key)
        if not isinstance(inner, dict | list):  # a choice may be written as its bare name
            bare = {"name": inner} if position == 0 and key == "task" else {inner: {}}
            target[key] = bare if isinstance(inner, str) else {}
        target = target[key]


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Validate plain values.

    Raises:
        RequestError: names every wrong field, with the nearest known name.
    """
    for needed in ("model", "task"):
        if values.get(needed) is None:
            raise RequestError(f"The recipe has no {needed}; give it with --{needed}.")
    return build(Recipe, values)
