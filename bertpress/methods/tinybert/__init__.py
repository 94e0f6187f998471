"""TinyBERT: let a small student imitate the inside of a fine-tuned teacher, then its answers.

The idea: a *student* is trained twice on the task's texts. In step 1 it learns the teacher's embeddings, hidden states
and attention scores, layer by layer; in step 2 its predictions. Labels are not needed, so the texts can be multiplied
by replacing words, which carries most of the paper's gain on small data.

Paper: "TinyBERT: Distilling BERT for Natural Language Understanding", arXiv 1909.10351 (Findings of EMNLP 2020).
Relations for unequal head counts: "MiniLMv2", arXiv 2012.15828.

Phases: `augmentation` (if asked for), `intermediate` (step 1), `prediction` (step 2).

How we differ from the paper's code, and why: the teacher is in eval mode, so its targets carry no dropout noise;
padding takes part in no loss, and each loss is a mean within an example first, so that it depends on neither padding
nor the size of the batch (`reduction`); the width is projected only where it differs; a student made of the teacher's
own layers keeps the teacher's head; step 1 keeps the tenth with the smallest loss on the development texts, step 2 the
one with the best score; step 1 takes 3 epochs instead of 20 (the recipe `tinybert-paper` has the paper's); what the
teacher says is stored once and read again (`signals`); a regression learns the teacher's scores on augmented rows;
weights do not decay by default; the head is that of transformers, without the ReLU of the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bertpress.augmentation import Augmentation
from bertpress.config import Config
from bertpress.errors import RequestError
from bertpress.methods.method import Method, Situation, Training
from bertpress.methods.tinybert.mapping import Pairs, Strategy, layer_pairs

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import Runtime, StepRun
    from bertpress.tasks.task import Task

__all__ = ["Shape", "TinyBert"]

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = NotNegative | tuple[NotNegative, ...]


class Shape(Config):
    """The shape of a student that starts from random weights."""

    layers: int = Field(4, ge=1, le=1_000)
    """encoder layers"""
    hidden_size: int = Field(312, ge=1, le=100_000)
    """width"""
    heads: int = Field(12, ge=1, le=10_000)
    """attention heads; must divide the width"""
    intermediate_size: int = Field(1200, ge=1, le=1_000_000)
    """width inside of the feed-forward blocks"""

    @model_validator(mode="after")
    def _divides(self) -> Shape:
        if self.hidden_size % self.heads:
            raise ValueError(f"the width {self.hidden_size} is no multiple of the {self.heads} heads")
        return self


class TinyBert(Method):
    """Distil a fine-tuned teacher into a smaller student, inside first, then its answers (arXiv 1909.10351)."""

    name: ClassVar[str] = "tinybert"
    phases: ClassVar[tuple[str, ...]] = ("augmentation", "intermediate", "prediction")

    layers: int | None = Field(None, ge=1)
    """layers of the result, which start as layers of the input model; default half of its"""
    shape: Shape | None = None
    """start from random weights in this shape instead; needs general distillation or much data"""
    student: str | None = None
    """start from this model folder instead, for example one made by bertpress pretrain --objective distill"""
    teacher: str = "start"
    """start (the recipe's start model), input (what this step is given), or a model folder"""
    start_layers: Literal["mapped", "bottom", "top"] = "mapped"
    """which layers of the input model the student starts from: those it learns from, or neighbouring ones"""
    layer_map: Strategy | Pairs = "uniform"
    """teacher layer of each student layer: uniform, top, bottom, last_only, or pairs counted from 1"""
    attention_map: Strategy | Pairs | None = None
    """another map for the attention loss; default layer_map"""
    attention_loss: Literal["auto", "scores", "relation", "mean_heads", "head_map", "none"] = "auto"
    """scores before the softmax; auto: scores where the numbers of heads agree, else relation (MiniLMv2)"""
    head_map: tuple[int, ...] | None = None
    """teacher head of each student head, counted from 0, for attention_loss head_map"""
    relation_heads: int | None = Field(None, ge=1)
    """relation heads; default the largest divisor of both widths up to 48"""
    attention_implementation: Literal["auto", "maps", "gram"] = "auto"
    """maps hold length x length scores, gram holds none; auto: gram from about 129 tokens on"""
    reduction: Literal["example", "tokens", "upstream"] = "example"
    """mean within each example, over all tokens of the batch, or the original's mean over padding too"""
    projection: Literal["auto", "none", "shared", "per_layer", "embed_hidden"] = "auto"
    """linear maps from student to teacher width; auto: none where the widths agree, else one per layer"""
    hidden_norm: Literal["none", "layernorm", "l2"] = "none"
    """normalise hidden states before they are compared; for models whose layers begin with their norm"""
    hidden_weight: Weight = 1.0
    """weight of the hidden states: one number, or one for each pair, beginning with the embeddings if compared"""
    attention_weight: Weight = 1.0
    """weight of attention: one number, or one for each pair of layers"""
    intermediate: Training | None = Training(learning_rate=5e-5, decay="constant")
    """step 1"""
    student_dropout: bool = True
    """dropout of the student in step 1"""
    prediction: Training | None = Training(learning_rate=3e-5, warmup=0.1)
    """step 2"""
    prediction_loss: Literal["soft_cross_entropy", "kl", "mse", "upstream"] = "soft_cross_entropy"
    """what step 2 compares; upstream is the original's mean over classes too"""
    temperature: float = Field(1.0, gt=0)
    """softens the predictions of teacher and student in step 2"""
    soft_weight: float = Field(1.0, ge=0)
    """weight of the teacher's predictions in step 2"""
    hard_weight: float = Field(0.0, ge=0)
    """weight of the task's own loss in step 2; rows made by augmentation take no part"""
    cosine_weight: float = Field(0.0, ge=0)
    """weight of the angle between the last hidden states in step 2 (DistilBERT)"""
    regression_target: Literal["auto", "teacher"] = "auto"
    """of scores, step 2 learns the true ones where there are some, or always the teacher's"""
    augmentation: Augmentation | None = None
    """replace words to make more training texts"""
    signals: Literal["auto", "all", "logits", "none"] = "auto"
    """what the teacher says that is stored and not computed again; auto: all while it needs at most 2 GB, and nothing
    where a row is seen less than twice"""
    teacher_check: bool = True
    """stop before training if the teacher is no better than the commonest answer"""
    encoder_only: bool = False
    """save the result without its head"""

    @model_validator(mode="after")
    def _fits(self) -> TinyBert:
        given = [name for name in ("layers", "shape", "student") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of layers, shape and student, not {' and '.join(given)}")
        if self.intermediate is None and self.prediction is None:
            raise ValueError("intermediate and prediction are both switched off, so nothing would be trained")
        if (self.attention_loss == "head_map") != (self.head_map is not None):
            raise ValueError("attention_loss head_map and the field head_map need each other")
        if self.prediction is not None and not self.soft_weight + self.hard_weight + self.cosine_weight:
            raise ValueError("soft_weight, hard_weight and cosine_weight are all 0, so step 2 would train nothing")
        if self.reduction == "upstream" and self.attention_implementation == "gram":
            raise ValueError("the original's reduction needs the maps; leave attention_implementation at auto")
        if self.reduction == "upstream" and self.signals == "all":
            raise ValueError(
                "the original's reduction looks at padding, of which nothing is stored; leave signals at auto"
            )
        return self

    @property
    def saves_head(self) -> bool:
        return not self.encoder_only

    @property
    def needs_labels(self) -> bool:
        return self.prediction is not None and self.hard_weight > 0

    @property
    def needs_head(self) -> bool:
        return self.prediction is not None

    def active_phases(self) -> list[str]:
        return [*["augmentation"] * (self.augmentation is not None), *self.trainings()]

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.encoders import encoder_of
        from bertpress.encoders.surgery import resized, with_layers

        depth = encoder_of(config).depth(config)
        if self.student is not None:
            return self._planned_student(config)
        if self.shape is not None:
            return resized(config, **self.shape.model_dump())
        if self.layers is not None and self.layers > depth:
            raise RequestError(f"layers must lie between 1 and the model's {depth}, got {self.layers}.")
        return with_layers(config, [(layer,) for layer in self.kept_layers(config)])

    def check(self, situation: Situation) -> None:
        from bertpress.methods.tinybert.checks import check_request

        check_request(self, situation)

    def _planned_student(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.engine.loading import load_config
        from bertpress.models import is_reduced

        result = load_config(str(self.student))
        if is_reduced(result):
            raise RequestError(
                f"Token reduction comes last, but the student {self.student} skips tokens; take another."
            )
        result.id2label, result.label2id, result.problem_type = config.id2label, config.label2id, config.problem_type
        return result

    def kept_layers(self, config: PretrainedConfig) -> list[int]:
        """Layers of the input model, counted from 0, that the student starts from.

        The first one stays first where the architecture builds it otherwise than the others.
        """
        from bertpress.encoders import encoder_of

        encoder = encoder_of(config)
        depth = encoder.depth(config)
        count = self.layers or max(1, depth // 2)
        if self.start_layers == "bottom":
            return list(range(count))
        if self.start_layers == "top":
            return list(range(depth - count, depth))
        if isinstance(self.layer_map, str) or max((max(pair) for pair in self.layer_map), default=0) <= depth:
            pairs = self._pairs(self.layer_map, count, depth, "layer_map")
        else:  # pairs with layers of a deeper teacher than the input model
            pairs = layer_pairs("uniform", count, depth)
        if [student for student, _ in pairs if student] != list(range(1, count + 1)):  # some learn from no layer
            pairs = layer_pairs("uniform", count, depth)
        kept = [teacher - 1 for student, teacher in pairs if student]
        return kept if encoder.first_layer is None else [0, *kept[1:]]

    def hidden_pairs(self, student: int, teacher: int) -> Pairs:
        """Compared hidden states, (student, teacher); the embeddings come first unless a list of pairs was given."""
        pairs = self._pairs(self.layer_map, student, teacher, "layer_map")
        return ((0, 0), *pairs) if isinstance(self.layer_map, str) and self.layer_map != "last_only" else pairs

    def attention_pairs(self, student: int, teacher: int) -> Pairs:
        """Layers whose attention is compared, (student, teacher)."""
        if self.attention_map is None:
            return tuple(pair for pair in self._pairs(self.layer_map, student, teacher, "layer_map") if min(pair) > 0)
        pairs = self._pairs(self.attention_map, student, teacher, "attention_map")
        if any(min(pair) == 0 for pair in pairs):
            raise RequestError("attention_map: embeddings (0) have no attention; pair layers from 1 on.")
        return pairs

    def _pairs(self, given: Strategy | Pairs, student: int, teacher: int, what: str) -> Pairs:
        try:
            return layer_pairs(given, student, teacher)
        except ValueError as error:
            raise RequestError(f"{what}: {error}.") from None

    def trainings(self) -> dict[str, Training]:
        both = {"intermediate": self.intermediate, "prediction": self.prediction}
        return {phase: training for phase, training in both.items() if training is not None}

    def baseline_training(self) -> Training:
        return self.prediction or self.trainings()["intermediate"]

    def rows(self, task: Task) -> int:
        examples = super().rows(task)
        return (
            examples if self.augmentation is None else examples * self.augmentation.most_rows(task.name, task.columns)
        )

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        from bertpress.costs import cost
        from bertpress.encoders import encoder_of
        from bertpress.engine.loading import load_config

        def passes(other: PretrainedConfig) -> float:
            ratio: float = cost.layer_macs(other, 64) / cost.layer_macs(config, 64)
            return ratio * encoder_of(other).depth(other)

        from_folder = self.teacher not in ("start", "input")
        return passes(load_config(self.teacher) if from_folder else config) + 3.0 * passes(self.plan(config))

    def seconds_before(self, task: Task, runtime: Runtime) -> float:
        """Of augmentation by a masked-language model, measured on some texts; word vectors take next to no time."""
        from bertpress.augmentation.estimating import candidate_seconds
        from bertpress.augmentation.job import Job, source_of

        if self.augmentation is None or self.augmentation.masked_lm is None:
            return 0.0
        source = source_of(self.augmentation.masked_lm, runtime)
        return candidate_seconds(Job.of(task, self.augmentation, source, runtime))

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        from bertpress.models import architecture_of

        result = self.plan(config)
        same = architecture_of(config) == architecture_of(result) and result.hidden_size == config.hidden_size
        if self.shape is not None and same:
            return ["the widths agree: a student that starts from the teacher's layers (layers) is usually better."]
        return []

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        from bertpress.methods.tinybert.steps import distil

        return distil(self, model, task, run)
