"""What a model costs: parameters and multiply-adds in closed form from its config; bytes of its weights on disk.

One multiply-add (MAC) is two FLOPs. Only matrix products count: linear layers, convolutions and those of attention.
Biases, norms, activations, softmax and embedding look-ups are left out, as in PyTorch's `FlopCounterMode`, whose number
is twice `macs` exactly. Nothing is built or traced; this module imports neither torch nor transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError
from bertpress.shapes import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters: of the whole model, and of its encoder layers alone."""

    total: int
    encoder: int


def parameters(config: PreTrainedConfig, *, head: str | None = "sequence-classification") -> Parameters:
    """Parameters of the model that `config` describes, equal to the counted ones; a shared table counts once.

    Args:
        head: the kind of head; None for the bare model (`BertModel`), which in some architectures has a pooler.

    Raises:
        RequestError: an architecture or a value of `config` whose cost is not known.
    """
    shape = shape_of(config)
    encoder = sum(layer.parameters for layer in shape.layers)
    others = sum(part.parameters for part in (*shape.tokens, *shape.tops[head]))
    return Parameters(others + encoder, encoder)


def macs(
    config: PreTrainedConfig,
    tokens: int,
    batch: int = 1,
    *,
    head: str | None = "sequence-classification",
    positions: int = 1,
) -> int:
    """Multiply-adds of one forward pass over `batch` sequences of `tokens` tokens, padding included.

    For a BERT with n tokens, hidden size h, intermediate size f and c labels it is
    ``batch * (sum over layers of 4 n h^2 + 2 n h f + 2 n^2 h, + h^2 + h c)``. A DeBERTa-v2 projects its relative
    positions once for the whole batch; a ModernBERT's sliding windows are counted in full, as eager attention computes
    them.

    Args:
        head: the kind of head; None for the bare model (`BertModel`).
        positions: tokens of each sequence that the head is applied to: one for a sequence classifier. For a masked
            language model the masked ones, as `MaskedLanguageModel.forward` does, or all, as its stock forward pass.

    Raises:
        RequestError: an architecture or a value of `config` whose cost is not known.
    """
    shape = shape_of(config)
    top = positions * sum(part.macs for part in shape.tops[head])
    outside = tokens * sum(part.macs for part in shape.tokens) + top
    return batch * outside + sum(layer.macs(tokens, batch) for layer in shape.layers)


def layer_macs(config: PreTrainedConfig, tokens: int) -> int:
    """Multiply-adds of the first encoder layer for one sequence of `tokens` tokens; in a stock model all are alike."""
    return shape_of(config).layers[0].macs(tokens)


def size_bytes(folder: str | Path) -> int:
    """Bytes of the weights (`*.safetensors`, one file or shards) that lie directly in a model folder.

    Raises:
        RequestError: there are none.
    """
    files = list(Path(folder).glob("*.safetensors"))
    if not files:
        raise RequestError(f"There are no weights (*.safetensors) in '{folder}'; save the model there first.")
    return sum(file.stat().st_size for file in files)
