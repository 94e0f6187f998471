"""A tiny trained model and data of our own, and a way to drive the command line in this process."""

from __future__ import annotations

import csv
import json
import random
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brief import briefly
from token_tasks import FOLDERS, HEADS, write_token_tasks

SENTENCES = "the B-bad\nhouse O\n\nbright B-good\nday I-good\nis O\n\n"
"""Two sentences in lines of a word and its tag."""
WORDS = {"pos": ["good", "fine", "great"], "neg": ["bad", "poor", "awful"]}
FILLERS = ["the", "film", "was", "a", "very", "one", "story", "plot", "with", "an", "end"]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on standard error."""
        return self.err.splitlines()


@pytest.fixture
def bertpress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process."""
    from bertpress import cli

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["bertpress", *map(str, arguments)])
        code = 0
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure latency for a moment only."""
    from bertpress.costs import latency

    monkeypatch.setattr(latency, "measure", briefly(latency.measure))


def write_csv(path: Path, rows: Iterable[Iterable[object]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A csv file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def commands_of(page: str) -> list[list[str]]:
    """The arguments of each command in a page of the documents, with rows of `data` in place of GLUE's."""
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^bertpress (.+)$", "\n".join(blocks), flags=re.MULTILINE)
    own = "--task files --data-dir data --columns text --max-length 32"
    return [shlex.split(line.replace("--task glue/mrpc", own), comments=True) for line in lines]


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Rows whose label is told by one word."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label = "pos" if index % 2 else "neg"
        words = draw.choices(FILLERS, k=draw.randint(3, 9))
        words.insert(draw.randrange(len(words)), draw.choice(WORDS[label]))
        rows.append((" ".join(words), label))
    return rows


def tiny_config(**fields: Any) -> Any:
    """4 layers of 32."""
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    names = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    return BertConfig(**{"vocab_size": 64, "max_position_embeddings": 64, **sizes, **names, **fields})


def save_tokenizer(folder: Path) -> None:
    """A WordPiece tokenizer over the words of `sentences`, with single letters for everything else."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *FILLERS[:3], *FILLERS[4:], *WORDS["pos"], *WORDS["neg"], *"abcdefghij"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64).save_pretrained(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train, validation and test rows as csv."""
    folder = tmp_path_factory.mktemp("data")
    for split, count, seed in (("train", 96, 1), ("validation", 40, 2), ("test", 20, 3)):
        write_csv(folder / f"{split}.csv", sentences(count, seed))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a trained head for neg and pos."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("models") / "teacher"
    save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    classifier = BertForSequenceClassification(tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    rows = sentences(200, 5)
    batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
    labels = torch.tensor([label == "pos" for _, label in rows]).long()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        classifier(**batch, labels=labels).loss.backward()
        optimizer.step()
    classifier.save_pretrained(folder)
    return folder


def relabelled(model: Path, folder: Path, labels: tuple[str, ...], order: tuple[int, ...] = (0, 1)) -> Path:
    """The model with other names for its outputs, and its outputs in another order."""
    import torch
    from transformers import BertForSequenceClassification

    shutil.copytree(model, folder)
    classifier = BertForSequenceClassification.from_pretrained(model)
    with torch.no_grad():
        for value in (classifier.classifier.weight, classifier.classifier.bias):
            value.copy_(value[list(order)].clone())
    classifier.config.id2label = dict(enumerate(labels))
    classifier.config.label2id = {name: index for index, name in enumerate(labels)}
    classifier.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reducing(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a copy of the model that skips tokens, with policies that are drawn and a profile `half`."""

    def save(**reduction: Any) -> Path:
        import torch
        from transformers import AutoTokenizer, BertForSequenceClassification

        from bertpress.encoders.compact import compact

        folder = tmp_path_factory.mktemp("reduced")
        torch.manual_seed(0)
        fields = {"layers": [1, 2], "profiles": {"half": {"thresholds": [0.4, 0.6]}}, **reduction}
        result = compact(BertForSequenceClassification.from_pretrained(model), token_reduction=fields)
        for policy in result.base_model.policies:
            torch.nn.init.normal_(policy.inner.weight, std=0.1)
            torch.nn.init.normal_(policy.outer.weight, std=0.5)
        result.save_pretrained(folder)
        AutoTokenizer.from_pretrained(model).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def reduced(reducing: Callable[..., Path]) -> Path:
    """Such a model that a test may change."""
    return reducing()


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data of the tasks whose answers are places in a text; see `token_tasks`."""
    folder = tmp_path_factory.mktemp("token_tasks")
    write_token_tasks(folder)
    return folder


@pytest.fixture
def ask(
    bertpress: Callable[..., Outcome], folder_of: Callable[..., Path], token_folder: Path, tmp_path: Path
) -> Callable[..., Outcome]:
    """Runs a command for a kind of task on a tiny model with its head; what is refused must leave nothing behind."""

    def call(command: str, kind: str, *more: object, data: Path | None = None, model: object = None) -> Outcome:
        model = model or folder_of("bert", HEADS[kind], kind)
        data = data or token_folder / FOLDERS[kind]
        flags: list[object] = ["--task", "files", "--data-dir", data, "--kind", kind]
        if kind == "mrc" and not any("queries" in str(part) for part in more):
            flags += ["--set", f"task.mrc.queries={token_folder / 'queries.json'}"]
        out = tmp_path / "out"
        start: list[object] = [command, model] if command in ("evaluate", "predict") else [command, "--model", model]
        flags += [] if command == "evaluate" else ["--out", out]
        outcome = bertpress(*start, *flags, "--max-length", 32, "--device", "cpu", "--quiet", *more)
        assert outcome.code == 0 or not out.exists()
        return outcome

    return call


@pytest.fixture
def notes(ask: Callable[..., Outcome]) -> Callable[..., list[str]]:
    """What a plan of fine-tuning on some data remarks."""

    def told(kind: str, data: Path, *more: object) -> list[str]:
        outcome = ask("finetune", kind, "--dry-run", "--json", *more, data=data)
        assert outcome.code == 0, outcome.err
        found: list[str] = json.loads(outcome.out)[0]["notes"]
        return found

    return told


def written(folder: Path, **contents: str | bytes) -> Path:
    """A new folder with these files; `train_conll` is train.conll."""
    folder.mkdir()
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def lines_of(*rows: object) -> str:
    """Rows as lines of JSON; texts stay as they are."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
