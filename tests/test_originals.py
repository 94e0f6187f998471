"""The pages for users of the originals: commands are accepted, flags are all there, fields and tests exist."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from bertpress import cli
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.trbert import TrBert
from bertpress.recipe import make_recipe

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "originals").glob("*.md"))}
TRAIN = ("finetune", "theseus", "tinybert", "trbert", "yoco", "pretrain", "compress")


def lines(page: str) -> Iterator[list[str]]:
    """The commands of a page, as lists of words."""
    for block in re.findall(r"^```bash\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        yield from (shlex.split(line)[1:] for line in block.splitlines() if line.startswith("bertpress "))


LINES = [line for page in PAGES.values() for line in lines(page)]
TRAINING = [line for line in LINES if line[0] in TRAIN]
OTHER = [line for line in LINES if line not in TRAINING]


@pytest.mark.parametrize("line", TRAINING, ids=" ".join)
def test_training_lines_give_a_recipe(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bertpress", *line, "--print"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    make_recipe(yaml.safe_load(capsys.readouterr().out))


@pytest.mark.parametrize("line", OTHER, ids=" ".join)
def test_flags_of_the_other_lines_exist(line: list[str]) -> None:
    assert [word for word in line if word.startswith("--") and word not in flags_of(line[0])] == []


def flags_of(command: str) -> set[str]:
    return {name for parameter in typer.main.get_command(cli.app).commands[command].params for name in parameter.opts}


def test_the_fields_that_the_tables_of_theseus_name_exist() -> None:
    rate_of = {"constant": {"rate": 0.5, "switch_after": 5}, "linear": {"base": 0.3, "slope": 0.1}}
    for name, values in rate_of.items():
        for field in re.findall(rf"--set rate\.{name}\.(\w+)=", PAGES["theseus"]):
            step = {"theseus": {"rate": {name: {field: values[field]}}}}
            make_recipe({"model": "some/model", "task": "glue/mrpc", "steps": [step]})


def sections(page: str) -> dict[str, str]:
    """Heading to text, of second level."""
    found = [section.partition("\n") for section in re.split(r"^## ", PAGES[page], flags=re.MULTILINE)[1:]]
    return {heading: text for heading, _, text in found}


def test_each_command_of_the_original_has_a_line_of_ours() -> None:
    assert len(sections("theseus")) == 8
    without = [name for name, text in sections("theseus").items() if "```bash\nbertpress " not in text]
    assert without == ["What was wrong in the TensorFlow programs"]
    programs = [name for name in sections("tinybert") if "`" in name or "fork" in name or "checkpoints" in name]
    assert len(programs) == 5
    assert [name for name in programs if "```bash\nbertpress " not in sections("tinybert")[name]] == []
    programs = [name for name in sections("trbert") if "`" in name]
    assert len(programs) == 4
    assert [name for name in programs if "```bash\nbertpress " not in sections("trbert")[name]] == []
    assert "```bash\nbertpress " in sections("yoco")["`train_superbert.py` and `search_subbert.py`"]


PREGENERATE = """--train_corpus --output_dir --bert_model --do_lower_case --do_whole_word_mask --reduce_memory
    --num_workers --epochs_to_generate --max_seq_len --short_seq_prob --masked_lm_prob --max_predictions_per_seq
    --data_url --one_seq"""
TRAINED = """--teacher_model --student_model --output_dir --do_eval --do_lower_case --train_batch_size --eval_batch_size
    --learning_rate --weight_decay --wd --num_train_epochs --warmup_proportion --no_cuda --seed
    --gradient_accumulation_steps --eval_step --data_url"""
GENERAL = f"{TRAINED} --local_rank --fp16 --continue_train"
TASK = f"{TRAINED} --data_dir --cache_dir --aug_train --pred_distill --temperature"
WORDS = "--pretrained_bert_model --glove_embs --N --M --p"
FORK = "The fork for Chinese"
CLASSIFICATION = """--data_dir --task_name --model_type --model_name_or_path --output_dir --max_seq_length --do_train
    --do_eval --do_test --train_rl --train_both --train_init --train_teacher --do_eval_grad --do_eval_logits
    --evaluate_during_training --do_lower_case --per_gpu_train_batch_size --per_gpu_eval_batch_size --learning_rate
    --alpha --guide_rate --weight_decay --adam_epsilon --max_grad_norm --num_train_epochs --max_steps --warmup_steps
    --no_cuda --local_rank --seed --gradient_accumulation_steps --fp16 --fp16_opt_level --logging_steps --save_steps
    --overwrite_output_dir --overwrite_cache --config_name --tokenizer_name --cache_dir --eval_all_checkpoints"""
PROGRAMS = {
    "pregenerate_training_data.py": (PREGENERATE, ()),
    "general_distill.py": (f"{GENERAL} --pregenerated_data --max_seq_length --reduce_memory", ()),
    "data_augmentation.py": (f"{WORDS} --glue_dir --task_name", ()),
    "task_distill.py": (f"{TASK} --task_name --max_seq_length", ()),
    "general_distill.py of the fork": (
        f"{GENERAL} --train_file_path --max_seq_len --max_seq_length --reduce_memory",
        (FORK,),
    ),
    "data_augmentation.py of the fork": (f"{WORDS} --data_path", (FORK,)),
    "task_distill.py of the fork": (f"{TASK} --max_seq_len --num_labels --task_mode --do_train", (FORK,)),
}
"""Program to its flags, as its argument parser lists them, and to sections of the page beside its own."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_flag_of_the_programs_of_tinybert_has_its_row(program: str) -> None:
    flags, more = PROGRAMS[program]
    places = sections("tinybert")
    own = [heading for heading in places if f"`{program.split()[0]}`" in heading]
    assert len(own) == 1
    text = "".join(places[heading] for heading in (*own, *more, "Flags that several of them have"))
    rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    assert [flag for flag in flags.split() if f"`{flag}`" not in rows] == []


