"""A toy whose answer is known: of twenty words one tells the class, and the first layer cannot pass it on."""

from __future__ import annotations

import copy
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from conftest import FILLERS, LABELS, WORDS, make_config, make_tokenizer
from datasets import Dataset

from bertpress.engine.run import Runtime, StepRun
from bertpress.methods.method import Training
from bertpress.methods.trbert import TrBert
from bertpress.models.walks import Trace
from bertpress.recipe import make_recipe
from bertpress.tasks.classification import Classification
from bertpress.tasks.data import TextData


def rows(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Texts of ten to twenty-two words, one of which tells the class."""
    generator = random.Random(seed)
    texts = []
    for index in range(count):
        words = [generator.choice(FILLERS) for _ in range(generator.randint(10, 22))]
        words[generator.randrange(len(words))] = generator.choice(WORDS[index % 2])
        texts.append(" ".join(words))
    return texts, [index % 2 for index in range(count)]


def split(count: int, seed: int) -> Dataset:
    texts, labels = rows(count, seed)
    return Dataset.from_dict({"text": texts, "label": labels})


TASK = Classification(
    TextData(
        "files",
        {"train": split(256, 1), "validation": split(64, 2)},
        ("text",),
        LABELS,
        ("accuracy",),
        "accuracy",
    ),
    make_tokenizer(),
    32,
)


def teacher() -> Any:
    """Three layers that answer all of it, whose first one passes nothing from word to word."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 3}
    config = make_config("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    silent = model.bert.encoder.layer[0].attention.output.dense
    torch.nn.init.zeros_(silent.weight)
    silent.requires_grad_(False)
    encoded = TASK.encoded("train")
    batch = TASK.collate([encoded[row] for row in range(len(encoded))])
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=3e-3)
    for _ in range(40):
        loss = TASK.example_losses(TASK.forward(model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    return model.eval()


def learned(model: Any, seed: int, learning_rate: float = 1e-2, **fields: Any) -> dict[str, float]:
    """What a model makes of new texts that keeps about a fifth of the words: its policies are trained, it is not."""
    method = TrBert(
        macs=0.5,
        reduction_layers=(1,),
        policy=Training(epochs=5, batch_size=32, learning_rate=learning_rate),
        joint=None,
        **fields,
    )
    recipe = make_recipe({"model": "toy", "task": "pydoc", "steps": [{"trbert": {}}], "seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        run = StepRun(Path(folder), recipe, Runtime(device="cpu"), lambda: copy.deepcopy(model))
        result = method.compress(model, TASK, run)
    texts, labels = rows(200, 9)
    inputs = TASK.tokenizer(texts, return_tensors="pt", padding=True)
    trace = Trace()
    with torch.no_grad():
        logits = result(inputs["input_ids"], attention_mask=inputs["attention_mask"], trace=trace).logits
    ids = torch.tensor(TASK.tokenizer.convert_tokens_to_ids([*WORDS[0], *WORDS[1]]))
    alive = trace.alive()[..., 0]
    return {
        "accuracy": float((logits.argmax(1) == torch.tensor(labels)).float().mean()),
        "marked words kept": float(alive[torch.isin(inputs["input_ids"], ids)].float().mean()),
        "words kept": float(alive.sum() / inputs["attention_mask"].sum()),
    }
