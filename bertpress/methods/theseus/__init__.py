"""Theseus: replace modules of a fine-tuned encoder by smaller ones while it trains.

The idea: cut the layers of a fine-tuned *predecessor* into modules and give each a smaller *successor* module. In every
training step each module is replaced with some probability, the replace rate; the loss is the task's own. As the rate
grows to 1, the successor modules learn to work with the frozen rest and then with each other.

Paper: "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing", arXiv 2002.02925 (EMNLP 2020).

Phases: `replacing` (includes the steps at rate 1); optionally `finetuning`, with an optimizer of its own.

How we differ from the paper's code, and why: the predecessor, the embeddings and the head are really frozen
(`requires_grad=False`), so that nothing is computed for them and the gradient is clipped over what is trained; an idle
module is not moved by default (`idle_update`), which is what the paper's formula for the effective learning rate
assumes; a draw that replaces nothing moves nothing (`empty_mask`); masks are a function of seed, step and micro-batch,
so a resumed run continues exactly; a constant rate always states its switch; any depth; the best tenth of the run by
the successor's score on the validation split is kept; the result is an ordinary model folder.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from bertpress.errors import RequestError
from bertpress.methods.method import Method, Training
from bertpress.methods.theseus.modules import Initialisation, Module, describe, even_modules, origins, parse_modules
from bertpress.methods.theseus.rates import Constant, Custom, Linear, Rate

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.tasks.task import Task

__all__ = ["Constant", "Custom", "Linear", "Theseus"]


class Theseus(Method):
    """Replace modules of a fine-tuned encoder by smaller ones during training (arXiv 2002.02925)."""

    name: ClassVar[str] = "theseus"
    phases: ClassVar[tuple[str, ...]] = ("replacing", "finetuning")

    successor_layers: int | None = Field(None, ge=1)
    """layers of the result; default half of the predecessor's. Fewer: faster and less accurate"""
    rate: Rate = Linear()
    """replace rate over the run: linear, constant, or custom (Python only)"""
    replacing: Training = Training()
    """training of the successor modules, the steps at rate 1 included"""
    finetuning: Training | None = None
    """an optional second stage of the successor alone, with an optimizer of its own"""
    scope: Literal["successor", "all"] = "successor"
    """what the second stage trains: the successor layers, or embeddings, pooler and head too"""
    initialisation: Initialisation | tuple[int, ...] = "bottom"
    """where successor layers start: the predecessor's bottom or top layers, the first, last or mean of each module,
    random, or a list of layers"""
    modules: str | None = None
    """explicit plan instead of successor_layers: 0-0=|1-4:2|5-11:3 keeps layer 0, puts 2 for 1-4 and 3 for 5-11"""
    empty_mask: Literal["skip", "resample", "force_one"] = "skip"
    """a draw that replaces no module: move nothing, draw again, or replace one at random (both raise the rate)"""
    idle_update: Literal["skip", "zero_grad"] = "skip"
    """modules that were not drawn: leave them, or update them with a zero gradient as the original did"""
    predecessor_dropout: bool = True
    """dropout inside predecessor layers while they stand in for their substitutes"""

    @model_validator(mode="after")
    def _fits(self) -> Theseus:
        if self.modules is not None and self.successor_layers is not None:
            raise ValueError("give successor_layers or modules, not both")
        if self.scope == "all" and self.finetuning is None:
            raise ValueError("scope 'all' needs a second stage: set finetuning, for example finetuning: {epochs: 3}")
        if isinstance(self.rate, Constant) and (self.rate.switch_after == "never" or self.rate.switch_at == 1):
            never = self.rate.rate if isinstance(self.rate.rate, tuple) else (self.rate.rate,)
            if max(never) == 0:
                raise ValueError("a constant rate of 0 until the end would train nothing")
        return self

    def layout(self, layers: int) -> list[Module]:
        """The modules of a predecessor of that many layers."""
        if self.modules is not None:
            return parse_modules(self.modules, layers)
        return even_modules(layers, self.successor_layers or max(1, layers // 2))

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.encoders import encoder_of
        from bertpress.encoders.surgery import with_layers

        layout = self.layout(encoder_of(config).depth(config))
        chosen = origins(layout, self.initialisation)
        self.rates(0, 1, layout)
        try:
            return with_layers(config, chosen)
        except RequestError as error:
            raise RequestError(f"initialisation '{self.initialisation}': {error}") from None

    def rates(self, step: int, total_steps: int, layout: list[Module]) -> tuple[float, ...]:
        """Replace rate of each module that is not kept."""
        try:
            return self.rate.at(step, total_steps, sum(not module.kept for module in layout))
        except ValueError as error:
            raise RequestError(f"rate: {error}.") from None

    def trainings(self) -> dict[str, Training]:
        second = {"finetuning": self.finetuning} if self.finetuning else {}
        return {"replacing": self.replacing, **second}

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        from bertpress.encoders import encoder_of

        layout = self.layout(encoder_of(config).depth(config))
        if phase == "finetuning":
            return 3.0 * sum(module.substitutes for module in layout)
        moments = range(0, steps, max(1, steps // 100))
        rates = [self.rates(step, steps, layout) for step in moments]
        means = iter([sum(column) / len(rates) for column in zip(*rates, strict=True)])
        return sum(_passes(module, 0.0 if module.kept else next(means)) for module in layout)

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        from bertpress.encoders import encoder_of

        layout = self.layout(encoder_of(config).depth(config))
        total = steps["replacing"]
        remarks = [f"modules {describe(layout)}"]
        last = min(self.rates(total - 1, total, layout))
        if last < 1 and not self.finetuning:
            remarks.append(f"the run ends at replace rate {last:.2f}: the successor is never trained as a whole.")
        draws = self.replacing.accumulation
        empty = sum(math.prod(1 - rate for rate in self.rates(step, total, layout)) ** draws for step in range(total))
        if self.empty_mask == "skip" and empty > total / 4:
            remarks.append(f"about {empty:.0f} of {total} steps will replace nothing and so train nothing.")
        return remarks

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        import copy

        from bertpress.engine.objective import Supervised
        from bertpress.methods.theseus.replacing import Replacing

        objective = Replacing(copy.deepcopy(model), task, self, seed=run.seed)
        run.train(objective, task, self.replacing, "replacing")
        successor = objective.successor()
        del objective  # and with it the predecessor
        if self.finetuning:
            if self.scope == "all":  # else only the substitutes are trainable, as they were while replacing
                successor.requires_grad_(True)
            run.train(Supervised(successor, task), task, self.finetuning, "finetuning")
        return successor


def _passes(module: Module, rate: float) -> float:
    return 3.0 * rate * module.substitutes + 2.0 * (1.0 - rate) * len(module.layers)