def test_the_flags_of_ours_in_the_tables_exist() -> None:
    known = set.union(*(flags_of(command) for command in (*TRAIN, "search", "augment", "import")))
    cells = "".join(
        line.split("|")[2] for page in PAGES.values() for line in page.splitlines() if line.startswith("| `--")
    )
    named = set(re.findall(r"`(--[\w-]+)", cells))
    assert len(named) > 10
    assert named - known == set()


FIELDS: dict[str, Any] = {
    "task.corpus.short_probability": 0.2,
    "task.corpus.next_sentence": "none",
    "task.masking.probability": 0.15,
    "task.masking.max_predictions": 20,
    "task.masking.whole_word": True,
    "candidates": 15,
    "replace_probability": 0.4,
    "student": "folder",
    "prediction.epochs": 3,
    "prediction.learning_rate": 3e-5,
    "prediction.weight_decay": 0.01,
    "prediction.warmup": 0.1,
    "intermediate.weight_decay": 0.01,
    "intermediate.warmup": 0.1,
    "temperature": 2.0,
}
"""Fields that the tables of TinyBERT name, with a value that they take."""


def test_the_fields_that_the_tables_of_tinybert_name_exist() -> None:
    from bertpress.augmentation import Augmentation
    from bertpress.recipe import override

    rows = [line for line in PAGES["tinybert"].splitlines() if line.startswith("| `--")]
    named = {field for row in rows for field in re.findall(r"`--set ([\w.]+)=\w*`", row.split("|")[2])}
    assert named == set(FIELDS)
    augmentation = {name: value for name, value in FIELDS.items() if name in Augmentation.model_fields}
    Augmentation(**augmentation)
    assert {field.partition(".")[0] for field in named - set(augmentation)} - set(TinyBert.model_fields) == {"task"}
    step = {"tinybert": {}}
    recipe = {"model": "some/model", "task": {"name": "text", "corpus": {"files": "text.txt"}}, "steps": [step]}
    for field in named - set(augmentation):
        path = field if field.startswith("task.") else f"steps.0.tinybert.{field}"
        make_recipe(override(recipe, [f"{path}={json.dumps(FIELDS[field])}"]))


def test_each_flag_of_the_program_of_trbert_has_its_row() -> None:
    rows = "\n".join(line.split("|")[1] for line in PAGES["trbert"].splitlines() if line.startswith("|"))
    assert [flag for flag in CLASSIFICATION.split() if f"`{flag}`" not in rows] == []


def test_the_fields_that_the_tables_of_trbert_name_exist() -> None:
    from bertpress.recipe import override

    values = {"alpha": 1.0, "guide_rate": 0.5, "joint": None, "epochs": 3, "max_steps": 10, "batch_size": 8}
    values |= {"warmup": 0.1, "weight_decay": 0.0, "clip": 1.0, "beta": 1.0, "kd_temperature": 1.0}
    rows = [line for line in PAGES["trbert"].splitlines() if line.startswith("|")]
    named = {field for row in rows for field in re.findall(r"`--set (?!task|training)([\w.]+)=\w*`", row)}
    assert len(named) > 8
    recipe = {"model": "some/model", "task": "pydoc", "steps": [{"trbert": {}}]}
    for field in named:
        value = json.dumps(values[field.rpartition(".")[2]])
        make_recipe(override(recipe, [f"steps.0.trbert.{field}={value}"]))


