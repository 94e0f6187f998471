"""The pages for users of programs on entities and on questions: each flag has its row, fields and defaults exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bertpress.recipe import make_recipe, override

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / f"docs/originals/{name}.md").read_text(encoding="utf-8") for name in ("theseus", "trbert")}
QUESTIONS = """--model_type --model_name_or_path --output_dir --data_dir --train_file --predict_file --config_name
    --tokenizer_name --cache_dir --version_2_with_negative --null_score_diff_threshold --do_train --do_eval
    --evaluate_during_training --do_lower_case --per_gpu_train_batch_size --per_gpu_eval_batch_size --learning_rate
    --gradient_accumulation_steps --weight_decay --adam_epsilon --max_grad_norm --num_train_epochs --max_steps
    --warmup_steps --n_best_size --max_answer_length --verbose_logging --train_rl --logging_steps --save_steps
    --eval_all_checkpoints --no_cuda --overwrite_output_dir --overwrite_cache --seed --local_rank --fp16
    --fp16_opt_level --server_ip --server_port --do_eval_grad --do_eval_logits --train_both --alpha --guide_rate
    --train_teacher"""
CHOICES = """--data_dir --model_type --model_name_or_path --output_dir --max_seq_length --max_qa_length --do_train
    --do_eval --do_test --train_both --train_teacher --train_rl --do_calc --do_eval_grad --evaluate_during_training
    --do_lower_case --per_gpu_train_batch_size --per_gpu_eval_batch_size --learning_rate --weight_decay --adam_epsilon
    --max_grad_norm --num_train_epochs --max_steps --warmup_steps --alpha --guide_rate --no_cuda --local_rank --seed
    --gradient_accumulation_steps --fp16 --fp16_opt_level --logging_steps --save_steps --overwrite_output_dir
    --overwrite_cache --config_name --tokenizer_name --cache_dir --eval_all_checkpoints --teacher_npy_path
    --do_eval_logits"""
WIKIHOP = " ".join(
    flag
    for flag in QUESTIONS.split()
    if flag not in ("--version_2_with_negative", "--null_score_diff_threshold", "--n_best_size", "--max_answer_length")
)
FLAGS = {
    "run_squad.py": (
        "trbert",
        f"{QUESTIONS} --max_seq_length --doc_stride --max_query_length --threads --train_init --teacher_npy_path",
    ),
    "run_mrqa.py": (
        "trbert",
        f"{QUESTIONS} --task_name --max_seq_length --doc_stride --max_query_length --train_init",
    ),
    "run_triviaqa.py": (
        "trbert",
        f"""{QUESTIONS} --threads --max_num_answers --max_question_len --doc_stride --ignore_seq_with_no_answers
        --max_seq_len --max_doc_len --max_segment""",
    ),
    "run_race_classify.py": (
        "trbert",
        f"""{CHOICES} --train_both_self --train_jiaoti --train_pred --beta --temperature""",
    ),
    "run_mcrace.py": ("trbert", f"{CHOICES} --train_init"),
    "run_hotpot.py": (
        "trbert",
        f"{QUESTIONS} --max_seq_length --doc_stride --max_query_length --threads --drop_data",
    ),
    "run_wikihop.py": (
        "trbert",
        f"""{WIKIHOP} --max_seq_len --max_doc_len --max_num_candidates --max_question_len --doc_stride
        --ignore_seq_with_no_answers --test --max_segment --race_npy_path --threads""",
    ),
    "run.py": (
        "theseus",
        """--model_type --dropout_prob --rnn_units --epochs --lr --clip_norm --train_batch_size --valid_batch_size
        --shuffle_buffer --do_train --do_test --gen_new_data --tolerant_steps --run_hook_steps --num_layers
        --hidden_units --print_log_steps --decay_epoch --pre_buffer_size --bert_used --gpu_nums
        --model_checkpoint_dir --model_pb_dir --suc_layers_n --theseus_compressed --pred_init_checkpoints
        --finetune_suc --replace_rate_prob""",
    ),
    "load_and_predict.py": (
        "theseus",
        "--prediction_result_path --model_pb_dir --model_type --label_less --has_cls",
    ),
}
"""Program to its page and its flags, as its argument parser lists them."""


@pytest.mark.parametrize("program", FLAGS)
def test_each_flag_has_its_row(program: str) -> None:
    page, flags = FLAGS[program]
    assert f"`{program}`" in PAGES[page]
    rows = "\n".join(line.split("|")[1] for line in PAGES[page].splitlines() if line.startswith("|"))
    assert [flag for flag in flags.split() if f"`{flag}`" not in rows] == []


def test_the_fields_that_the_tables_name_exist() -> None:
    values: dict[str, Any] = {
        "unanswerable": True,
        "null_threshold": 0.5,
        "step": 64,
        "question_length": 40,
        "n_best": 5,
    }
    values |= {"longest_answer": 9, "max_answer_positions": 9, "drop_windows_without_answer": True}
    values |= {"option_length": 64}
    values |= {"query_length": 9, "most_candidates": 9, "segments": 2}
    values |= {"warmup": 0.1, "clip": 5.0, "decay": "constant"}
    rows = [line for page in PAGES.values() for line in page.splitlines() if line.startswith("| `--")]
    named = {field for row in rows for field in re.findall(r"`--set ((?:task|training)\.[\w.]+)=", row)}
    assert {field.rpartition(".")[2] for field in named} == set(values)
    recipe: dict[str, Any] = {
        "model": "some/model",
        "task": {"name": "squad_v2"},
        "steps": [{"finetune": {"training": {}}}],
    }
    for field in named:
        path = field if field.startswith("task.") else f"steps.0.finetune.{field}"
        make_recipe(override(recipe, [f"{path}={json.dumps(values[field.rpartition('.')[2]])}"]))


def test_the_defaults_of_the_programs_are_those_of_the_tasks() -> None:
    from bertpress.tasks.reading.named import settings_for

    cells = {row.split("|")[1]: row.split("|")[3] for row in PAGES["trbert"].splitlines() if row.startswith("| `--")}
    names = ("squad_v2", "newsqa", "triviaqa")
    lengths = [settings_for(name).question_length for name in names]
    assert "{}, {} and {}".format(*lengths) in cells[" `--max_query_length`, `--max_question_len` "]
    assert "{}, {} and {}".format(*(settings_for(name).n_best for name in names)) in cells[" `--n_best_size` "]
    assert f"{settings_for('triviaqa').step}, the default" in cells[" `--doc_stride` "]


def test_the_tests_that_the_page_of_theseus_names_exist() -> None:
    there = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    rows = "\n".join(line for line in PAGES["theseus"].splitlines() if line.startswith("|"))
    named = re.findall(r"`(test_\w+)`", rows)
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in there] == []
