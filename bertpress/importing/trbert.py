"""TR-BERT: a BERT or DistilBERT with a small network before two of its layers that decides which tokens go on.

The networks are ``linear_1.T`` and ``linear_2.T`` beside the list of layers, for decision number T, before layer 1 and
before the middle one. A token went on if their sigmoid was at least 0.5, and the first one always: what a compact model
does by default. At a batch above 1 the original filled rows up with rejected tokens; what is imported does what it
did at batch 1.

Modules of heads are called as here, but for the candidates' ``qa_outputs`` of 1 row, a token classifier here. Those of
two kinds look at other tokens than there; `HEADS` says which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertpress.engine.run import save_model
from bertpress.errors import RequestError
from bertpress.importing.configs import read_config
from bertpress.importing.reading import (
    Request,
    State,
    card_of,
    fill,
    find_tokenizer,
    name_labels,
    outputs_of,
    read_weights,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ENCODERS = {"bert": ("bert", "encoder"), "distilbert": ("distilbert", "transformer")}
"""Architecture to the names of its encoder in a model with a head, and of the walk over its layers."""
THRESHOLD = 0.5


@dataclass(frozen=True)
class Head:
    """What the original's head for a kind of task becomes."""

    ending: str
    """of the name of its class"""
    gives: str | None = None
    """in words; None where labels tell"""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """a module there to its name here"""
    reduction: Mapping[str, Any] = field(default_factory=dict)
    """further settings of the token reduction"""
    difference: str | None = None
    """from the original"""


HEADS = {
    "classification": Head("ForSequenceClassification"),
    "qa": Head("ForQuestionAnswering", "spans of texts"),
    "choice": Head(
        "ForMultipleChoice",
        "options of a question, which skip the same tokens",
        reduction={"shared": True},
        difference="tokens are skipped of what the inputs of a question have in common from the first token on; there, "
        "of the text and the question, so words that all options begin with count as the question's here",
    ),
    "multihop": Head(
        "ForMultiHop",
        "answers from several paragraphs",
        difference="the kind of the answer is told from tokens only; there, padding counted as zeros",
    ),
    "candidates": Head("ForTokenClassification", "candidates", renamed={"qa_outputs": "classifier"}),
}
"""Kind of task to its head."""


def import_trbert(request: Request) -> list[str]:
    """The model that skips tokens, as a compact one with the same decisions.

    Raises:
        RequestError: a checkpoint of something else, or labels for a head without.
    """
    state = read_weights(request.weights)
    architecture, kind = architecture_in(state), kind_in(state)
    config = read_config(request.folder / "config.json", architecture)
    tokenizer = find_tokenizer(request, config)
    head = HEADS[kind]
    if head.gives is None:
        name_labels(config, outputs_of(state, "classifier"), request.head_labels)
    elif request.head_labels is not None:
        raise RequestError(f"--head-labels names the outputs of a classifier, but this head gives {head.gives}.")
    configure(config, kind, tokenizer)
    tensors = renamed(state, architecture, head)
    model, layers = _model(config, architecture, head, tensors)
    remarks = _remarks(config, state, head, tensors, model, layers)
    save_model(model, tokenizer, request.out, card_of("A model that skips tokens, of TR-BERT", remarks))
    return remarks


def architecture_in(state: State) -> str:
    """Whose weights they are.

    Raises:
        RequestError: neither of `ENCODERS`, or no decisions.
    """
    for architecture, (encoder, walk) in ENCODERS.items():
        if any(name.startswith(f"{encoder}.{walk}.layer.") for name in state):
            if f"{encoder}.{walk}.linear_1.0.weight" in state:
                return architecture
            raise RequestError(
                f"The checkpoint decides about no tokens (no {encoder}.{walk}.linear_1.0.weight): it is an ordinary "
                "model, whose folder needs no import."
            )
    raise RequestError(
        "The checkpoint is not from TR-BERT: expected names such as bert.encoder.layer.0 or distilbert.transformer."
        f"layer.0, found {', '.join(list(state)[:3])}."
    )