def test_the_recipe_of_the_original_s_conventions_has_them() -> None:
    from bertpress.recipe import read_recipe

    (fields,) = (step["trbert"] for step in read_recipe("trbert-upstream")["steps"])
    method = TrBert(**fields)
    expected = {"baseline": "mean", "length_norm": "padded", "logprob_eps": 1e-6, "alpha": 1.0, "guide_rate": 0.5}
    expected |= {"grad_through_skipped": False, "policy_dropout": True, "calibrate": False, "rollouts": 8}
    assert {name: getattr(method, name) for name in expected} == expected
    for training in method.trainings().values():
        shape = (training.epochs, training.batch_size, training.accumulation, training.learning_rate, training.warmup)
        assert shape == (3, 8, 4, 3e-5, 0.1)
    assert method.prices_tokens
    assert list(method.trainings()) == ["policy", "joint"]


@pytest.mark.parametrize(
    ("name", "task", "prices", "length"),
    [
        ("imdb", "imdb", (1, 1), 512),
        ("yelp", "yelp_review_full", (2, 0.5), 512),
        ("20news", "20newsgroups", (1, 1), 512),
        ("hyperpartisan", "hyperpartisan", (0.01, 0.01), 1024),
        ("squad_v2", "squad_v2", (5, 5), 384),
        ("newsqa", "newsqa", (3, 5), 512),
        ("natural_questions", "natural_questions", (2, 2), 512),
        ("triviaqa", "triviaqa", (0.5, 1), 1024),
        ("hotpotqa", "hotpotqa", (0.1, 4), 512),
        ("wikihop", "wikihop", (1, 1), 1024),
    ],
)
def test_recipes_of_the_original_s_data_have_its_prices(
    name: str, task: str, prices: tuple[float, float], length: int
) -> None:
    from bertpress.recipe import read_recipe

    recipe = make_recipe({"model": "some/model", **read_recipe(f"trbert-{name}")})
    method = recipe.steps[1]
    assert isinstance(method, TrBert)
    assert (recipe.task.name, recipe.max_length) == (task, length)
    assert (method.fixed_price("policy"), method.fixed_price("joint"), method.length_norm) == (*prices, "padded")
    row = next(
        line for line in (ROOT / "docs/methods/trbert.md").read_text().splitlines() if f"`trbert-{name}`" in line
    )
    assert [float(cell) for cell in row.split("|")[2:5]] == [length, *prices]


@pytest.mark.parametrize(
    ("name", "epochs", "rate", "batch", "warmup"),
    [
        ("squad_v2", (3, 3, 3), 5e-5, (8, 4), 0.1),
        ("newsqa", (3, 3, 3), 5e-5, (2, 1), 0.0),
        ("natural_questions", (3, 3, 3), 5e-5, (2, 1), 0.0),
        ("triviaqa", (5, 3, 3), 3e-5, (8, 4), 0.1),
    ],
)
def test_recipes_of_questions_have_the_settings_of_their_programs(
    name: str, epochs: tuple[int, ...], rate: float, batch: tuple[int, int], warmup: float
) -> None:
    from bertpress.recipe import read_recipe

    finetune, method = make_recipe({"model": "some/model", **read_recipe(f"trbert-{name}")}).steps
    trainings = [*finetune.trainings().values(), *method.trainings().values()]
    assert [training.epochs for training in trainings] == list(epochs)
    assert {training.learning_rate for training in trainings} == {rate}
    assert {(training.batch_size, training.accumulation) for training in trainings} == {batch}
    assert {training.warmup for training in trainings} == {warmup}
    assert isinstance(method, TrBert)
    assert (method.guide_rate, method.soft_weight, method.hard_weight) == (0.2, 2.0, 0.0)
    assert method.active_phases() == ["importance", "policy", "logits", "joint"]


@pytest.mark.parametrize("name", ["tinybert", "trbert", "yoco"])
def test_the_tests_that_the_page_names_exist(name: str) -> None:
    there = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", PAGES[name])
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in there] == []


def test_task_data_of_the_fork_get_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.tasks.files import load_files

    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_text('"深度" 学习\t好\t1\n\n坏\t不好\t0\n', encoding="utf-8")
    Path("eval.txt").write_text("好\t好\t1\n坏\t坏\t0\n", encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGES["tinybert"], flags=re.DOTALL | re.MULTILINE)
    exec(code, {})
    found = load_files("data", columns=("text", "text_b"))
    assert list(found.splits) == ["train", "validation"]
    assert found.splits["train"]["text"][:] == ['"深度" 学习', "坏"]
    assert found.splits["train"]["label"][:] == [1, 0]
