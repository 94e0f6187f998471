"""From a budget to recipes: which could meet it, by what they would cost, told before anything is trained.

`candidates` lists recipes, `foreseeing` says what their results would cost, `timing` measures what that needs, and
`advice` puts them in order. Nobody knows a score before training: recipes are ordered by how much of the model they
keep, and the recipe that is written carries the budget along, so that `compress` measures what came of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bertpress.methods.method import Method
from bertpress.methods.theseus import Theseus
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.trbert import TrBert
from bertpress.methods.vocabulary import Vocabulary
from bertpress.methods.yoco import Yoco

DEPTHS = (3 / 4, 2 / 3, 1 / 2, 1 / 3)
WIDTHS = (0.75, 0.5, 0.33)
TOKENS = (0.75, 0.5, 0.35)
DEPTH_METHODS: dict[str, Callable[[int], Method]] = {
    "tinybert": lambda layers: TinyBert(layers=layers),
    "theseus": lambda layers: Theseus(successor_layers=layers),
}
"""Methods that make an encoder shallower, the one that is preferred at the same depth first."""


@dataclass(frozen=True)
class Candidate:
    """A recipe, and what of the start model its result keeps."""

    steps: tuple[Method, ...]
    layers: int
    """of the result"""
    width: float
    """share of the parameters of each layer"""
    tokens: float
    """share of the layers' multiply-adds that goes on when tokens are skipped"""
    int8: bool = False
    """the result is exported to int8"""

    @property
    def name(self) -> str:
        """What is done, in the order in which it is done, with what it leaves."""
        left = {"yoco": f" {100 * self.width:.0f} %", "trbert": f" {100 * self.tokens:.0f} %", "vocabulary": ""}
        names = [step.name + left.get(step.name, f" {self.layers} layers") for step in self.steps]
        return ", ".join([*names, *["int8"] * self.int8])

    @property
    def has_fewer_tokens(self) -> bool:
        """True if the vocabulary is cut to the task's."""
        return any(isinstance(step, Vocabulary) for step in self.steps)

    @property
    def shape(self) -> tuple[int, float, float, bool, bool]:
        """What the result's costs depend on."""
        return self.layers, self.width, self.tokens, self.has_fewer_tokens, self.int8


def candidates(depth: int, vocabulary: bool = False, int8: bool = False) -> list[Candidate]:
    """All recipes that are looked at: less depth, then less width, then fewer tokens, each or not.

    Args:
        depth: layers of the start model.
        vocabulary: also end with the task's vocabulary.
        int8: also export to int8.
    """
    fewer = sorted({max(1, math.ceil(share * depth)) for share in DEPTHS} - {depth}, reverse=True)
    depths: list[tuple[tuple[Method, ...], int]] = [((), depth)]
    depths += [((make(layers),), layers) for layers in fewer for make in DEPTH_METHODS.values()]
    widths: list[tuple[tuple[Method, ...], float]] = [((), 1.0)]
    widths += [((Yoco(parameters=share),), share) for share in WIDTHS]
    tokens: list[tuple[tuple[Method, ...], float]] = [((), 1.0)]
    tokens += [((TrBert(macs=share),), share) for share in TOKENS]
    lasts: list[tuple[Method, ...]] = [(), *[(Vocabulary(),)] * vocabulary]
    exports = (False, True) if int8 else (False,)
    return [
        Candidate((*first, *second, *third, *last), layers, width, kept, exported)
        for (first, layers), (second, width), (third, kept), last, exported in itertools.product(
            depths, widths, tokens, lasts, exports
        )
        if first or second or third or last
    ]


def fitting(
    found: Sequence[Candidate], refusal: Callable[[tuple[Method, ...]], str | None]
) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates that this model and task take, and for methods that they do not take, why not.

    Args:
        refusal: why steps cannot be carried out, None if they can or if there are none.
    """
    reasons: dict[str, str] = {}
    known: dict[str, str | None] = {}  # by the steps, written out

    def refused(*steps: Method) -> str | None:
        if repr(steps) not in known:
            known[repr(steps)] = refusal(steps)
        return known[repr(steps)]

    def fits(candidate: Candidate) -> bool:
        for step in candidate.steps:
            if (reason := refused(step)) is not None:
                reasons.setdefault(step.name, reason)
                return False
        # A cut vocabulary comes last and asks nothing of what came before.
        return refused(*(step for step in candidate.steps if not step.changes_tokens)) is None

    fit = list(filter(fits, found))
    left = {step.name for candidate in fit for step in candidate.steps}
    return fit, {name: reason for name, reason in reasons.items() if name not in left}
