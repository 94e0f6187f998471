"""What `bertpress pretrain` asks for, as a recipe: masked language modelling, or general distillation, on plain text.

Neither is a method of its own. Masked language modelling is fine-tuning on the task `text`; general distillation is
step 1 of TinyBERT on text of which nothing is asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertpress.config import build
from bertpress.corpus import CorpusSpec
from bertpress.engine.run import Runtime, check_runtime
from bertpress.errors import RequestError
from bertpress.files import changed_files, new_folder, read_json, write_json
from bertpress.methods import method_named
from bertpress.methods.method import Training
from bertpress.methods.tinybert import Shape
from bertpress.processes import is_first_process
from bertpress.runs.run_folder import check_run

if TYPE_CHECKING:
    from transformers import BertConfig

    from bertpress.api import Result
    from bertpress.recipe import Recipe
    from bertpress.tasks.masking import Masking

UNTRAINED = "untrained"
"""Folder of a run with the model of random weights that it began with."""
LARGEST = 30_522
"""Entries of a vocabulary, if not said otherwise: BERT's."""
SHAPES = {"tinybert4": "4x312x12x1200", "tinybert6": "6x768x12x3072"}
TRAININGS: dict[str, dict[str, Any]] = {
    "masked-lm": {"epochs": 3, "learning_rate": 1e-4, "warmup": 0.1, "weight_decay": 0.01},
    "distill": {"epochs": 3, "learning_rate": 5e-5, "warmup": 0.1, "weight_decay": 0.01, "decay": "linear"},
}
"""Defaults; those of distillation are TinyBERT's but for the batch size, which is `Training`'s."""


