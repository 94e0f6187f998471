"""`bertpress pretrain` from end to end, and what follows it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("quick")
QUICK = ("--max-length", "32", "--batch-size", "8", "--device", "cpu", "--quiet")
WORDS = ("the", "film", "was", "good", "bad", "very", "one", "story", "with", "an", "end", "and", "road", "house")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 lines of text."""
    generator = random.Random(0)
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    lines = (" ".join(generator.choices(WORDS, k=generator.randint(4, 20))) for _ in range(300))
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def finetuned(model: Path) -> dict[str, Any]:
    return dict(json.loads((model / "config.json").read_text()))


@pytest.mark.slow
def test_a_model_from_nothing_but_text(bertpress: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    command = ["pretrain", "--corpus", corpus, "--shape", "2x16x2", "--vocabulary", "wordpiece", *QUICK,
               "--vocabulary-size", "120", "--out", tmp_path / "run", "--set", "training.max_steps=10"]  # fmt: skip
    first = bertpress(*command)
    assert first.code == 0, first.err
    result = json.loads((tmp_path / "run" / "00-finetune" / "result.json").read_text())
    assert 0 <= result["metrics"]["validation"]["masked_accuracy"] <= 1
    folder = tmp_path / "run" / "00-finetune" / "model"
    assert AutoModelForMaskedLM.from_pretrained(folder).config.num_hidden_layers == 2
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("the film") == ["the", "film"]
    again = bertpress(*command)
    assert again.code == 0
    other = bertpress(*[*command, "--cased"])
    assert other.code == 2
    assert "made with other values of cased" in other.err


@pytest.mark.slow
def test_a_head_for_an_encoder_that_stays(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    done = bertpress("pretrain", "--corpus", corpus, "--model", model, "--train", "head", *QUICK, "--out",
                     tmp_path / "run", "--set", "training.max_steps=5")  # fmt: skip
    assert done.code == 0, done.err
    before = load_file(model / "model.safetensors")
    after = load_file(tmp_path / "run" / "00-finetune" / "model" / "model.safetensors")
    shared = set(before) & set(after)
    assert len(shared) > 10
    assert all((before[name] == after[name]).all() for name in shared)
    assert any(name.startswith("cls.predictions.transform") for name in after)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_general_distillation_and_what_follows(
    bertpress: Callable[..., Any], corpus: Path, model: Path, data: Path, tmp_path: Path, masked: bool
) -> None:
    from transformers import AutoModel

    masking = ["--set", "task.masking.probability=0.15"] if masked else []
    general = bertpress("pretrain", "--objective", "distill", "--teacher", model, "--corpus", corpus, "--shape",
                        "2x12x2x20", *QUICK, "--out", tmp_path / "general", "--set", "intermediate.max_steps=10",
                        *masking)  # fmt: skip
    assert general.code == 0, general.err
    step = tmp_path / "general" / "00-tinybert"
    result = json.loads((step / "result.json").read_text())
    assert result["metrics"] == {}
    assert result["phases"] == ["intermediate"]
    logged = [json.loads(line) for line in (step / "intermediate" / "log.jsonl").read_text().splitlines()]
    distances = [entry["eval_distance"] for entry in logged if "eval_distance" in entry]
    assert min(distances) < distances[0]
    assert (step / "projections.safetensors").is_file()
    student = AutoModel.from_pretrained(step / "model")
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (2, 12)
    assert "AutoModel.from_pretrained" in (step / "model" / "README.md").read_text()
    if masked:
        return
    task = bertpress("tinybert", "--model", model, "--task", "files", "--data-dir", data, "--columns", "text", *QUICK,
                     "--out", tmp_path / "task", "--set", f"student={tmp_path / 'general'}", "--set",
                     "intermediate.max_steps=3", "--set", "prediction.max_steps=3", "--set", "teacher_check=false",
                     "--no-baseline")  # fmt: skip
    assert task.code == 0, task.err
    assert json.loads((tmp_path / "task" / "report.json").read_text())["rows"][-1]["layers"] == 2


@pytest.mark.slow
def test_another_masking_is_scored_alike(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path
) -> None:
    """The flags that made a model evaluate, predict and measure it too."""
    rows = ["--set", "task.masking.probability=0.4", "--set", "task.corpus.pack=off", "--max-length", "32"]
    made = bertpress("pretrain", "--corpus", corpus, "--model", model, *rows, "--batch-size", "8", "--device", "cpu",
                     "--quiet", "--set", "training.max_steps=5", "--out", tmp_path / "run")  # fmt: skip
    assert made.code == 0, made.err
    result = json.loads((tmp_path / "run" / "00-finetune" / "result.json").read_text())
    flags = [tmp_path / "run", "--corpus", corpus, *rows, "--device", "cpu"]
    scored = bertpress("evaluate", *flags, "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["validation"] == pytest.approx(result["metrics"]["validation"])
    plain = bertpress("evaluate", tmp_path / "run", "--corpus", corpus, "--device", "cpu", "--json", *rows[2:])
    assert plain.code == 0
    assert plain.out != scored.out
    predicted = bertpress("predict", *flags, "--split", "validation", "--out", tmp_path / "predictions")
    assert predicted.code == 0, predicted.err
    records = [json.loads(line) for line in (tmp_path / "predictions" / "validation.jsonl").read_text().splitlines()]
    share = sum(record["guessed"] for record in records) / sum(record["masked"] for record in records)
    assert share == pytest.approx(result["metrics"]["validation"]["masked_accuracy"])
    assert bertpress("measure", *flags, "--batch-size", "4").code == 0
    wrong = bertpress("evaluate", tmp_path / "run", "--corpus", corpus, "--set", "masking.probability=0.4")
    assert wrong.code == 2
    assert "--set takes fields of the task here (task.FIELD=VALUE)" in wrong.err


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["masked-lm", "distill"])
def test_the_function_does_what_the_command_does(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path, objective: str
) -> None:
    from bertpress import Runtime, Training, pretrain

    runtime = Runtime(device="cpu")
    training = Training(max_steps=4, batch_size=8)
    if objective == "distill":
        flags = ["--objective", "distill", "--teacher", model, "--shape", "2x12x2x20"]
        made = pretrain(str(corpus), tmp_path / "function", objective="distill", teacher=str(model),
                        shape="2x12x2x20", intermediate=training, max_length=32, runtime=runtime)  # fmt: skip
        phase, step = "intermediate", "00-tinybert"
    else:
        flags = ["--shape", "2x16x2", "--vocabulary", "characters", "--set", "task.masking.whole_word=true", "--set",
                 "task.corpus.pack=off", "--seed", "3"]  # fmt: skip
        made = pretrain({"files": [str(corpus)], "pack": "off"}, tmp_path / "function", shape="2x16x2",
                        vocabulary="characters", masking={"whole_word": True}, seed=3, training=training,
                        max_length=32, runtime=runtime)  # fmt: skip
        phase, step = "training", "00-finetune"
    assert made.report["rows"]
    done = bertpress("pretrain", "--corpus", corpus, *flags, *QUICK, "--set", f"{phase}.max_steps=4", "--out",
                     tmp_path / "command")  # fmt: skip
    assert done.code == 0, done.err
    weights = [
        (tmp_path / name / step / "model" / "model.safetensors").read_bytes() for name in ("function", "command")
    ]
    assert weights[0] == weights[1]
    recipes = [(tmp_path / name / "recipe.yaml").read_text() for name in ("function", "command")]
    assert recipes[0].replace(str(tmp_path / "function"), str(tmp_path / "command")) == recipes[1]


def test_the_function_refuses_what_the_command_refuses(corpus: Path, model: Path, tmp_path: Path) -> None:
    from bertpress import RequestError, pretrain

    for fields, words in (
        ({}, "needs --model, or --shape and --vocabulary"),
        ({"model": str(model), "epochz": 3}, "epochz"),
        ({"model": str(model), "objective": "guess"}, "got 'guess'"),
    ):
        with pytest.raises(RequestError, match=words):
            pretrain(str(corpus), tmp_path / "run", **fields)
    with pytest.raises(RequestError, match="Name the text"):
        pretrain([], tmp_path / "run", model=str(model))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "Name the text with --corpus"),
        (["--corpus", "CORPUS"], "needs --model, or --shape and --vocabulary"),
        (["--corpus", "CORPUS", "--objective", "guess"], "--objective expects masked-lm or distill, got 'guess'"),
        (["--corpus", "CORPUS", "--objective", "distill"], "distill needs --teacher"),
        (["--corpus", "CORPUS", "--model", "MODEL", "--shape", "2x16"], "one of --model and --shape"),
        (["--corpus", "CORPUS", "--shape", "wide", "--vocabulary", "wordpiece"], "LAYERSxWIDTH"),
        (["--corpus", "CORPUS", "--shape", "2x50", "--vocabulary", "wordpiece"], "50 is no multiple of 12 heads"),
        (["--corpus", "CORPUS", "--shape", "2x99999999x1", "--vocabulary", "wordpiece"], "--shape.hidden_size: "),
        (["--corpus", "CORPUS", "--shape", "2x-24", "--vocabulary", "wordpiece"], "LAYERSxWIDTH"),
        (["--corpus", "CORPUS", "--shape", "2x24", "--vocabulary", "letters"], "expects wordpiece or characters"),
        (["--corpus", "CORPUS", "--model", "MODEL", "--train", "tail"], "train"),
        (["--corpus", "CORPUS", "--model", "MODEL", "--columns", "body"], "leave out --data-dir, --columns"),
        (["--corpus", "CORPUS", "--model", "MODEL", "--cased"], "describe a new vocabulary"),
        (
            ["--corpus", "CORPUS", "--shape", "2x24", "--vocabulary", "wordpiece", "--set", "training.epochz=3"],
            "epochz",
        ),
        (["--corpus", "nowhere.txt", "--model", "MODEL"], "Expected text files at nowhere.txt"),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    given = [{"CORPUS": str(corpus), "MODEL": str(model)}.get(flag, flag) for flag in flags]
    done = bertpress("pretrain", *given, *QUICK, "--out", tmp_path / "run")
    assert done.code == 2, done.err
    assert words in done.err
    assert not (tmp_path / "run").exists()


def edit(file: Path) -> None:
    """Swap two words, and leave length and time of change as they were."""
    before, text = file.stat(), file.read_text(encoding="utf-8")
    file.write_text(text.replace("film", "road", 1), encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["--model", "--shape"])
def test_a_run_does_not_go_on_with_edited_text(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path, begin: str
) -> None:
    text = tmp_path / "text.txt"
    shutil.copy(corpus, text)
    start = {"--model": ["--model", model], "--shape": ["--shape", "2x16x2", "--vocabulary", "characters"]}[begin]
    command = ["pretrain", "--corpus", text, *start, *QUICK, "--set", "training.max_steps=4", "--out", tmp_path / "run"]
    assert bertpress(*command).code == 0
    shutil.rmtree(tmp_path / "run" / "00-finetune")  # as if it had been killed
    edit(text)
    again = bertpress(*command)
    assert again.code == 2
    what = "The vocabulary of" if begin == "--shape" else f"{tmp_path / 'run'} was begun with other data"
    assert what in again.err
    assert f"{text} changed since" in again.err
    assert not (tmp_path / "run" / "00-finetune").exists()
    shutil.copy(corpus, text)
    assert bertpress(*command).code == 0, "what was there is put back"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a vocabulary is made of the text nor the text tokenised."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("the text was read")

    monkeypatch.setattr("bertpress.corpus.store._write_store", fail)
    monkeypatch.setattr("bertpress.corpus.vocabulary.build_tokenizer", fail)


MASKED = ("pretrain", "--corpus", "CORPUS", "--model", "MODEL")
NEW = ("pretrain", "--corpus", "CORPUS", "--shape", "2x16x2", "--vocabulary", "wordpiece")
DISTILL = ("pretrain", "--corpus", "CORPUS", "--objective", "distill", "--teacher", "MODEL")
TEXT = ("--task", "text", "--data-dir", "CORPUS")
EARLY = {
    "layers": ((*MASKED, "--set", "layers=9"), "between 1 and the model's 4, got 9"),
    "layers of a new model": ((*NEW, "--set", "layers=9"), "between 1 and the model's 2, got 9"),
    "split": ((*MASKED, "--limit", "test=5"), "the splits train and validation, not 'test'"),
    "split of a new model": ((*NEW, "--limit", "test=5"), "the splits train and validation, not 'test'"),
    "nothing held out": ((*MASKED, "--set", "task.corpus.validation=0"), "validation=0 holds nothing out"),
    "idle field": (
        (*MASKED, "--set", "task.corpus.format=lines", "--set", "task.corpus.next_sentence=random50"),
        "next_sentence=random50 needs format=documents",
    ),
    "short rows": ((*MASKED, "--max-length", 6), "8 to 65535 tokens, got 6"),
    "long rows": ((*MASKED, "--max-length", 65), "more than the 64 positions"),
    "long rows of a new model": ((*NEW, "--max-length", 513), "more than the 512 positions"),
    "tracker": ((*NEW, "--log", "tensorbord"), "no tracker 'tensorbord'"),
    "device": ((*NEW, "--device", "gpu"), "no device 'gpu'"),
    "heads": ((*DISTILL, "--shape", "2x12x2", "--set", "attention_loss=scores"), "needs equal numbers of heads"),
    "weights": ((*DISTILL, "--set", "hidden_weight=[1,2]"), "hidden_weight: expected one number or 3, got 2"),
    "map": ((*DISTILL, "--set", "layer_map=[[1,9]]"), "a teacher layer up to 4"),
    "vocabulary": ((*DISTILL, "--model", "OTHER"), "have different vocabularies"),
    "angle": (
        ("tinybert", "--model", "MODEL", *TEXT, "--set", "shape={layers: 2, hidden_size: 12, heads: 2}", "--set",
         "cosine_weight=1"),
        "cosine_weight needs equal widths",
    ),
    "nothing to predict": (("theseus", "--model", "MODEL", *TEXT, "--kind", "encoder"), "asks nothing"),
    "no head": (("theseus", "--model", "MODEL", *TEXT), "has no trained head for text"),
    "no head to score": (("evaluate", "MODEL", *TEXT), "has no trained head for text"),
    "nothing to score": (("evaluate", "MODEL", *TEXT, "--kind", "encoder"), "asks nothing"),
    "no words to replace": (("augment", "--model", "MODEL", *TEXT), "has no texts whose words could be replaced"),
}  # fmt: skip


@pytest.mark.parametrize("what", EARLY)
@pytest.mark.usefixtures("unread")
def test_requests_are_refused_before_the_text_is_read(
    what: str, bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    tokenizer = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(tokenizer.replace('"film"', '"movie"'), encoding="utf-8")
    command, words = EARLY[what]
    names = {"CORPUS": corpus, "MODEL": model, "OTHER": other}
    more = [] if command[0] == "evaluate" else ["--out", tmp_path / "run"]
    more += [] if command[0] == "augment" or "--max-length" in command else ["--max-length", 32]
    done = bertpress(*(names.get(str(word), word) for word in command), "--quiet", *more)
    assert done.code == 2, done.err
    assert words in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("begin", [MASKED, NEW])
@pytest.mark.usefixtures("unread")
def test_a_folder_of_others_is_refused_before_the_text_is_read(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path, begin: tuple[str, ...]
) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    command = [{"CORPUS": str(corpus), "MODEL": str(model)}.get(word, word) for word in begin]
    done = bertpress(*command, *QUICK, "--out", tmp_path)
    assert done.code == 2
    assert "holds files that are not a run" in done.err


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"", "Expected text in"), (b"\n \n\n", "Expected text in"), (b"a\0b\n", "other bytes"), (b"\xff\xfe\n", "UTF-8")],
)
def test_text_that_is_none_is_refused(
    bertpress: Callable[..., Any], model: Path, tmp_path: Path, text: bytes, words: str
) -> None:
    (tmp_path / "text.txt").write_bytes(text)
    done = bertpress("pretrain", "--corpus", tmp_path / "text.txt", "--model", model, *QUICK, "--out", tmp_path / "run")
    assert done.code == 2
    assert words in done.err
    assert "text.txt" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_sweep_of_what_has_no_score_is_refused(
    bertpress: Callable[..., Any], corpus: Path, model: Path, tmp_path: Path
) -> None:
    done = bertpress("pretrain", "--objective", "distill", "--teacher", model, "--corpus", corpus, "--shape", "2x12x2",
                     *QUICK, "--out", tmp_path / "run", "--seeds", "2")  # fmt: skip
    assert done.code == 2
    assert "A sweep chooses by a score, and validation of text (kind encoder) can have none" in done.err


def test_shapes() -> None:
    from bertpress.pretraining import parse_shape

    assert parse_shape("tinybert4") == {"layers": 4, "hidden_size": 312, "heads": 12, "intermediate_size": 1200}
    assert parse_shape("6x768") == {"layers": 6, "hidden_size": 768, "heads": 12, "intermediate_size": 3072}
    assert parse_shape("4x192x12") == {"layers": 4, "hidden_size": 192, "heads": 12, "intermediate_size": 768}
