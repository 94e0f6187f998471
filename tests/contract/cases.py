"""One entry per method; every contract test runs on each of them, most with every architecture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from contract.support import cells, refusal
from families import FAMILIES
from token_tasks import HEADS, label_fields

from bertpress.methods.yoco.drawing import Drawn
from bertpress.methods.yoco.space import LayerShape, SubNetwork
from bertpress.models import COMPACT

# 96 training rows in batches of 16: 6 steps an epoch, 18 steps, a checkpoint every second step.
TRAINING = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1}

SHAPES = ((1, 8), (2, 8), (1, 16), (2, 16), (1, 24), (2, 24))
YOCO_DRAWS = tuple(
    tuple(LayerShape(layer, *SHAPES[option]) for layer, option in enumerate(options))
    for options in ((0, 1, 2, 3), (5, 4, 3, 2))
)


@dataclass(frozen=True)
class Case:
    """A method's settings on the tiny model."""

    name: str
    fields: dict[str, Any]
    layers: int
    """depth of the result"""
    training: str
    """name of the field that holds the first phase's training; empty where nothing is trained"""
    stops: tuple[tuple[str, int], ...]
    """(phase, step) at which a run is broken off, all in the second epoch or later"""
    imposed: Any = None
    """the draw for the test that compares batch sizes"""
    one_step: dict[str, Any] = field(default_factory=dict)
    """further fields for a run of one step"""
    family: str = "bert"
    """architecture of the tiny model"""
    kind: str = "classification"
    """of the task"""
    families: tuple[str, ...] = tuple(FAMILIES)
    """architectures that the method takes"""
    bounded: bool = False
    """the plan is the most that the result can be; a search decides what it is"""

    @property
    def id(self) -> str:
        """Method, architecture and kind of task."""
        return f"{self.name}-{self.family}-{self.kind}"

    @property
    def head(self) -> str | None:
        """What the tiny model has on its layers."""
        head: str | None = HEADS[self.kind]
        return head

    @property
    def outputs(self) -> dict[str, Any]:
        """Fields of the tiny model's configuration that name its head's outputs."""
        return label_fields(self.kind)

    @property
    def step(self) -> dict[str, Any]:
        """The step as a recipe writes it."""
        return {self.name: self.fields}


CASES = (
    Case(
        name="finetune",
        fields={"layers": 3, "training": TRAINING},
        layers=3,
        training="training",
        stops=(("training", 9),),
    ),
    Case(
        name="theseus",
        fields={
            "successor_layers": 2,
            "rate": {"linear": {"base": 0.4, "full_at": 0.7}},
            "replacing": TRAINING,
            "finetuning": {**TRAINING, "epochs": 2},
        },
        layers=2,
        training="replacing",
        stops=(("replacing", 9), ("finetuning", 8)),
        imposed=(True, False),
        one_step={"finetuning": None},
    ),
    Case(
        name="tinybert",
        fields={"layers": 2, "intermediate": TRAINING, "prediction": {**TRAINING, "epochs": 2}, "teacher_check": False},
        layers=2,
        training="intermediate",
        stops=(("intermediate", 9), ("prediction", 8)),
        one_step={"prediction": None, "teacher": "input", "signals": "none"},
    ),
    Case(
        name="trbert",
        fields={
            "macs": 0.6,
            "rollouts": 4,
            "init": {**TRAINING, "epochs": 2},
            "policy": TRAINING,
            "joint": {**TRAINING, "epochs": 2},
        },
        layers=4,
        training="policy",
        stops=(("init", 8), ("policy", 9), ("joint", 8)),
        one_step={"init": None, "joint": None},  # draws are of each row, so they need not be imposed
        families=tuple(COMPACT),
    ),
    Case(
        name="yoco",
        fields={
            "parameters": "70%",
            "space": {"depth": [4], "heads": [1, 2], "widths": [8, 16, 24]},
            "supernet": TRAINING,
            "search": {"rounds": 2, "candidates": 4, "rungs": [8]},
            "export": {**TRAINING, "epochs": 2},
        },
        layers=4,
        training="supernet",
        stops=(("supernet", 9), ("search", 1), ("export", 7)),
        imposed=Drawn(((0, 0, 1, 2, 3), (0, 5, 4, 3, 2)), tuple(map(SubNetwork, YOCO_DRAWS))),
        one_step={"export": None, "teacher": "input"},
        families=tuple(COMPACT),
        bounded=True,
    ),
    Case(name="vocabulary", fields={"tokens": 75}, layers=4, training="", stops=()),  # of 81, 57 of which have to stay
)


def shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings with two steps of every training, and one round of a search."""
    few = {"epochs": {"max_steps": 2}, "rounds": {"rounds": 1}}
    result = {}
    for name, value in fields.items():
        result |= few.get(name, {name: shortened(value) if isinstance(value, dict) else value})
    return result


WHOLE = {
    **dict.fromkeys(("masked-lm", "tagging", "qa"), tuple(case.name for case in CASES)),
    "multihop": ("theseus", "trbert"),  # a class of ours
    "mrc": ("theseus",),  # a question for each type of entity
    "candidates": ("trbert",),  # scores at markers, several inputs of a record
    "choice": ("trbert", "yoco"),  # decisions that options share; rungs of whole questions
    "embedding": ("theseus", "tinybert", "vocabulary"),  # no head; vectors as answers
}
"""Kinds of tasks to the methods that have the whole contract with them, on BERT."""
PAIRS = (
    *(replace(case, family=family) for case in CASES for family in case.families),
    *(replace(case, kind=kind) for case in CASES for kind, methods in WHOLE.items() if case.name in methods),
)
_WHOLE = {case.id for case in PAIRS}
_CELLS = (
    replace(case, family=architecture, kind=kind, fields=shortened(case.fields))
    for case in CASES
    for method, kind, architecture in cells()
    if method == case.name and refusal(method, kind, architecture) is None
)
SUPPORT = tuple(case for case in _CELLS if case.id not in _WHOLE)
"""What is promised without the whole contract, and so is carried out once."""