@dataclass(frozen=True)
class Request:
    """What was typed."""

    corpus: tuple[str, ...]
    objective: str
    model: str | None
    teacher: str | None
    shape: str | None
    vocabulary: str | None
    vocabulary_size: int | None
    cased: bool
    train: str

    @property
    def makes_model(self) -> bool:
        """True if it begins with a model of random weights and a vocabulary of its own."""
        return self.objective == "masked-lm" and self.shape is not None

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            RequestError: says what is missing or too much.
        """
        if not self.corpus:
            raise RequestError("Name the text with --corpus.")
        if self.objective not in TRAININGS:
            raise RequestError(f"--objective expects masked-lm or distill, got '{self.objective}'.")
        if self.model and self.shape:
            raise RequestError("Give one of --model and --shape.")
        if not self.vocabulary and (self.cased or self.vocabulary_size is not None):
            raise RequestError("--cased and --vocabulary-size describe a new vocabulary; give --vocabulary too.")
        if self.objective == "distill":
            if self.teacher is None or self.vocabulary or self.train != "all":
                raise RequestError(
                    "distill needs --teacher, whose vocabulary the student shares; no --vocabulary, no --train."
                )
            return
        whole = self.model is not None or (self.shape is not None and self.vocabulary is not None)
        if not whole or self.teacher is not None or (self.model is not None and self.vocabulary is not None):
            raise RequestError("masked-lm needs --model, or --shape and --vocabulary; it has no --teacher.")
        if self.vocabulary not in (None, "wordpiece", "characters"):
            raise RequestError(f"--vocabulary expects wordpiece or characters, got '{self.vocabulary}'.")

    def values(self, out: Path | None) -> tuple[dict[str, Any], str]:
        """The recipe as plain values, and where paths of --set start."""
        corpus = {"files": list(self.corpus)}
        shape = None if self.shape is None else parse_shape(self.shape)
        if self.objective == "distill":
            fields = {"student": self.model, "shape": shape, "intermediate": TRAININGS["distill"]}
            step = {"prediction": None, **{name: value for name, value in fields.items() if value}}
            task = {"name": "text", "kind": "encoder", "corpus": corpus}
            return {"model": self.teacher, "task": task, "steps": [{"tinybert": step}], "baseline": False}, _PREFIX[
                "tinybert"
            ]
        model = str((out or Path()) / UNTRAINED) if self.makes_model else self.model
        step = {"train": self.train, "training": TRAININGS["masked-lm"]}
        task = {"name": "text", "corpus": corpus}
        return {"model": model, "task": task, "steps": [{"finetune": step}], "baseline": False}, _PREFIX["finetune"]

    def make_model(self, recipe: Recipe, runtime: Runtime) -> None:
        """Make the model that the recipe begins with; of several processes the first one does, the others wait.

        Raises:
            RequestError: what is wrong with the recipe, before the text is read for the vocabulary; the folder holds a
                model of other settings, or the text cannot be read.
        """
        from bertpress.encoders import check_length
        from bertpress.runs.pipeline import check_steps, quieten
        from bertpress.runs.planning import reading_positions
        from bertpress.tasks.text import check_text

        quieten(runtime.threads)
        folder, corpus = Path(recipe.model), recipe.task.corpus
        assert self.shape is not None
        assert corpus is not None
        shape = parse_shape(self.shape)
        check_runtime(runtime, recipe.precision)
        check_run(folder.parent, recipe)
        config = untrained_config(shape, self.vocabulary_size or LARGEST)
        check_length(recipe.max_length, reading_positions(recipe, config))
        check_steps(recipe, config, None, runtime)
        check_text(corpus, recipe.max_length, recipe.limit)
        if is_first_process():
            make_untrained(self, folder, corpus, shape, recipe.seed, runtime.say)
        while not (folder / "untrained.json").is_file():
            time.sleep(1)


_PREFIX = {name: f"steps.0.{name}" for name in ("finetune", "tinybert")}


def pretrain(
    corpus: str | Sequence[str] | Mapping[str, Any],
    out: str | Path,
    *,
    objective: str = "masked-lm",
    model: str | None = None,
    teacher: str | None = None,
    shape: str | None = None,
    vocabulary: str | None = None,
    vocabulary_size: int | None = None,
    cased: bool = False,
    train: str = "all",
    masking: Masking | Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    **options: Any,
) -> Result:
    """Pre-train on plain text, as ``bertpress pretrain`` does.

    Args:
        corpus: files, folders and patterns; or fields of the corpus, ``{"files": "a.txt", "pack": "off"}``.
        out: the run's folder; resumed if it holds the same recipe.
        objective: masked-lm, or distill into a small encoder.
        model: where it starts; for distill the student.
        teacher: the large encoder of distill.
        shape: start from random weights, LAYERSxWIDTH[xHEADS[xINNER]].
        vocabulary: of masked-lm with a shape: wordpiece or characters.
        vocabulary_size: largest number of its entries.
        cased: its letters keep their case.
        train: of masked-lm: all, or head.
        masking: which tokens are masked; default 15 % for masked-lm, none for distill.
        runtime: device, threads, progress.
        **options: fields of `Finetune` (for distill of `TinyBert`) and of the recipe, such as ``seed=2`` or
            ``training=Training(epochs=1)``; what a training leaves open is the command's default.

    Raises:
        RequestError: the request was wrong; nothing was written.
    """
    from bertpress.api import run_recipe
    from bertpress.recipe import make_recipe

    fields = corpus if isinstance(corpus, Mapping) else {"files": corpus}
    files = fields.get("files") or ()
    paths = (files,) if isinstance(files, str) else tuple(files)
    asked = Request(paths, objective, model, teacher, shape, vocabulary, vocabulary_size, cased, train)
    asked.check()
    values, _ = asked.values(Path(out))
    masked = {} if masking is None else {"masking": masking}
    values["task"] = {**values["task"], "corpus": {**fields, "files": paths}, **masked}
    recipe = make_recipe(_with_options(values, options))
    runtime = runtime or Runtime()
    if asked.makes_model:
        asked.make_model(recipe, runtime)
    return run_recipe(recipe, out, runtime)


def _with_options(values: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe of one step, with fields of the step and of the recipe."""
    ((name, step),) = values["steps"][0].items()
    own = {field: value for field, value in options.items() if field in method_named(name).model_fields}
    for field, value in own.items():
        given = value.model_dump(exclude_unset=True) if isinstance(value, Training) else value
        both = isinstance(given, Mapping) and isinstance(step.get(field), Mapping)
        own[field] = {**step[field], **given} if both else given
    rest = {field: value for field, value in options.items() if field not in own}
    return {**values, "steps": [{name: {**step, **own}}], **rest}


