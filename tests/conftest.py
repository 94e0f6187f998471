"""Tiny models with everything random, and tiny data, so that whole recipes run in about a second."""

from __future__ import annotations

import contextlib
import csv
import functools
import gc
import importlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # comes with accelerate
import pytest
import torch
from brief import briefly
from families import FAMILIES
from forked import loading_nothing

from bertpress.costs import latency
from bertpress.engine.loading import class_of_head, loader
from bertpress.tasks.classification import Classification
from bertpress.tasks.data import TextData
from bertpress.tasks.encoding import encode
from bertpress.tasks.masked_lm import MaskedLanguageModel
from bertpress.tasks.masking import Masking

torch.set_num_threads(1)  # tiny models gain nothing from threads; tests side by side wait for each other's
os.environ["OMP_NUM_THREADS"] = "1"  # nor do processes that tests start
os.fsync = lambda _: None  # what tests write need not outlive a power cut

ONE_ANSWER = (None, "sequence-classification", "multiple-choice")
"""Heads, and none, that are applied to the first token alone."""
LABELS = ("bad", "good")
WORDS = {
    0: ("dull", "slow", "broken", "dirty", "empty", "grey"),
    1: ("bright", "quick", "clean", "warm", "full", "green"),
}
FILLERS = ("the", "a", "house", "road", "day", "book", "was", "is", "and", "very", "quite", "tree", "river")
SPLITS = {"train": 96, "validation": 32}


def pytest_collection_finish() -> None:
    keep_from_the_collector()


def keep_from_the_collector() -> None:
    """Hide what was imported from the garbage collector, which every training calls: a fifth of the tests' time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the real data sets where they are not."""
    if item.get_closest_marker("data") and not os.environ.get("BERTPRESS_DATA"):
        pytest.skip("BERTPRESS_DATA is not set")


def _rows(count: int, seed: int) -> list[tuple[str, str]]:
    generator = random.Random(seed)
    rows = []
    for index in range(count):
        label = index % 2
        words = [generator.choice(FILLERS) for _ in range(generator.randint(2, 12))]
        words += [generator.choice(WORDS[label]) for _ in range(2)]
        generator.shuffle(words)
        rows.append((" ".join(words), LABELS[label]))
    return rows


ROWS = {split: _rows(count, seed) for seed, (split, count) in enumerate(SPLITS.items())}


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Large random weights everywhere, norms and biases included, so that a wrong or missing one shows."""
    generator = torch.Generator().manual_seed(seed)
    norms = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.LayerNorm)}
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if id(parameter) in norms else 0.2 * noise)


def make_config(family: str = "bert", **fields: Any) -> Any:
    """The configuration of 4 tiny layers; `fields` change it."""
    from transformers import AutoConfig

    row = FAMILIES[family]
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    return AutoConfig.for_model(family, **{**row.fields, **row.dropout_fields, **labels, **fields})


def make_model(seed: int = 0, family: str = "bert", head: str | None = "sequence-classification", **fields: Any) -> Any:
    """A model of 4 layers with random parameters; `fields` change its configuration."""
    model = loader(class_of_head(head)).from_config(make_config(family, **fields))
    randomise(model, seed)
    return model.eval()


def without_dropout(family: str = "bert", **fields: Any) -> dict[str, Any]:
    """Configuration fields that switch dropout off."""
    return {**dict.fromkeys(FAMILIES[family].dropouts, 0.0), **fields}


@functools.cache
def make_tokenizer(family: str = "bert") -> Any:
    """A fast WordPiece tokenizer over the words of the data."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(FAMILIES[family].pad, "[PAD]")
    words = [*special, *FILLERS, *WORDS[0], *WORDS[1], *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    assert len(vocabulary) <= 100
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=64,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=list(FAMILIES[family].inputs),
    )


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """That of BERT."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a 4-layer model of a family, and of a kind of head, with its tokenizer, once."""

    @functools.cache
    def save(family: str, head: str | None = "sequence-classification", kind: str = "classification") -> Path:
        from token_tasks import label_fields

        folder = tmp_path_factory.mktemp("models") / family
        make_model(family=family, head=head, **label_fields(kind)).save_pretrained(folder)
        make_tokenizer(family).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_model_folder(folder_of: Callable[[str], Path]) -> Path:
    """A saved BERT of 4 layers with its tokenizer."""
    return folder_of("bert")


@pytest.fixture(scope="session")
def text_data() -> Callable[..., TextData]:
    """Makes `TextData` of the rows in memory; fewer rows on request."""
    from datasets import Dataset

    def make(train: int = SPLITS["train"], validation: int = SPLITS["validation"]) -> TextData:
        splits = {}
        for split, count in (("train", train), ("validation", validation)):
            texts, labels = zip(*ROWS[split][:count], strict=True)
            numbers = [LABELS.index(label) for label in labels]
            splits[split] = Dataset.from_dict({"text": list(texts), "label": numbers})
        return TextData("files", splits, ("text",), LABELS, ("accuracy",), "accuracy")

    return make


