"""The configuration of a stock model, out of the file that an original program left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.files import read_json
from bertpress.values import mapping

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FIELDS: dict[str, tuple[str, ...]] = {
    "bert": (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "max_position_embeddings",
        "type_vocab_size",
        "initializer_range",
    ),
    "distilbert": (
        "vocab_size",
        "dim",
        "n_layers",
        "n_heads",
        "hidden_dim",
        "activation",
        "dropout",
        "attention_dropout",
        "qa_dropout",
        "seq_classif_dropout",
        "max_position_embeddings",
        "sinusoidal_pos_embds",
        "initializer_range",
    ),
}
"""All that the originals read of their files; what they leave out is the base model's, there and in transformers."""


def read_config(file: Path, architecture: str = "bert") -> PretrainedConfig:
    """A stock configuration; the file may name no architecture, an unknown one, and fields of its own.

    Raises:
        RequestError: it does not describe a model of that architecture.
    """
    from transformers import AutoConfig
    from transformers.activations import ACT2FN

    try:
        values: dict[str, Any] = mapping(read_json(file))
        if not values.keys() & FIELDS[architecture]:
            raise ValueError(f"none of its fields is there, such as {FIELDS[architecture][1]}")
        config: PretrainedConfig = AutoConfig.for_model(
            architecture, **{name: values[name] for name in FIELDS[architecture] if name in values}
        )
        activation = getattr(config, "hidden_act", None) or config.activation
        if activation not in ACT2FN or config.hidden_size % config.num_attention_heads:
            shape = f"width {config.hidden_size}, {config.num_attention_heads} heads"
            raise ValueError(f"activation {activation}, {shape}")
    except Exception as error:  # whatever other values make the parser or the class raise
        name = {"bert": "BERT", "distilbert": "DistilBERT"}[architecture]
        raise RequestError(f"{file} does not describe a {name}: {' '.join(str(error).split())}") from None
    return config