def parse_shape(text: str) -> dict[str, int]:
    """Layers, width, heads and inner width of ``LAYERSxWIDTH[xHEADS[xINNER]]`` or of a name in `SHAPES`.

    The inner width is four times the width by default; heads are 64 wide, or 12 where 64 does not divide the width.

    Raises:
        RequestError: another form, heads that do not divide the width, or more than any model has.
    """
    match = re.fullmatch(r"(\d+)x(\d+)(?:x(\d+))?(?:x(\d+))?", SHAPES.get(text, text))
    numbers = [int(number) for number in match.groups() if number] if match else []
    if not numbers or min(numbers) < 1:
        raise RequestError(
            f"--shape expects LAYERSxWIDTH[xHEADS[xINNER]], such as 4x192x12x768, or {', '.join(SHAPES)}; got '{text}'."
        )
    layers, width, *rest = numbers
    heads = rest[0] if rest else (width // 64 if width % 64 == 0 else 12)
    if width % heads:
        raise RequestError(
            f"--shape: the width {width} is no multiple of {heads} heads; add the heads, as in 4x192x12."
        )
    inner = rest[1] if len(rest) > 1 else 4 * width
    shape = {"layers": layers, "hidden_size": width, "heads": heads, "intermediate_size": inner}
    return build(Shape, shape, where="--shape").model_dump()


def untrained_config(shape: dict[str, int], vocabulary_size: int) -> BertConfig:
    """The configuration of a BERT of that shape."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary_size,
        num_hidden_layers=shape["layers"],
        hidden_size=shape["hidden_size"],
        num_attention_heads=shape["heads"],
        intermediate_size=shape["intermediate_size"],
    )


def make_untrained(
    asked: Request, folder: Path, corpus: CorpusSpec, shape: dict[str, int], seed: int, say: Callable[[str], None]
) -> None:
    """A BERT of random weights in this shape, with a vocabulary made from the text; nothing if it is there already.

    Raises:
        RequestError: the folder holds one of other settings, or the text cannot be read.
    """
    from transformers import BertForMaskedLM, set_seed

    from bertpress.corpus.store import find_sources
    from bertpress.corpus.vocabulary import build_tokenizer

    kind: Literal["wordpiece", "characters"] = "characters" if asked.vocabulary == "characters" else "wordpiece"
    size = asked.vocabulary_size or LARGEST
    wanted = {
        "corpus": list(corpus.files),
        **shape,
        "vocabulary": kind,
        "size": size,
        "cased": asked.cased,
        "seed": seed,
        "text": {str(source.path): source.sha256 for source in find_sources(corpus) if source.part == "train"},
    }
    if (folder / "untrained.json").is_file():
        _check_untrained(folder, wanted)
        return
    tokenizer = build_tokenizer(corpus, kind, size, not asked.cased, say=say)
    set_seed(seed)
    config = untrained_config(shape, len(tokenizer))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as temporary:
        BertForMaskedLM(config).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_json(temporary / "untrained.json", wanted)


def _check_untrained(folder: Path, wanted: dict[str, Any]) -> None:
    """Refuse a model that was made otherwise, or of a text that was edited since.

    Raises:
        RequestError: names the settings, or the files.
    """
    there = read_json(folder / "untrained.json")
    known = {name: value for name, value in wanted.items() if name != "text"}
    if differing := [name for name, value in known.items() if there.get(name) != value]:
        raise RequestError(f"{folder} was made with other values of {', '.join(differing)}; choose another --out.")
    if changed := changed_files(there.get("text", wanted["text"]), wanted["text"]):
        raise RequestError(
            f"The vocabulary of {folder} was made of other text: {', '.join(changed[:5])} changed since; put back what "
            "was there, or choose another --out."
        )