def kind_in(state: State) -> str:
    """Which of `HEADS` a checkpoint has, by its modules and their rows.

    Raises:
        RequestError: none.
    """
    rows = {name: outputs_of(state, name) for name in ("classifier", "qa_outputs") if f"{name}.weight" in state}
    if not rows:
        raise RequestError("The checkpoint has no trained head (no classifier and no qa_outputs).")
    if "classifier" in rows:
        return "choice" if rows["classifier"] == 1 else "classification"
    if rows["qa_outputs"] == 1:
        return "candidates"
    return "multihop" if "qa_classifier.weight" in state else "qa"


def configure(config: PretrainedConfig, kind: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Name the outputs, and note how inputs are made, as the task here does, so that it takes the model at once.

    The defaults of these tasks are the settings of the original's programs.
    """
    from bertpress.tasks.candidates.task import Candidates
    from bertpress.tasks.choices.task import MultipleChoice
    from bertpress.tasks.data import TextData
    from bertpress.tasks.hops.task import MultiHop

    tasks = {"choice": MultipleChoice, "multihop": MultiHop, "candidates": Candidates}
    if kind in tasks:
        tasks[kind](TextData(kind, {}, (), None, (), ""), tokenizer, config.max_position_embeddings).configure(config)


def renamed(state: State, architecture: str, head: Head) -> State:
    """The tensors under the names of a compact model, all decisions included."""
    encoder, walk = ENCODERS[architecture]
    old = re.compile(rf"{encoder}\.{walk}\.linear_([12])\.(\d+)\.")
    layer = {"1": "inner", "2": "outer"}

    def name_of(name: str) -> str:
        module, dot, rest = name.partition(".")
        module = head.renamed.get(module, module)
        return old.sub(lambda found: f"{encoder}.policies.{found[2]}.{layer[found[1]]}.", f"{module}{dot}{rest}")

    return {name_of(name): value for name, value in state.items() if not name.endswith("position_ids")}


def _model(
    config: PretrainedConfig, architecture: str, head: Head, tensors: State
) -> tuple[PreTrainedModel, list[int]]:
    """The compact model, and the layers before which it decides."""
    from bertpress.encoders.compact import compact_config
    from bertpress.models import COMPACT, module_of
    from bertpress.models.token_selection import default_layers

    prefix = ENCODERS[architecture][0]
    layers = default_layers(config.num_hidden_layers)
    width = len(tensors[f"{prefix}.policies.0.inner.bias"])
    thresholds = [THRESHOLD] * len(layers)
    reduction = {"layers": layers, "policy_hidden": width, "thresholds": thresholds, **head.reduction}
    cls = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}{head.ending}")
    model: PreTrainedModel = cls(compact_config(config, token_reduction=reduction))
    known = model.state_dict()
    fill(model, {name: value for name, value in tensors.items() if name in known or not _is_spare(name, prefix)})
    return model.eval(), layers


def _is_spare(name: str, prefix: str) -> bool:
    """A decision that is never made, or a pooler that the head does not read."""
    return name.startswith((f"{prefix}.policies.", f"{prefix}.pooler."))


def _remarks(
    config: PretrainedConfig, state: State, head: Head, tensors: State, model: PreTrainedModel, layers: list[int]
) -> list[str]:
    places = " and ".join(str(layer) for layer in layers)
    remarks = [
        f"{config.num_hidden_layers} layers that skip tokens before layer {places} (threshold {THRESHOLD}), and a head "
        f"for {head.gives or ', '.join(config.id2label.values())}"
    ]
    if head.difference:
        remarks.append(head.difference)
    left = sorted(set(tensors) - set(model.state_dict()))
    if left:
        remarks.append(f"left out, as nothing reads them: {', '.join(left)}")
    if dropped := len(state) - len(tensors):
        remarks.append(f"left out: {dropped} index of positions that old versions saved")
    return remarks
