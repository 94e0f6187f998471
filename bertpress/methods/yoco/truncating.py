"""How deep a truncated model may be within a budget: the baseline that a sub-network has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertpress.encoders import encoder_of
from bertpress.methods.yoco.budget import HALF, Budget
from bertpress.methods.yoco.limits import limits
from bertpress.methods.yoco.options import Options, resolve

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TOKENS = 128
"""Shares of multiply-adds hardly depend on the length; numbers of them do, and are left out."""


def truncated_layers(budget: Budget, config: PretrainedConfig, head: str | None = "sequence-classification") -> int:
    """The most whole layers within a budget; all that there are where it limits nothing that is known beforehand."""
    depth = encoder_of(config).depth(config)
    given = budget.given() or HALF.given()
    known = {name: amount for name, amount in given.items() if name == "parameters" or amount.is_share}
    known.pop("latency_ms", None)
    if not known:
        return depth
    whole = Options(depth=tuple(range(1, depth + 1)), heads=(1.0,), widths=(1.0,))
    space = resolve(whole, config)
    scope = {"scope": budget.scope} if budget.scope and "parameters" in known else {}
    limited = limits(Budget(**known, **scope), space, config, head, TOKENS)
    fitting = [
        option
        for option in range(depth)
        if all(limit.cost.of(space, (option, *[0] * depth)) <= limit.most for limit in limited)
    ]
    return max(1, len(fitting))
