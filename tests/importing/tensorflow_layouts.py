"""What checkpoints of TensorFlow are made of: names and shapes of the variables of each kind of them."""

from __future__ import annotations

import string

import numpy as np

LAYERS, WIDTH, HEADS, INNER, WORDS, ROWS = 4, 12, 2, 20, 40, 16
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "directionality": "bidi",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": ROWS,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pooler_type": "first_token_transform",
    "type_vocab_size": 2,
    "vocab_size": WORDS,
}
IDS, SEGMENTS = [2, 7, 9, 11, 3, 8, 3], [0, 0, 0, 0, 0, 1, 1]
STOCK = [f"layer_{number}" for number in range(LAYERS)]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *"012345678"]


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}/LayerNorm/gamma": (WIDTH,), f"{name}/LayerNorm/beta": (WIDTH,)}


def layer(name: str) -> dict[str, tuple[int, ...]]:
    shapes = {key: value for part in ("query", "key", "value")
              for key, value in dense(f"{name}/attention/self/{part}", WIDTH, WIDTH).items()}  # fmt: skip
    shapes |= dense(f"{name}/attention/output/dense", WIDTH, WIDTH) | norm(f"{name}/attention/output")
    return (
        shapes
        | dense(f"{name}/intermediate/dense", WIDTH, INNER)
        | dense(f"{name}/output/dense", INNER, WIDTH)
        | (norm(f"{name}/output"))
    )


def encoder(*layers: str, pooler: bool = True) -> dict[str, tuple[int, ...]]:
    tables = {"word": WORDS, "position": ROWS, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {
        f"bert/embeddings/{name}_embeddings": (rows, WIDTH) for name, rows in tables.items()
    }
    shapes |= norm("bert/embeddings") | (dense("bert/pooler/dense", WIDTH, WIDTH) if pooler else {})
    for name in layers:
        shapes |= layer(f"bert/encoder/{name}")
    return shapes


def outputs(name: str, count: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}output_weights": (count, WIDTH), f"{name}output_bias": (count,)}


PREDICTIONS = {
    **dense("cls/predictions/transform/dense", WIDTH, WIDTH),
    **norm("cls/predictions/transform"),
    "cls/predictions/output_bias": (WORDS,),
}
SUCCESSORS = ("suc_layer_0", "suc_layer_1")
QUERIES = dense("dense", WIDTH, 2) | dense("dense_1", WIDTH, 2)
LAYOUTS = {
    "pretrained": encoder(*STOCK) | PREDICTIONS | outputs("cls/seq_relationship/", 2),
    "masked": encoder(*STOCK) | PREDICTIONS,
    "classifier": encoder(*STOCK) | outputs("", 3),
    "squad": encoder(*STOCK) | outputs("cls/squad/", 2),
    "bare": encoder(*STOCK) | {"crf/transitions": (3, 3)},
    "poolerless": encoder(*STOCK, pooler=False),
    "theseus": encoder(*STOCK, *SUCCESSORS) | outputs("", 2),
    "stage-2": encoder(*SUCCESSORS) | QUERIES,
    "other": {"resnet/conv1/kernel": (3, 3), "logits/bias": (2,)},
    "electra": {"electra/embeddings/word_embeddings": (3, 3)},
}


def drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Large random numbers, of norms around 1, so that a wrong or a missing one shows."""
    generator = np.random.default_rng(seed)
    return {
        name: (name.endswith("gamma") + 0.4 * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in sorted(shapes.items())
    }
