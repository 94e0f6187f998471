"""What `bertpress pretrain` asks for, as a recipe: masked language modelling, or general distillation, on plain text.

Neither is a method of its own. Masked language modelling is fine-tuning on the task `text`; general distillation is
step 1 of TinyBERT on text of which nothing is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from bertpress.corpus import CorpusSpec
from bertpress.errors import RequestError
from bertpress.files import new_folder, write_json

UNTRAINED = "untrained"
"""Folder of a run with the model of random weights that it began with."""
SHAPES = {"tinybert4": "4x312x12x1200", "tinybert6": "6x768x12x3072"}
TRAININGS: dict[str, dict[str, Any]] = {
    "masked-lm": {"epochs": 3, "learning_rate": 1e-4, "warmup": 0.1, "weight_decay": 0.01},
    "distill": {"epochs": 3, "learning_rate": 5e-5, "warmup": 0.1, "weight_decay": 0.01, "decay": "linear"},
}
"""Defaults; those of distillation are TinyBERT's but for the batch size, which is `Training`'s."""


def masked_lm_values(corpus: Sequence[str], model: str, train: str) -> dict[str, Any]:
    """The recipe of masked language modelling.

    Args:
        corpus: files, folders and patterns.
        model: where it starts; a head is made where it has none.
        train: all, or head.
    """
    return {
        "model": model,
        "task": {"name": "text", "corpus": {"files": list(corpus)}},
        "steps": [{"finetune": {"train": train, "training": TRAININGS["masked-lm"]}}],
        "baseline": False,
    }


def distillation_values(
    corpus: Sequence[str], teacher: str, student: str | None, shape: dict[str, int] | None
) -> dict[str, Any]:
    """The recipe of general distillation into a student folder, a fresh shape, or half of the teacher's layers."""
    fields = {"student": student, "shape": shape, "prediction": None, "intermediate": TRAININGS["distill"]}
    return {
        "model": teacher,
        "task": {"name": "text", "kind": "encoder", "corpus": {"files": list(corpus)}},
        "steps": [{"tinybert": {name: value for name, value in fields.items() if value or name == "prediction"}}],
        "baseline": False,
    }


def parse_shape(text: str) -> dict[str, int]:
    """Layers, width, heads and inner width of ``LAYERSxWIDTH[xHEADS[xINNER]]`` or of a name in `SHAPES`.

    The inner width is four times the width by default; heads are 64 wide, or 12 where 64 does not divide the width.

    Raises:
        RequestError: another form, or heads that do not divide the width.
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
    return {"layers": layers, "hidden_size": width, "heads": heads, "intermediate_size": inner}


def make_untrained(
    folder: Path,
    corpus: Sequence[str],
    shape: dict[str, int],
    kind: str,
    size: int,
    lowercase: bool,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """A BERT of random weights in this shape, with a vocabulary made from the text; nothing if it is there already.

    Raises:
        RequestError: there is no such kind, the folder holds one of other settings, or the text cannot be read.
    """
    if kind not in ("wordpiece", "characters"):
        raise RequestError(f"--vocabulary expects wordpiece or characters, got '{kind}'.")
    from transformers import BertConfig, BertForMaskedLM, set_seed

    from bertpress.corpus.vocabulary import build_tokenizer

    wanted = {"corpus": list(corpus), **shape, "vocabulary": kind, "size": size, "lowercase": lowercase, "seed": seed}
    if (folder / "untrained.json").is_file():
        there = json.loads((folder / "untrained.json").read_text(encoding="utf-8"))
        if differing := [name for name, value in wanted.items() if there.get(name) != value]:
            raise RequestError(f"{folder} was made with other values of {', '.join(differing)}; choose another --out.")
        return
    if folder.parent.is_dir() and any(folder.parent.iterdir()):
        raise RequestError(f"{folder.parent} holds other files; choose a new or an empty folder for --out.")
    pieces: Literal["wordpiece", "characters"] = "characters" if kind == "characters" else "wordpiece"
    tokenizer = build_tokenizer(CorpusSpec(files=tuple(corpus)), pieces, size, lowercase, say=say)
    set_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=shape["layers"],
        hidden_size=shape["hidden_size"],
        num_attention_heads=shape["heads"],
        intermediate_size=shape["intermediate_size"],
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as temporary:
        BertForMaskedLM(config).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_json(temporary / "untrained.json", wanted)
