"""Losses of distillation as pure functions of tensors: what a student's signals miss of its teacher's.

Everything is computed in float32 whatever comes in, inside of autocast too. Padding never counts and may hold anything,
NaN included; an example that is nothing but padding contributes 0.
"""

from bertpress.losses.attention import Implementation, Projections, attention_loss, mapped_heads, mean_heads
from bertpress.losses.hidden import Normalisation, cosine_loss, hidden_loss, normalised
from bertpress.losses.prediction import (
    kl_divergence,
    logits_mse,
    soft_binary,
    soft_cross_entropy,
    upstream_cross_entropy,
)
from bertpress.losses.reduction import Reduction
from bertpress.losses.relations import (
    check_relation_heads,
    default_relation_heads,
    joined_heads,
    relation_loss,
    valid_relation_heads,
)

__all__ = [
    "Implementation",
    "Normalisation",
    "Projections",
    "Reduction",
    "attention_loss",
    "check_relation_heads",
    "cosine_loss",
    "default_relation_heads",
    "hidden_loss",
    "joined_heads",
    "kl_divergence",
    "logits_mse",
    "mapped_heads",
    "mean_heads",
    "normalised",
    "relation_loss",
    "soft_binary",
    "soft_cross_entropy",
    "upstream_cross_entropy",
    "valid_relation_heads",
]
