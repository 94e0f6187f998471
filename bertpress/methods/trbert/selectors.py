"""What each selector trains, and which settings it reads. No torch here."""

from __future__ import annotations

from bertpress.config import Config

TRAINED: dict[str, tuple[str, ...]] = {
    "policy": ("init", "policy", "joint"),
    "gumbel": ("policy", "joint"),
    "threshold": ("policy", "joint"),
    "attention": ("joint",),
    "random": ("joint",),
    "first": ("joint",),
}
"""Phases in which something is trained, by the selector."""
READ_BY: dict[tuple[str, ...], tuple[str, ...]] = {
    ("policy",): ("init", "rollouts", "baseline", "advantage_norm", "beta", "logprob_eps", "guide_rate", "importance",
                  "importance_layer", "detach_policy_input"),
    ("policy", "gumbel"): ("policy_hidden", "policy_init_bias", "entropy_weight", "policy_dropout"),
    ("gumbel", "threshold"): ("temperature",),
    ("policy", "gumbel", "threshold"): ("policy", "control_rate"),
}  # fmt: skip
"""Selectors that read some fields alone."""


def unread_by(method: Config, selector: str) -> list[str]:
    """Fields that were changed though the selector does not read them."""
    return [
        name
        for selectors, names in READ_BY.items()
        if selector not in selectors
        for name in names
        if getattr(method, name) != type(method).model_fields[name].default
    ]
