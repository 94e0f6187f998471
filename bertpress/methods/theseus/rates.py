"""How the replace rate runs over the steps: `Linear`, `Constant`, or any function in Python (`Custom`).

A rate may be one number or one number per module. Source: arXiv 2002.02925, section 3.2; the constant rate with a
switch and the linear ramp are those of its published code, without its two traps (a constant rate that switches after
one step by default, a ramp whose default slope is 0).
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from bertpress import schedules
from bertpress.config import Config, choice


def _between_0_and_1(value: Any) -> Any:
    for rate in value if isinstance(value, list | tuple) else (value,):
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise ValueError(f"expected a number between 0 and 1, or a list with one per module, got {value}")
    return tuple(value) if isinstance(value, list) else value


PerModule = Annotated[float | tuple[float, ...], BeforeValidator(_between_0_and_1)]


class RateSchedule(Config):
    """A replace rate as a function of finished steps."""

    @abstractmethod
    def at(self, step: int, total_steps: int, modules: int) -> tuple[float, ...]:
        """Rate of each module after `step` of `total_steps` finished optimizer steps."""


def _spread(rate: PerModule, modules: int) -> tuple[float, ...]:
    values = rate if isinstance(rate, tuple) else (rate,) * modules
    if len(values) != modules:
        raise ValueError(f"the rate lists {len(values)} numbers, but {modules} modules are replaced")
    return values


class Linear(RateSchedule):
    """Rises from `base` to 1; give exactly one of `slope`, `full_after` and `full_at` (default: half of the run)."""

    base: PerModule = 0.3
    """rate at the first step; the paper searches 0.1 and 0.3"""
    slope: float | None = Field(None, ge=0, allow_inf_nan=False)
    """growth per step (the original's scheduler_linear_k)"""
    full_after: int | None = Field(None, ge=1)
    """number of steps until the rate is 1; the paper searches 1000, 5000, 10000 and 30000"""
    full_at: float | None = Field(None, gt=0, le=1)
    """share of the run until the rate is 1"""
    reverse: bool = False
    """use one minus the ramp: the paper's anti-curriculum, for ablations"""

    @model_validator(mode="after")
    def _exactly_one(self) -> Linear:
        given = [name for name in ("slope", "full_after", "full_at") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give exactly one of slope, full_after and full_at, not {' and '.join(given)}")
        if not given:
            object.__setattr__(self, "full_at", 0.5)
        if self.slope == 0:
            raise ValueError("slope 0 never reaches rate 1; use a constant rate with its switch")
        return self

    def at(self, step: int, total_steps: int, modules: int) -> tuple[float, ...]:
        def ramp(base: float) -> float:
            until = self.full_after if self.full_after is not None else (self.full_at or 0) * total_steps
            slope = self.slope if self.slope is not None else schedules.slope_until_full(base, until)
            rate = schedules.linear(step, base, slope)
            return 1.0 - rate if self.reverse else rate

        return tuple(ramp(base) for base in _spread(self.base, modules))


class Constant(RateSchedule):
    """Stays at `rate` until the switch, then 1; give one of `switch_after`, `switch_at` (default: half of the run)."""

    rate: PerModule = 0.5
    """the paper searches 0.5, 0.7 and 0.9"""
    switch_after: int | Literal["never"] | None = None
    """number of steps at the constant rate (the original's steps_for_replacing); 0: successor only from the start"""
    switch_at: float | None = Field(None, ge=0, le=1)
    """share of the run at the constant rate"""

    @model_validator(mode="after")
    def _exactly_one(self) -> Constant:
        if self.switch_after is not None and self.switch_at is not None:
            raise ValueError("give exactly one of switch_after and switch_at, not both")
        if isinstance(self.switch_after, int) and self.switch_after < 0:
            raise ValueError("switch_after must be 0 or more steps, or 'never'")
        if self.switch_after is None and self.switch_at is None:
            object.__setattr__(self, "switch_at", 0.5)
        return self

    def switch(self, total_steps: int) -> float:
        """The first step with rate 1."""
        if self.switch_after == "never":
            return math.inf
        return self.switch_after if self.switch_after is not None else (self.switch_at or 0) * total_steps

    def at(self, step: int, total_steps: int, modules: int) -> tuple[float, ...]:
        switch = self.switch(total_steps)
        return tuple(schedules.constant(step, rate, switch) for rate in _spread(self.rate, modules))


def _identity(function: Any) -> str:
    """Name of a function and a short hash of what it does, so that another schedule is another recipe."""
    code = function.__code__
    content = repr((code.co_code, [item for item in code.co_consts if not isinstance(item, CodeType)], code.co_names))
    return f"{function.__module__}.{function.__qualname__} {hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _plain_function(function: Any) -> Any:
    if not isinstance(function, FunctionType):
        raise ValueError("expected a function made by def or lambda, so that a changed one can be told apart")
    return function


class Custom(RateSchedule):
    """Any Python function ``(step, total_steps) -> rate`` or one rate per module; a recipe file cannot hold it."""

    function: Annotated[
        Callable[[int, int], Any], AfterValidator(_plain_function), PlainSerializer(_identity, return_type=str)
    ]
    """values above 1 count as 1; a value below 0 or NaN stops the run, naming the step"""

    def at(self, step: int, total_steps: int, modules: int) -> tuple[float, ...]:
        value = self.function(step, total_steps)
        rates = _spread(tuple(value) if isinstance(value, tuple | list) else float(value), modules)
        if any(not rate >= 0 for rate in rates):
            raise ValueError(f"the replace rate at step {step} is {value}; expected numbers between 0 and 1")
        return tuple(min(1.0, rate) for rate in rates)


RATES: dict[str, type[Config]] = {"linear": Linear, "constant": Constant, "custom": Custom}
_PARSE, _DUMP = choice(RATES)
Rate = Annotated[Linear | Constant | Custom, _PARSE, _DUMP]
