"""YOCO-BERT: train one elastic super-network, then answer any budget with one of its sub-networks.

The idea: a fine-tuned encoder whose depth, heads and inner widths can be cut at any moment is trained so that every
cut works. Sub-networks share its weights: each is a slice of them. Afterwards the best sub-network within a budget of
parameters, multiply-adds or measured latency is searched, without any training, and taken out.

Paper: "You Only Compress Once: Towards Effective and Elastic BERT Compression via Exploit-Explore Stochastic Nature
Gradient", arXiv 2106.02435. The sandwich rule and in-place distillation are those of "Universally Slimmable Networks"
(arXiv 1903.05134), the order by importance is that of "DynaBERT" (arXiv 2004.04037), the adaptive step that of
"Adaptive Stochastic Natural Gradient Method for One-Shot Neural Architecture Search" (arXiv 1905.08537).

Phases: `supernet` (training), `search` (of a sub-network, or of the whole front), `export` (optional: a short
training of what was found).

How we differ from the paper's code, and why: heads and neurons are put in the order of their importance first, so that
a slice keeps the best ones; a shallower network has evenly spread layers, not the first ones; every step trains the
largest and the smallest network beside two drawn ones, which learn from the largest (the original distils nothing);
sub-networks are compared on the same rows and at about the same cost, layers that are not run do not move the
distribution, and its step adapts; the search draws nothing that exceeds a budget, ranks by the loss on rows that were
neither trained on nor are reported on, looks at few rows of most candidates, and evaluates nothing twice; a budget that
equals a network's cost is met by it. All the original's ways that work are options; the recipe `yoco-upstream` has
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bertpress.config import Config
from bertpress.methods.method import Method, Situation, Training
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.options import Options, resolve

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.yoco.space import Space
    from bertpress.tasks.task import Task

__all__ = ["Options", "Search", "Yoco"]

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class Search(Config):
    """How a sub-network is found."""

    strategy: Literal["ee-sng", "random", "evolution"] = "ee-sng"
    """who proposes candidates: a distribution that learns (exploit-explore stochastic natural gradient), chance, or
    children of the best ones; none proposes what exceeds the budget"""
    rounds: int | None = Field(None, ge=0)
    """rounds of proposals; default 6, for the whole front 3, and none where an earlier search answers already"""
    candidates: int = Field(24, ge=1)
    """candidates of a round; for the whole front, of a round and a third of its points"""
    rungs: tuple[Annotated[int, Field(ge=1)], ...] = (128, 512)
    """rows by which candidates are compared before the best third of them sees more; the last ones see all"""
    points: int = Field(8, ge=2)
    """budgets, evenly spread, at which the whole front is searched"""
    held_out: Share | None = None
    """share of the training rows that the search looks at and the super-network is not trained on; default 0.1, below
    5,000 rows 0.2, at most 5,000 rows"""
    latency_batch: int = Field(1, ge=1)
    """texts in the batch whose latency is limited"""
    latency_tokens: int | None = Field(None, ge=1)
    """tokens of its longest text; default the mean of the development split"""
    split: str | None = None
    """look at this split instead, one that no result is reported on"""


class Yoco(Method, Budget):
    """Train one elastic super-network and take the best sub-network within a budget out of it (arXiv 2106.02435)."""

    name: ClassVar[str] = "yoco"
    phases: ClassVar[tuple[str, ...]] = ("supernet", "search", "export")

    super_network: str | None = None
    """search this one instead of training: a run with a yoco step, or the folder of its super-network"""
    space: Options = Options()
    """what can be chosen: depth, heads and widths"""
    servable: Literal["compact", "stock", "padded"] = "compact"
    """the result's form: as small as it is, saved with its code where no stock class can hold it; search only what
    stock classes can hold; or a stock model in which missing heads and neurons are zeros, smaller in depth only"""
    supernet: Training = Training(epochs=5, warmup=0.1, weight_decay=0.01)
    """training of the super-network"""
    search: Search = Search()
    """how the sub-network is found"""
    export: Training | None = None
    """training of the sub-network after it was taken out; kept if it helps on the rows of the search"""
    strategy: Literal["sandwich", "single", "progressive"] = "sandwich"
    """what a step trains: the largest, the smallest and some drawn networks; one drawn network; or one drawn network
    of a space that opens phase by phase, as the original does"""
    sampled: int = Field(2, ge=1)
    """networks drawn for each step, beside the largest and the smallest in a sandwich; where a step trains one, so
    many are compared"""
    progression: tuple[Literal["heads", "widths", "depth"], ...] = ("heads", "widths", "depth")
    """progressive: the order in which the space opens; what is left out is open from the start"""
    phase_lengths: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """progressive: length of each phase, in parts of the whole; default equal"""
    order_by: Literal["importance", "none"] = "importance"
    """how heads and neurons are ordered before the first ones are kept"""
    teacher: str = "start"
    """who is imitated: start (the recipe's start model), input (what this step is given), a model folder, or none"""
    learn_from: Literal["largest", "teacher"] = "largest"
    """whom drawn networks imitate: the largest network in the same step, or the teacher"""
    teacher_weight: Weight = 1.0
    """weight of the teacher's predictions in the loss of the largest network, beside the labels"""
    label_weight: Weight = 0.0
    """weight of the labels in the loss of the other networks; 1 where they imitate nobody"""
    logit_weight: Weight = 1.0
    """weight of the imitated predictions in their loss"""
    hidden_weight: Weight = 0.1
    """weight of the imitated states after each layer in their loss"""
    temperature: float = Field(1, gt=0)
    """softens imitated predictions"""
    learning: Literal["adaptive", "fixed", "off"] = "adaptive"
    """step of the distribution over sub-networks: adapted to noise, fixed as in the original, or none in training; what
    is learned in the search is search.strategy's, and random learns nothing"""
    learning_step: float = Field(1.0, gt=0)
    """its first, or fixed, length"""
    exploit: Literal["entropy", "upstream", "constant", "off"] = "entropy"
    """how often networks are drawn from what was learned instead of evenly: less often the less entropy is left; the
    same with the original's measure of it; nine times of ten; or always"""
    learn_from_explored: bool = False
    """evenly drawn networks move the distribution too"""
    same_cost: bool = True
    """networks that are compared in training cost about the same, else the largest always wins"""

    @model_validator(mode="after")
    def _agrees(self) -> Yoco:
        if self.learn_from == "teacher" and self.teacher == "none":
            raise ValueError("learn_from teacher needs a teacher; name one, or learn from the largest")
        if self.imitated and not self.label_weight + self.logit_weight + self.hidden_weight:
            raise ValueError("label_weight, logit_weight and hidden_weight are all 0, so drawn networks learn nothing")
        if self.phase_lengths is not None and self.strategy != "progressive":
            raise ValueError("phase_lengths are those of the strategy progressive")
        if len(set(self.progression)) < len(self.progression):
            raise ValueError(f"progression names each of heads, widths and depth at most once, got {self.progression}")
        return self

    @property
    def needs_labels(self) -> bool:
        return not self.teaches

    @property
    def teaches(self) -> bool:
        """True if there is a teacher that the largest network, or a drawn one, imitates."""
        return self.teacher != "none" and (self.teacher_weight > 0 or self.imitated == "teacher")

    @property
    def imitated(self) -> str | None:
        """Whom networks imitate that are not the largest: largest, teacher, or nobody."""
        if self.strategy == "sandwich" and self.learn_from == "largest":
            return "largest"
        return "teacher" if self.teacher != "none" else None

    def trainings(self) -> dict[str, Training]:
        given = {"supernet": self.supernet if self.super_network is None else None, "export": self.export}
        return {phase: training for phase, training in given.items() if training is not None}

    def active_phases(self) -> list[str]:
        trained = self.trainings()
        return [phase for phase in self.phases if phase == "search" or phase in trained]

    def baseline_training(self) -> Training:
        return self.supernet

    def space_of(self, config: PretrainedConfig) -> Space:
        """What can be chosen of a model of that configuration, as far as it can be known beforehand.

        Raises:
            RequestError: options that such a model does not have, or no super-network where one is named.
        """
        if self.super_network is None:
            space, stock = resolve(self.space, config), self.servable == "stock"
        else:
            from bertpress.methods.yoco.super_network import About, find_super_network

            about = About.read(find_super_network(self.super_network))
            ranking = [int(layer) for layer in about.ordering["layers"]]
            space = about.space if self.space == Options() else resolve(self.space, config, ranking)
            stock = self.servable == "stock" or about.space.is_stock
        return space.stock() if stock and not space.is_stock else space

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.methods.yoco.extracting import sub_network_config

        return sub_network_config(config, self.space_of(config).largest)

    def check(self, situation: Situation) -> None:
        from bertpress.methods.yoco.asking import check_request

        check_request(self, situation)

    def check_rows(self, config: PretrainedConfig, task: Task) -> None:
        from bertpress.methods.yoco.asking import check_limits

        check_limits(self, config, task)

    def rows(self, task: Task) -> int:
        from bertpress.methods.yoco.held_out import held_out_rows

        rows = super().rows(task)
        return rows if self.search.split else max(1, rows - held_out_rows(rows, self.search.held_out))

    def truncated_layers(self, config: PretrainedConfig) -> int:
        """As many layers as the budget has room for, or all of them where it limits nothing but time."""
        from bertpress.methods.yoco.truncating import truncated_layers

        return truncated_layers(self, config)

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        space = self.space_of(config)
        mean = sum(space.depths) / len(space.depths) / 2  # of a drawn network, in full layers
        if phase == "export":
            return 3.0 * mean
        if self.strategy == "sandwich":
            return 3.0 * (max(space.depths) + 0.15 * min(space.depths) + self.sampled * mean)
        return (2.0 + self.sampled) * mean

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        space = self.space_of(config)
        depths = ", ".join(map(str, space.depths))
        return [f"{space.count():,} sub-networks of {depths} layers; a plan shows the sizes of the largest"]

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        from bertpress.methods.yoco.steps import compressed

        return compressed(self, model, task, run)
