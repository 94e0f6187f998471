"""TR-BERT: let a fine-tuned encoder skip the tokens that do not matter, before most of its layers.

The idea: before a few layers a small *policy* looks at each token's state and decides whether it goes on. A skipped
token is updated no more; its last state stays its representation. The policies are trained by REINFORCE on the
log-likelihood of the right answer minus a price for the tokens that were kept, and then together with the encoder.

Paper: "TR-BERT: Dynamic Token Reduction for Accelerating BERT Inference", arXiv 2105.11618 (NAACL 2021). Other
selectors: `gumbel` as in "Transkimmer" (arXiv 2205.07324), `threshold` as in "Learned Token Pruning" (arXiv
2107.00910), `attention` as in "PoWER-BERT" (arXiv 2001.08950).

Phases: `importance` (which tokens the loss of the full model depends on), `init` (optional: policies learn that order),
`policy` (policies alone), `logits` (what the teacher answers, stored), `joint` (everything).

How we differ from the paper's code, and why: every row keeps its own tokens, so that an answer depends on neither the
neighbours in the batch nor on padding, and skipped tokens are not computed at any batch size; the share of
multiply-adds to keep is given (`macs`) and the price follows from it, `alpha` fixes the price instead; lengths are
divided by a row's own tokens (`length_norm`), the policy phase has no dropout (`policy_dropout`), the baseline of a
rollout is the mean of the other ones (`baseline`), and gradients reach skipped tokens' states
(`grad_through_skipped`); layers below the first decision are computed once for all rollouts; draws are a function of
seed, step and row. The recipe `trbert-upstream` has the original's conventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bertpress.errors import RequestError
from bertpress.methods.method import Method, Situation, Training
from bertpress.methods.trbert.selectors import TRAINED, unread_by

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.tasks.task import Task

__all__ = ["TrBert"]

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TrBert(Method):
    """Skip tokens between the layers of a fine-tuned encoder (arXiv 2105.11618)."""

    name: ClassVar[str] = "trbert"
    phases: ClassVar[tuple[str, ...]] = ("importance", "init", "policy", "logits", "joint")

    macs: float = Field(0.5, gt=0, le=1)
    """share of a text's multiply-adds in the layers that is kept, on average; less: faster and less accurate"""
    alpha: Price | tuple[Price, Price] | None = None
    """fixed price of keeping all tokens, in units of the loss, instead of the share in macs; or two, of the policy and
    the joint phase; for experts"""
    selector: Literal["policy", "gumbel", "threshold", "attention", "random", "first"] = "policy"
    """who decides: a policy trained by REINFORCE or with a relaxed draw (gumbel), learned thresholds on the attention
    that tokens receive, a fixed share of the most attended ones, of random ones, or of the first ones"""
    reduction_layers: tuple[int, ...] | None = None
    """decisions are made before these layers, counted from 0; default before layer 1 and the middle one, for the
    selector threshold before every layer but the first"""
    policy_hidden: int = Field(32, ge=1)
    """width inside of a policy"""
    policy_init_bias: float | None = None
    """bias that a policy starts with; default what keeps the share in macs, with alpha 0 (half of the tokens)"""
    min_keep: int = Field(1, ge=1)
    """tokens that each row keeps at least"""
    max_keep: int | None = Field(None, ge=1)
    """tokens that each row keeps at most"""
    min_tokens: int = Field(0, ge=0)
    """shorter rows keep all"""
    always_keep: tuple[str, ...] = ()
    """special tokens that are never skipped, by their role: sep, mask, ...; the first token never is"""
    share_choices: bool = True
    """options that are scored together skip the same tokens of what their question has in common, and none of their
    own; without effect elsewhere"""
    importance: Literal["gradient", "attention", "norm", "random"] = "gradient"
    """what the guided rollouts take for a token's importance"""
    importance_layer: int | None = Field(None, ge=1)
    """the gradient is taken at the states before this layer; default halfway from the last decision to the end"""
    guide_rate: float = Field(0.5, ge=0, le=1)
    """share of the policy phase in which one rollout of each row takes the most important tokens"""
    init: Training | None = None
    """training of the policies towards the order of importance"""
    policy: Training | None = Training(learning_rate=3e-5, warmup=0.1)
    """training of the policies alone; for the selector threshold, of everything with soft thresholds"""
    joint: Training | None = Training(learning_rate=3e-5, warmup=0.1)
    """training of everything"""
    rollouts: int = Field(8, ge=1)
    """draws for each row of a batch"""
    baseline: Literal["loo", "mean"] = "loo"
    """what a rollout's reward is compared with: the mean of the row's other rollouts, or of all"""
    advantage_norm: bool = False
    """divide a row's advantages by their standard deviation"""
    entropy_weight: float = Field(0, ge=0)
    """weight of the decisions' entropy, against deciding too early"""
    beta: float = Field(1, ge=0)
    """weight of the policies' loss in the joint phase"""
    cost: Literal["auto", "tokens", "macs"] = "auto"
    """what the price is asked for: the mean share of tokens kept at the decisions, or of multiply-adds; auto: tokens
    with alpha, else macs"""
    length_norm: Literal["valid", "padded"] = "valid"
    """shares of tokens are of a row's own, or of the longest input, to which the original pads every row"""
    logprob_eps: float = Field(0, ge=0)
    """added to probabilities before their logarithm, as the original does with 1e-6"""
    control_rate: float = Field(0.1, gt=0)
    """how fast the price follows the distance from the share in macs, for each step"""
    temperature: tuple[float, float] = (1.0, 0.3)
    """gumbel: softness of the draws at the start and at the end; threshold: times 0.002, of the soft thresholds"""
    teacher: str = "start"
    """who is imitated in the joint phase: start (the recipe's start model), input (what this step is given), a model
    folder, or none"""
    kd_temperature: float = Field(1, gt=0)
    """softens the predictions of both in the joint phase"""
    soft_weight: float = Field(1, ge=0)
    """weight of the teacher's predictions in the joint phase"""
    hard_weight: float = Field(0, ge=0)
    """weight of the labels in the joint phase; without a teacher it is 1"""
    grad_through_skipped: bool = True
    """gradients reach the last states of skipped tokens, where a head reads them"""
    detach_policy_input: bool = False
    """policies change nothing below them in the joint phase"""
    policy_dropout: bool = False
    """dropout of the encoder in the policy phase"""
    calibrate: bool = True
    """move the thresholds of the result so that it keeps the share in macs on the development texts"""

    @model_validator(mode="after")
    def _fits(self) -> TrBert:
        if not self.trainings():
            raise ValueError("all phases are switched off, so nothing would be trained")
        if self.teacher == "none" and self.hard_weight == 0 and self.soft_weight != 1:
            raise ValueError("without a teacher only the labels are learned; leave soft_weight and hard_weight")
        if self.teacher != "none" and self.soft_weight + self.hard_weight == 0:
            raise ValueError("soft_weight and hard_weight are both 0, so the joint phase would learn no answers")
        if self.cost == "tokens" and self.alpha is None:
            raise ValueError("the share in macs is reached by pricing multiply-adds; give alpha to price tokens")
        if self.max_keep is not None and self.max_keep < self.min_keep:
            raise ValueError(f"max_keep {self.max_keep} is less than min_keep {self.min_keep}")
        if self.alpha is not None and TRAINED[self.selector] == ("joint",):
            raise ValueError(
                f"the selector {self.selector} keeps fixed shares, which no price moves; give macs, not alpha"
            )
        if min(self.temperature) <= 0:
            raise ValueError(f"temperatures must be above 0, got {self.temperature}")
        return self

    @property
    def needs_labels(self) -> bool:
        return not self.teaches or self.hard_weight > 0

    @property
    def teaches(self) -> bool:
        """True if there is a teacher, whose answers take the place of labels."""
        return self.teacher != "none" and self.soft_weight > 0

    @property
    def learns_labels_alone(self) -> bool:
        """True if the weight of a teacher that there is was set to 0, so that the labels have theirs."""
        return self.teacher != "none" and self.soft_weight == 0

    @property
    def prices_tokens(self) -> bool:
        """True if the price is asked for tokens, not for multiply-adds."""
        return self.cost == "tokens" or (self.cost == "auto" and self.alpha is not None)

    def fixed_price(self, phase: str) -> float | None:
        """The price of keeping all tokens in a phase, if it is given."""
        both = self.alpha if isinstance(self.alpha, tuple) else (self.alpha, self.alpha)
        return both[phase == "joint"]

    @property
    def learns_from_teacher(self) -> bool:
        """True if the joint phase imitates a teacher."""
        return self.teaches and self.joint is not None

    @property
    def is_guided(self) -> bool:
        """True if a phase needs to know which tokens are important."""
        trained = self.trainings()
        return self.selector == "policy" and ("init" in trained or ("policy" in trained and self.guide_rate > 0))

    def active_phases(self) -> list[str]:
        wanted = {"importance": self.is_guided, "logits": self.learns_from_teacher}
        trained = self.trainings()
        return [phase for phase in self.phases if wanted.get(phase) or phase in trained]

    def trainings(self) -> dict[str, Training]:
        given = {"init": self.init, "policy": self.policy, "joint": self.joint}
        return {phase: given[phase] for phase in TRAINED[self.selector] if given[phase] is not None}  # type: ignore[misc]

    def layers_of(self, depth: int) -> list[int]:
        """The layers before which tokens are skipped, in a model of that many.

        Raises:
            RequestError: layers that such a model does not have.
        """
        from bertpress.models.token_selection import default_layers

        default = list(range(1, depth)) if self.selector == "threshold" else default_layers(depth)
        layers = default if self.reduction_layers is None else list(self.reduction_layers)
        if any(not 1 <= layer < depth for layer in layers) or layers != sorted(set(layers)):
            raise RequestError(
                f"reduction_layers must rise from 1 to at most {depth - 1} (the model has {depth} layers), got "
                f"{layers}; leave it out for {default}."
            )
        return layers

    def reference_layer(self, depth: int) -> int:
        """The layer before which the gradient for importance is taken.

        Raises:
            RequestError: it lies not above every decision.
        """
        last = max(self.layers_of(depth), default=0)
        layer = last + -(-(depth - last) // 2) if self.importance_layer is None else self.importance_layer
        if self.importance_layer is None and self.importance != "gradient":
            return min(layer, depth)
        if not last < layer < depth:
            came = "and there is none" if self.importance_layer is None else f"got {layer}"
            raise RequestError(
                f"importance_layer must lie above the last decision ({last}) and at most at {depth - 1}, {came}; set "
                "guide_rate to 0 to do without importance, or importance to attention."
            )
        return layer

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.costs.row_costs import check_reachable
        from bertpress.encoders import encoder_of
        from bertpress.encoders.compact import compact_config

        depth = encoder_of(config).depth(config)
        layers = self.layers_of(depth)
        if self.is_guided and layers and self.importance == "gradient":
            self.reference_layer(depth)
        if getattr(config, "token_reduction", None) is not None:
            raise RequestError("The model skips tokens already; start from the model that it was made of.")
        result = compact_config(config, token_reduction=self.settings(layers))
        if self.alpha is None and layers:
            check_reachable(self.macs, config, layers[0])
        return result

    def check(self, situation: Situation) -> None:
        task = situation.task
        if task is not None and not task.has_labels(task.dev_split):
            raise RequestError(f"trbert chooses checkpoints by labels, but the {task.dev_split} rows have none.")

    def check_rows(self, config: PretrainedConfig, task: Task) -> None:
        if self.alpha is None and self.share_choices and task.head == "multiple-choice":
            from bertpress.methods.trbert.steps import check_budget

            check_budget(self, config, task)

    def settings(self, layers: list[int]) -> dict[str, object]:
        """What the result's configuration says about token reduction before anything is trained."""
        saved = {"gumbel": "policy", "threshold": "attention"}.get(self.selector, self.selector)
        return {
            "layers": layers,
            "selector": saved,
            "policy_hidden": self.policy_hidden,
            "thresholds": [0.0] * len(layers) if self.selector == "threshold" else None,
            "shares": [1.0] * len(layers) if TRAINED[self.selector] == ("joint",) else None,
            "min_keep": self.min_keep,
            "max_keep": self.max_keep,
            "min_tokens": self.min_tokens,
        }

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        from bertpress.encoders import encoder_of

        depth = encoder_of(config).depth(config)
        first = min(self.layers_of(depth), default=depth)
        rollouts = self.rollouts if self.selector == "policy" else 1
        upper = rollouts * max(self.macs * depth - first, 0.0)
        if phase == "init":
            return float(max(self.layers_of(depth), default=0))
        if phase == "policy" and self.selector == "policy":
            return first + upper
        if self.selector in ("gumbel", "threshold") and phase == "policy":
            return 3.0 * depth
        return 3.0 * (first + upper)

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        from bertpress.encoders import encoder_of

        depth = encoder_of(config).depth(config)
        layers = self.layers_of(depth)
        if not layers:
            return [f"there is no layer (of {depth}) before which tokens are skipped, so nothing is trained."]
        where = f"tokens are skipped before layers {', '.join(map(str, layers))} of {depth} (counted from 0)"
        reached = self.alpha is None and (self.calibrate or self.selector in ("policy", "gumbel"))
        remarks = [f"{where}, so that about {100 * self.macs:g} % of the multiply-adds are kept" if reached else where]
        if unread := unread_by(self, self.selector):
            remarks.append(f"the selector {self.selector} does not read {', '.join(unread)}.")
        if self.rollouts == 1 and self.selector == "policy":
            remarks.append("one rollout has no others to compare with: its reward is compared with a running mean.")
        return remarks

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        from bertpress.methods.trbert.steps import reduce_tokens

        return reduce_tokens(self, model, task, run)
