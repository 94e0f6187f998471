"""Step 1: the student's embeddings, hidden states and attention imitate the teacher's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from bertpress import losses
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import uneven_heads
from bertpress.encoders.scores import Captured
from bertpress.engine.evaluation import collect_logits
from bertpress.engine.objective import Means, Objective, choose_attention
from bertpress.errors import RequestError
from bertpress.methods.tinybert.mapping import Pairs, weights
from bertpress.methods.tinybert.observing import Observed, Wanted, observe
from bertpress.models import is_reduced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.methods.tinybert import TinyBert
    from bertpress.methods.tinybert.signals import Signals
    from bertpress.tasks.task import Task


class Comparison:
    """What of a student is compared with what of a teacher, and how: the method's settings, resolved for two models.

    Raises:
        RequestError: settings that do not fit the two models.
    """

    def __init__(self, method: TinyBert, student: PretrainedConfig, teacher: PretrainedConfig) -> None:
        depths = encoder_of(student).depth(student), encoder_of(teacher).depth(teacher)
        self.method, self.configs = method, (student, teacher)
        self.hidden = method.hidden_pairs(*depths)
        self.attention = method.attention_pairs(*depths)
        self.widths = int(student.hidden_size), int(teacher.hidden_size)
        self.heads = int(student.num_attention_heads), int(teacher.num_attention_heads)
        self._check_compact()
        self.kind = self._kind()
        self.relation_heads = self._relation_heads(depths[1]) if self.kind == "relation" else None
        try:
            self.hidden_weights = weights(method.hidden_weight, len(self.hidden), "hidden_weight")
            self.attention_weights = weights(method.attention_weight, len(self.attention), "attention_weight")
        except ValueError as error:
            raise RequestError(f"{error}.") from None
        self.hidden, self.hidden_weights = _without_zeros(self.hidden, self.hidden_weights)
        self.attention, self.attention_weights = _without_zeros(self.attention, self.attention_weights)
        if self.kind == "none":
            self.attention, self.attention_weights = (), ()
        self._check_attention()
        self._check_projection()
        if not self.hidden and not self.attention:
            raise RequestError(
                "Step 1 compares neither hidden states nor attention; give one of them a weight above 0."
            )

    def _check_compact(self) -> None:
        if is_reduced(self.configs[1]):
            raise RequestError(
                "The teacher skips tokens, so its layers hold no states of all tokens to learn from; take the model "
                "that it was made of, or leave out step 1 (intermediate=null)."
            )

    def _kind(self) -> str:
        equal = self.heads[0] == self.heads[1]
        wanted = self.method.attention_loss
        comparable = not any(encoder_of(config).score_terms or uneven_heads(config) for config in self.configs)
        if wanted == "auto" and not comparable:
            return "none"
        if wanted == "auto":
            return "scores" if equal else "relation"
        if wanted == "scores" and not equal:
            raise RequestError(
                f"attention_loss scores needs equal numbers of heads, but the student has {self.heads[0]} and the "
                f"teacher {self.heads[1]}; use relation, mean_heads, head_map or none."
            )
        if wanted == "head_map":
            given = self.method.head_map or ()
            if len(given) != self.heads[0] or not all(0 <= head < self.heads[1] for head in given):
                raise RequestError(
                    f"head_map: expected {self.heads[0]} numbers from 0 to {self.heads[1] - 1}, got {list(given)}."
                )
        return wanted

    def _relation_heads(self, teacher_layers: int) -> int:
        student, teacher = self.widths
        if self.method.relation_heads is None:
            return losses.default_relation_heads(teacher, student, teacher_layers)
        losses.check_relation_heads(self.method.relation_heads, teacher, student)
        return self.method.relation_heads

    def _check_attention(self) -> None:
        for config in self.configs:
            if self.attention and (terms := encoder_of(config).score_terms) is not None:
                raise RequestError(
                    f"attention_loss {self.kind}: the attention scores of a {config.model_type} have {terms} added to "
                    "the products of queries and keys; use none."
                )
            if self.attention and (counts := uneven_heads(config)):
                raise RequestError(
                    f"attention_loss {self.kind}: the layers of a model have {', '.join(map(str, counts))} heads, so "
                    "their attention is not of one width; use none."
                )

    def _check_projection(self) -> None:
        if self.method.projection == "none" and self.widths[0] != self.widths[1] and self.hidden:
            raise RequestError(
                f"projection none needs equal widths, but the student has {self.widths[0]} and the teacher "
                f"{self.widths[1]}; use per_layer."
            )

    def projections(self, spread: float) -> nn.ModuleDict:
        """Linear maps from student to teacher width, by the number of the student's hidden state.

        Args:
            spread: standard deviation of the first weights. Maps between equal widths start as the identity.
        """
        kind = self.method.projection
        if kind == "auto":
            kind = "none" if self.widths[0] == self.widths[1] else "per_layer"
        if kind == "none":
            return nn.ModuleDict()
        position = {"per_layer": 0, "embed_hidden": 1, "shared": 2}[kind]
        names = dict.fromkeys(_projection_names(number)[position] for number, _ in self.hidden)
        return nn.ModuleDict({name: _projection(*self.widths, spread) for name in names})

    def wanted(self, side: int) -> Wanted:
        """What has to be observed of the student (0) or of the teacher (1)."""
        return Wanted(
            hidden=tuple(sorted({pair[side] for pair in self.hidden})),
            attention=tuple(sorted({pair[side] for pair in self.attention})),
            values=self.kind == "relation",
        )

    def describe(self) -> dict[str, object]:
        """The resolved choices, to be stored."""
        return {
            "hidden": [list(pair) for pair in self.hidden],
            "attention": [list(pair) for pair in self.attention],
            "attention_loss": self.kind,
            "relation_heads": self.relation_heads,
        }


class Intermediate(Objective):
    """Weighted sum of the distances between mapped hidden states and between mapped attention."""

    def __init__(
        self,
        student: PreTrainedModel,
        task: Task,
        comparison: Comparison,
        teacher: PreTrainedModel | None,
        signals: Mapping[str, Signals] | None = None,
    ) -> None:
        super().__init__(task, teacher)
        self.model, self.comparison, self.signals = student, comparison, signals or {}
        student.requires_grad_(False)
        student.base_model.requires_grad_(True)
        if (pooler := getattr(student.base_model, "pooler", None)) is not None:
            pooler.requires_grad_(False)  # no loss of this step reaches it
        self.projections = comparison.projections(float(getattr(student.config, "initializer_range", 0.02)))
        self.means = Means()
        # Without the last hidden state, what stands above the compared layers has no gradient.
        last = encoder_of(student.config).depth(student.config)
        self.unused_parameters = all(number < last for number, _ in comparison.hidden)

    @property
    def selection(self) -> tuple[str, bool]:
        return "distance", False

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self.comparison.method.student_dropout:
            self.model.eval()
            choose_attention(self.model, training=False)
        return self

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return super().forward(**batch)
        hidden, attention = self.distances(batch)
        self.means.add(hidden_loss=hidden, attention_loss=attention)
        return {"loss": hidden + attention + 0.0 * self.anchor}

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """The mean loss over a split; labels are not looked at."""

        def rows(batch: Mapping[str, Tensor]) -> Tensor:
            hidden, attention = self.distances(batch, split)
            return (hidden + attention).expand(len(batch["row"]), 1)

        return {"distance": float(collect_logits(rows, self.task, self.task.encoded(split), device).mean())}

    def distances(self, batch: Mapping[str, Tensor], split: str = "train") -> tuple[Tensor, Tensor]:
        """Weighted sums of the losses of hidden states and of attention on a batch of `split`."""
        student = observe(self.model, self.task, batch, self.comparison.wanted(0))
        return self.compare(student, self.taught(batch, split), batch["attention_mask"])

    def taught(self, batch: Mapping[str, Tensor], split: str) -> Observed:
        """What the teacher says of a batch, read where it is stored."""
        if split in self.signals:
            return self.signals[split].read(batch["row"], batch["input_ids"].shape[1], batch["input_ids"].device)
        with torch.no_grad():
            return observe(self.teacher, self.task, batch, self.comparison.wanted(1))

    def compare(self, student: Observed, teacher: Observed, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums of the losses of hidden states and of attention."""
        zero = mask.new_zeros((), dtype=torch.float32)
        own, method = self.comparison, self.comparison.method
        hidden, attention = zero, zero
        for (number, target), weight in zip(own.hidden, own.hidden_weights, strict=True):
            mine = losses.normalised(self._projected(number, student.hidden[number]), method.hidden_norm)
            theirs = losses.normalised(teacher.hidden[target], method.hidden_norm)
            hidden = hidden + weight * losses.hidden_loss(mine, theirs, mask, method.reduction)
        for (layer, target), weight in zip(own.attention, own.attention_weights, strict=True):
            attention = attention + weight * self._attention(student, teacher, layer, target, mask)
        return hidden, attention

    def _projected(self, number: int, state: Tensor) -> Tensor:
        for name in _projection_names(number):
            if name in self.projections:
                projected: Tensor = self.projections[name](state)
                return projected
        return state

    def _attention(self, student: Observed, teacher: Observed, layer: int, target: int, mask: Tensor) -> Tensor:
        own, other = student.attention[layer], teacher.attention[target]
        comparison, method = self.comparison, self.comparison.method
        if comparison.relation_heads is not None:
            joined = zip(_joined(own), _joined(other), strict=True)
            terms = [losses.relation_loss(mine, theirs, mask, comparison.relation_heads) for mine, theirs in joined]
            return torch.stack(terms).sum()
        mine, theirs = own.projections(), other.projections()
        if comparison.kind == "mean_heads":
            mine, theirs = losses.mean_heads(mine), losses.mean_heads(theirs)
        elif comparison.kind == "head_map":
            theirs = losses.mapped_heads(theirs, method.head_map or ())
        return losses.attention_loss(mine, theirs, mask, method.reduction, method.attention_implementation)

    def progress(self) -> dict[str, float]:
        return self.means.take()


def _joined(captured: Captured) -> list[Tensor]:
    """Queries, keys and values, their heads side by side."""
    parts = (captured.query, captured.key, captured.value)
    return [losses.joined_heads(part) for part in parts if part is not None]


def _projection_names(number: int) -> tuple[str, str, str]:
    """What the projection of a hidden state is called: one of its own, embeddings or layers, one for all."""
    return str(number), "embeddings" if number == 0 else "layers", "all"


def _projection(student: int, teacher: int, spread: float) -> nn.Linear:
    """A linear map with bias; the identity where the widths agree, so that equal layers start at distance 0."""
    result = nn.Linear(student, teacher)
    nn.init.zeros_(result.bias)
    if student == teacher:
        nn.init.eye_(result.weight)
    else:
        nn.init.normal_(result.weight, std=spread)
    return result


def _without_zeros(pairs: Pairs, values: tuple[float, ...]) -> tuple[Pairs, tuple[float, ...]]:
    kept = [(pair, value) for pair, value in zip(pairs, values, strict=True) if value]
    return tuple(pair for pair, _ in kept), tuple(value for _, value in kept)
