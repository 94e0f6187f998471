"""A tiny configuration of each architecture: 4 layers of 16 with 2 heads, 100 words and 64 usable positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BERT_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Family:
    """How a tiny model of one architecture is made, and what its tokenizer gives."""

    fields: dict[str, Any]
    inputs: tuple[str, ...] = BERT_INPUTS
    pad: int = 0
    """number of the padding token"""
    dropouts: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    dropout_fields: dict[str, float] = field(default_factory=dict)
    """dropout where the architecture has none by default"""


# Positions begin after the number of the padding token, which is 1 as in the published models.
ROBERTA = Family(
    fields={**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1},
    inputs=("input_ids", "attention_mask"),
    pad=1,
)

FAMILIES: dict[str, Family] = {
    "bert": Family(fields=SIZES),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "distilbert": Family(
        fields={
            "vocab_size": 100,
            "dim": 16,
            "n_layers": 4,
            "n_heads": 2,
            "hidden_dim": 24,
            "max_position_embeddings": 64,
        },
        inputs=("input_ids", "attention_mask"),
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "electra": Family(
        fields={**SIZES, "embedding_size": 12},
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "summary_last_dropout"),
    ),
    "modernbert": Family(
        fields={
            **SIZES,
            # not the stock pattern, so that a result which falls back to it shows; a window of 4 to each side
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
            "local_attention": 8,
            **{
                f"{name}_token_id": number
                for name, number in (("pad", 0), ("bos", 2), ("cls", 2), ("eos", 3), ("sep", 3))
            },
        },
        inputs=("input_ids", "attention_mask"),
        dropouts=("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"),
        dropout_fields=dict.fromkeys(
            ("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"), 0.1
        ),
    ),
    "deberta-v2": Family(
        fields={
            **SIZES,
            "type_vocab_size": 0,
            "position_biased_input": False,
            "relative_attention": True,
            "share_att_key": True,
            "pos_att_type": "p2c|c2p",
            "position_buckets": 8,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
        }
    ),
}
