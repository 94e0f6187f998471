"""BERT in numpy, written from its paper over TensorFlow's variables, which it takes by their own names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import erf

Variables = Mapping[str, np.ndarray]


def dense(inputs: np.ndarray, found: Variables, name: str) -> np.ndarray:
    return inputs @ found[f"{name}/kernel"] + found[f"{name}/bias"]


def norm(inputs: np.ndarray, found: Variables, name: str) -> np.ndarray:
    centred = inputs - inputs.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * found[f"{name}/LayerNorm/gamma"] + found[f"{name}/LayerNorm/beta"]


def gelu(inputs: np.ndarray) -> np.ndarray:
    return inputs * 0.5 * (1 + erf(inputs / np.sqrt(2)))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def states(found: Variables, ids: list[int], segments: list[int], heads: int, layers: list[str]) -> np.ndarray:
    """(tokens, width) of one row without padding; `layers` are the names of the layers to walk over."""
    found = {name: value.astype(np.float64) for name, value in found.items()}
    table = {part: found[f"bert/embeddings/{part}_embeddings"] for part in ("word", "token_type", "position")}
    state = table["word"][ids] + table["token_type"][segments] + table["position"][: len(ids)]
    state = norm(state, found, "bert/embeddings")
    width = state.shape[1] // heads
    for layer in layers:
        name = f"bert/encoder/{layer}"
        query, key, value = (
            dense(state, found, f"{name}/attention/self/{part}").reshape(len(ids), heads, width).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        mixed = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(width)) @ value
        mixed = dense(mixed.transpose(1, 0, 2).reshape(state.shape), found, f"{name}/attention/output/dense")
        state = norm(state + mixed, found, f"{name}/attention/output")
        inner = gelu(dense(state, found, f"{name}/intermediate/dense"))
        state = norm(state + dense(inner, found, f"{name}/output/dense"), found, f"{name}/output")
    return state


def pooled(found: Variables, state: np.ndarray) -> np.ndarray:
    return np.tanh(dense(state[0], found, "bert/pooler/dense"))


def words(found: Variables, state: np.ndarray) -> np.ndarray:
    """(tokens, vocabulary) logits of the masked-language model."""
    name = "cls/predictions/transform"
    inner = norm(gelu(dense(state, found, f"{name}/dense")), found, name)
    return inner @ found["bert/embeddings/word_embeddings"].T + found["cls/predictions/output_bias"]