@pytest.fixture(scope="session")
def task_of(text_data: Callable[..., TextData]) -> Callable[[str], Classification]:
    """The rows as a task for a family, encoded once."""
    return functools.cache(lambda family: Classification(text_data(), make_tokenizer(family), 32))


@pytest.fixture(scope="session")
def task(task_of: Callable[[str], Classification]) -> Classification:
    """The rows as a task for BERT."""
    return task_of("bert")


@functools.cache
def make_masked_task(family: str = "bert", **masking: Any) -> MaskedLanguageModel:
    """The texts of the rows as masked language modelling."""
    return masked_task(make_tokenizer(family), **masking)


def masked_task(tokenizer: Any, **masking: Any) -> MaskedLanguageModel:
    """The same, encoded by a given tokenizer."""
    rows: dict[str, Any] = {
        split: encode(tokenizer, [(text,) for text, _ in texts], 32) for split, texts in ROWS.items()
    }
    return MaskedLanguageModel("text", rows, tokenizer, 32, Masking(**masking))


def batch_of(task: Any) -> dict[str, torch.Tensor]:
    """Eight encoded training rows of different lengths."""
    rows = task.encoded("train")
    return task.collate([rows[index] for index in range(8)])


@pytest.fixture(scope="session")
def batch(task: Classification) -> dict[str, torch.Tensor]:
    """Eight rows for BERT."""
    return batch_of(task)


@pytest.fixture(scope="session")
def tiny_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as train.csv and validation.csv."""
    folder = tmp_path_factory.mktemp("data")
    for split, rows in ROWS.items():
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(rows)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERTPRESS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of the same rows as train.txt and validation.txt."""
    folder = tmp_path_factory.mktemp("text")
    for split, rows in ROWS.items():
        (folder / f"{split}.txt").write_text("".join(f"{text}\n" for text, _ in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_text_task(tiny_text_folder: Path) -> dict[str, Any]:
    """These texts as a task with a row for each line."""
    files = {"files": [str(tiny_text_folder / "train.txt")], "validation": [str(tiny_text_folder / "validation.txt")]}
    return {"name": "text", "corpus": {**files, "pack": "off", "pair_probability": 0}}


@pytest.fixture
def quick_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency measured for a moment only."""
    monkeypatch.setattr(latency, "measure", briefly(latency.measure))


@pytest.fixture(scope="session")
def tiny_recipe(tiny_model_folder: Path, tiny_data_folder: Path) -> dict[str, Any]:
    """A recipe on the tiny model and data, without steps."""
    task = {"files": str(tiny_data_folder), "columns": ["text"]}
    return {"model": str(tiny_model_folder), "task": task, "max_length": 32, "baseline": False}


@pytest.fixture(scope="session")
def carry_out(tiny_recipe: dict[str, Any]) -> Callable[..., Path]:
    """Runs a recipe of one step on the tiny model and data in a folder.

    Trainings are scored and saved three times; results are loaded in a fresh process only where it says `loads`.
    """
    from bertpress.engine import trainer
    from bertpress.engine.run import Runtime
    from bertpress.recipe import make_recipe
    from bertpress.runs import finishing, pipeline

    keep_from_the_collector()

    def run(
        step: dict[str, Any],
        folder: Path,
        progress: Any = None,
        say: Any = None,
        phases: Any = None,
        loads: bool = False,
        signals: Path | None = None,
        then: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Path:
        values = {**tiny_recipe, "steps": [step, then] if then else [step], **fields}
        told = {"progress": progress, "say": say, "phases": phases, "signals": signals}
        runtime = Runtime(device="cpu", **{name: value for name, value in told.items() if value})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(latency, "measure", briefly(latency.measure))
            patch.setattr(trainer, "EVALUATIONS", 3)
            if not loads:
                patch.setattr(finishing, "check_loads", loading_nothing(finishing.check_loads))
            pipeline.carry_out(pipeline.prepare(make_recipe(values), runtime), folder)
        return folder

    return run


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


def kill_family(process: subprocess.Popen[Any], seconds: float = 60) -> None:
    """Kill a process and all that it started, and wait until they are gone.

    Killing its group is not enough: torchrun starts its workers in sessions of their own, and one that outlives it for
    a moment still holds the lock of its run.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        parent.suspend()  # it starts no other one meanwhile
        family = [parent, *parent.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(seconds)
        until = time.monotonic() + seconds
        while any(map(_is_alive, family)):
            assert time.monotonic() < until, f"{family} live on"
            time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    """False for a dead process, also for one whose new parent has not asked after it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
