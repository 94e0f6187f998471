"""Spaces whose sub-networks are priced by hand, and all of their choices."""

from __future__ import annotations

import itertools

from transformers import BertConfig

from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import UNUSED, Choice, Space

CLASSIFIER = "sequence-classification"
MIXED = Options(
    depth=(2, 3, 4),
    heads=(1, 2),
    widths=(5, 12, 24),
    layers={1: {"widths": (7,)}, 2: {"heads": (2,)}},  # type: ignore[dict-item]
    depth_policy="uniform",
)
UNIFORM = Options(depth=(1, 4), heads=(1, 2), widths=(5, 24), uniform=True)
BASE = BertConfig()
BERT_BASE = resolve(Options(depth_policy="first"), BASE)


def every_choice(space: Space) -> list[Choice]:
    found: list[Choice] = []
    for depth in range(len(space.layer_sets)):
        slots = space.slots(depth)
        picks = [range(len(pairs)) if slot in slots else (UNUSED,) for slot, pairs in enumerate(space.options)]
        found += [(depth, *each) for each in itertools.product(*picks)]
    return found


def base_choice(depth: int, category: int) -> Choice:
    """Layers of one category in the depth option."""
    layers = BERT_BASE.depths[depth]
    return (depth, *[category] * layers, *[UNUSED] * (12 - layers))
