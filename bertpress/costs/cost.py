"""What a model costs: parameters and multiply-adds in closed form from its config; bytes of its weights on disk.

A model that skips tokens costs what its decisions leave: `ideal_macs` counts tokens alone, `executed_macs` what is
computed with them.

One multiply-add (MAC) is two FLOPs. Only matrix products count: linear layers, convolutions and those of attention.
Biases, norms, activations, softmax and embedding look-ups are left out, as in PyTorch's `FlopCounterMode`, whose number
is twice `macs` exactly. Nothing is built or traced; this module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bertpress.costs.parts import Shape
from bertpress.costs.shapes import shape_of
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


HeadRows = int | tuple[int, ...]
"""How often the head is applied to a sequence; several numbers are of each of its parts."""
Positions = Callable[[int], HeadRows]
"""Length of a sequence to the number of its tokens that the head is applied to."""


def one_position(tokens: int) -> int:
    """A classifier looks at the first token."""
    return 1


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters: of the whole model, and of its encoder layers alone, without policies between them."""

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
    policies = [part for decision in shape.decisions for part in decision.parts]
    others = sum(part.parameters for part in (*shape.tokens, *shape.tops[head], *policies))
    return Parameters(others + encoder, encoder)


def macs(
    config: PreTrainedConfig,
    tokens: int,
    batch: int = 1,
    *,
    head: str | None = "sequence-classification",
    positions: HeadRows = 1,
    kept: Sequence[int] | None = None,
    mode: Literal["exact", "upstream"] = "exact",
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
            Of a multi-hop head its tokens, 1, its sentences and its sentences again.
        kept: tokens of each sequence that go on at each decision of a model that skips tokens; default the shares
            that its configuration fixes, else all, which is the most that it can cost.
        mode: upstream counts as the code of arXiv 2105.11618 does: policies on the tokens that they keep, no pooler,
            one linear layer as the head, and where `kept` is too short the last of it.

    Raises:
        RequestError: an architecture or a value of `config` whose cost is not known.
    """
    if mode == "upstream":
        return batch * _upstream_macs(config, tokens, kept)
    rows = None if kept is None else [kept] * batch
    return executed_macs(config, [tokens] * batch, rows, head=head, positions=lambda _: positions)


def ideal_macs(
    config: PreTrainedConfig,
    lengths: Sequence[int],
    kept: Sequence[Sequence[int] | None] | None = None,
    *,
    head: str | None = "sequence-classification",
    positions: Positions = one_position,
) -> int:
    """Multiply-adds of sequences of these lengths if nothing but their own tokens that are alive were computed.

    Args:
        kept: of each sequence, the tokens that go on at each decision.
        positions: number of tokens that the head is applied to in a sequence of so many.
    """
    shape = shape_of(config)
    left = [None if row is None else tuple(row) for row in kept or [None] * len(lengths)]
    rows = Counter(zip(lengths, left, strict=True))
    return sum(
        count * _executed(shape, [tokens], [row], tokens, "packed", head, positions)
        for (tokens, row), count in rows.items()
    )


def executed_macs(
    config: PreTrainedConfig,
    lengths: Sequence[int],
    kept: Sequence[Sequence[int] | None] | None = None,
    *,
    width: int | None = None,
    backend: Literal["padded", "packed", "gather", "masked"] = "packed",
    head: str | None = "sequence-classification",
    positions: Positions = one_position,
) -> int:
    """Multiply-adds that a forward pass over a batch of sequences of these lengths really computes.

    Args:
        kept: of each sequence, the tokens that go on at each decision.
        width: tokens of the batch's rows with padding; default the longest.
        backend: how the model executes its layers: a stock model all that is padded, a compact one that skips tokens
            packed, unless it is told otherwise.
        positions: number of tokens that the head is applied to in a sequence of so many.
    """
    rows = kept or [None] * len(lengths)
    return _executed(shape_of(config), lengths, rows, width or max(lengths), backend, head, positions)


def _executed(
    shape: Shape,
    lengths: Sequence[int],
    kept: Sequence[Sequence[int] | None],
    width: int,
    backend: str,
    head: str | None,
    positions: Positions,
) -> int:
    rows = [shape.alive(tokens, shape.kept(tokens, left)) for tokens, left in zip(lengths, kept, strict=True)]
    alive = [list(counts) for counts in zip(*rows, strict=True)]  # of each layer, of each row
    total = len(lengths) * width * sum(part.macs for part in shape.tokens)
    total += sum(head_macs([part.macs for part in shape.tops[head]], positions(tokens)) for tokens in lengths)
    for layer, counts in zip(shape.layers, alive, strict=True):
        computed = Counter(_computed(counts, width, backend))
        total += sum(layer.macs(tokens, sequences) for tokens, sequences in computed.items())
    for decision in shape.decisions if max(lengths) >= shape.least_tokens else ():
        read = alive[decision.layer - 1]
        total += sum(read) * sum(part.macs for part in decision.parts)
        if decision.reads_attention:
            pairs = sum(tokens**2 for tokens in _computed(read, width, backend))
            total += pairs * shape.layers[decision.layer - 1].attention
    return total


def head_macs(parts: Sequence[int], rows: HeadRows) -> int:
    """Multiply-adds of the head for one sequence.

    Args:
        parts: multiply-adds of each part of it for one row.
    """
    if isinstance(rows, int):
        return rows * sum(parts)
    return sum(count * macs for count, macs in zip(rows, parts, strict=True))


def _computed(counts: list[int], width: int, backend: str) -> list[int]:
    """Tokens of each row that a layer computes where so many are alive."""
    if backend == "packed":
        return counts
    return [max(counts) if backend == "gather" else width] * len(counts)


def _upstream_macs(config: PreTrainedConfig, tokens: int, kept: Sequence[int] | None) -> int:
    shape = shape_of(config)
    missing = len(shape.decisions) - len(kept or ())
    counts = shape.kept(tokens, None if kept is None else [*kept, *[[tokens, *kept][-1]] * missing])
    layers = zip(shape.layers, shape.alive(tokens, counts), strict=True)
    policies = zip(shape.decisions, counts, strict=True)
    total = sum(layer.macs(count) for layer, count in layers) + int(config.hidden_size * config.num_labels)
    return total + sum(count * sum(part.macs for part in decision.parts) for decision, count in policies)


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
