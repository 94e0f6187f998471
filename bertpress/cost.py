"""What a model costs: parameters and multiply-adds in closed form from its config; bytes of its weights on disk.

One multiply-add (MAC) is two FLOPs. Only matrix products count: linear layers and the two products of attention.
Biases, norms, activations, softmax and embedding look-ups are left out, as in PyTorch's `FlopCounterMode`, whose number
is twice `macs` exactly. Nothing is built or traced; this module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters: of the whole model, and of its encoder layers alone."""

    total: int
    encoder: int


@dataclass(frozen=True)
class Linear:
    """A linear layer with bias."""

    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.outputs + self.outputs

    @property
    def macs(self) -> int:
        """Multiply-adds for one row."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Layer:
    """One post-norm encoder layer: self-attention and a feed-forward block, each followed by a LayerNorm."""

    hidden: int
    attention: int  # width of all heads together
    intermediate: int

    @property
    def linears(self) -> tuple[Linear, ...]:
        """Query, key, value, attention output, and the two of the feed-forward block."""
        project = Linear(self.hidden, self.attention)
        feed_forward = (Linear(self.hidden, self.intermediate), Linear(self.intermediate, self.hidden))
        return (project, project, project, Linear(self.attention, self.hidden), *feed_forward)

    @property
    def parameters(self) -> int:
        """The linear layers and the scales and shifts of the two norms."""
        return sum(linear.parameters for linear in self.linears) + 2 * _norm(self.hidden)

    def macs(self, tokens: int) -> int:
        """Multiply-adds for one sequence: the linear layers per token, and `tokens` squared for QK^T and for AV."""
        return tokens * sum(linear.macs for linear in self.linears) + 2 * tokens**2 * self.attention


@dataclass(frozen=True)
class Shape:
    """All that decides the cost of a model, whatever its family; the layers need not be alike."""

    embeddings: int  # parameters; looking rows up multiplies nothing
    layers: tuple[Layer, ...]
    pooler: tuple[Linear, ...]  # applied to one position of a sequence
    classifier: tuple[Linear, ...]  # likewise

    def top(self, head: bool) -> tuple[Linear, ...]:
        """What stands on the layers: the pooler and, with `head`, the classifier."""
        return self.pooler + (self.classifier if head else ())


def _norm(width: int) -> int:
    return 2 * width


def _bert(config: PreTrainedConfig) -> Shape:
    hidden = config.hidden_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return Shape(
        embeddings=rows * hidden + _norm(hidden),
        layers=(Layer(hidden, hidden, config.intermediate_size),) * config.num_hidden_layers,
        pooler=(Linear(hidden, hidden),),
        classifier=(Linear(hidden, config.num_labels),),
    )


FAMILIES: dict[str, Callable[[PreTrainedConfig], Shape]] = {"bert": _bert}


def _shape(config: PreTrainedConfig) -> Shape:
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise RequestError(f"expected a model type whose cost is known ({known}), got '{config.model_type}'")
    return FAMILIES[config.model_type](config)


def parameters(config: PreTrainedConfig, *, head: bool = True) -> Parameters:
    """Parameters of the sequence classifier that `config` describes, equal to the counted ones.

    Args:
        head: False for the bare model (`BertModel`): embeddings, layers and pooler, no classifier.

    Raises:
        RequestError: the model type is not in `FAMILIES`.
    """
    shape = _shape(config)
    encoder = sum(layer.parameters for layer in shape.layers)
    return Parameters(shape.embeddings + encoder + sum(linear.parameters for linear in shape.top(head)), encoder)


def macs(config: PreTrainedConfig, tokens: int, batch: int = 1, *, head: bool = True) -> int:
    """Multiply-adds of one forward pass over `batch` sequences of `tokens` tokens, padding included.

    ``batch * (sum over layers of 4 n h^2 + 2 n h f + 2 n^2 h, + h^2 + h c)`` for a BERT with n tokens, hidden size h,
    intermediate size f and c labels.

    Args:
        head: False for the bare model (`BertModel`), without the classifier.

    Raises:
        RequestError: the model type is not in `FAMILIES`.
    """
    shape = _shape(config)
    return batch * (sum(layer.macs(tokens) for layer in shape.layers) + sum(linear.macs for linear in shape.top(head)))


def layer_macs(config: PreTrainedConfig, tokens: int) -> int:
    """Multiply-adds of the first encoder layer for one sequence of `tokens` tokens; in a stock model all are alike."""
    return _shape(config).layers[0].macs(tokens)


def size_bytes(folder: str | Path) -> int:
    """Bytes of the weights (`*.safetensors`, one file or shards) that lie directly in a model folder.

    Raises:
        RequestError: there are none.
    """
    files = list(Path(folder).glob("*.safetensors"))
    if not files:
        raise RequestError(f"expected weights (*.safetensors) in '{folder}', found none; save the model there first")
    return sum(file.stat().st_size for file in files)
