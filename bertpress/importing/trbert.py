"""TR-BERT: a BERT or DistilBERT with a small network before two of its layers that decides which tokens go on.

The networks are ``linear_1.T`` and ``linear_2.T`` beside the list of layers, for decision number T, before layer 1 and
before the middle one. A token went on if their sigmoid was at least 0.5, and the first one always: what a compact model
does by default. At a batch above 1 the original filled rows up with rejected tokens; what is imported does what it
did at batch 1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bertpress.errors import RequestError
from bertpress.importing.configs import read_config
from bertpress.importing.reading import Request, State, fill, find_tokenizer, name_labels, read_weights
from bertpress.run import save_model

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

ENCODERS = {"bert": ("bert", "encoder"), "distilbert": ("distilbert", "transformer")}
"""Architecture to the names of its encoder in a model with a head, and of the walk over its layers."""
HEADS = {"classifier": "ForSequenceClassification", "qa_outputs": "ForQuestionAnswering"}
"""Module to the end of the name of its class."""
THRESHOLD = 0.5


def import_trbert(request: Request) -> list[str]:
    """The model that skips tokens, as a compact one with the same decisions.

    Raises:
        RequestError: a checkpoint of something else, or of a head that there is no stock one for.
    """
    state = read_weights(request.weights)
    architecture, head = architecture_in(state), head_in(state)
    config = read_config(request.folder / "config.json", architecture)
    tokenizer = find_tokenizer(request, config)
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    if head == "classifier":
        name_labels(config, len(state["classifier.bias"]), request.head_labels)
    elif request.head_labels is not None:
        raise RequestError("--head-labels names the outputs of a classifier, but this head gives spans of texts.")
    tensors = with_policies(state, architecture)
    model, layers = _model(config, architecture, head, tensors)
    remarks = _remarks(config, state, tensors, model, layers)
    card = "# A model that skips tokens, of TR-BERT\n\nTaken from a checkpoint of the original program.\n\n"
    save_model(model, tokenizer, request.out, card + "".join(f"- {remark}\n" for remark in remarks))
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


def head_in(state: State) -> str:
    """Which of `HEADS` a checkpoint has.

    Raises:
        RequestError: another one.
    """
    rows = {name: len(state[f"{name}.weight"]) for name in HEADS if f"{name}.weight" in state}
    others = {
        "HotpotQA": "qa_classifier.weight" in state,
        "WikiHop": rows.get("qa_outputs") == 1,
        "multiple choice": rows.get("classifier") == 1,
    }
    if task := next((task for task, found in others.items() if found), None):
        raise RequestError(f"The checkpoint has a head for {task}, which is not imported; train one of your own.")
    if not rows:
        raise RequestError("The checkpoint has no trained head (no classifier and no qa_outputs).")
    return next(iter(rows))


def with_policies(state: State, architecture: str) -> State:
    """The tensors under the names of a compact model, all decisions included."""
    encoder, walk = ENCODERS[architecture]
    old = re.compile(rf"{encoder}\.{walk}\.linear_([12])\.(\d+)\.")
    layer = {"1": "inner", "2": "outer"}
    return {
        old.sub(lambda found: f"{encoder}.policies.{found[2]}.{layer[found[1]]}.", name): value
        for name, value in state.items()
        if not name.endswith("position_ids")
    }


def _model(config: PretrainedConfig, architecture: str, head: str, tensors: State) -> tuple[PreTrainedModel, list[int]]:
    """The compact model, and the layers before which it decides."""
    from bertpress.encoders.compact import compact_config
    from bertpress.models import COMPACT, module_of
    from bertpress.models.token_selection import default_layers

    prefix = ENCODERS[architecture][0]
    layers = default_layers(config.num_hidden_layers)
    width = len(tensors[f"{prefix}.policies.0.inner.bias"])
    thresholds = [THRESHOLD] * len(layers)
    reduction = {"layers": layers, "policy_hidden": width, "thresholds": thresholds}
    cls = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}{HEADS[head]}")
    model: PreTrainedModel = cls(compact_config(config, token_reduction=reduction))
    known = model.state_dict()
    fill(model, {name: value for name, value in tensors.items() if name in known or not _is_spare(name, prefix)})
    return model.eval(), layers


def _is_spare(name: str, prefix: str) -> bool:
    """A decision that is never made, or a pooler that the head does not read."""
    return name.startswith((f"{prefix}.policies.", f"{prefix}.pooler."))


def _remarks(
    config: PretrainedConfig, state: State, tensors: State, model: PreTrainedModel, layers: list[int]
) -> list[str]:
    what = "spans of texts"
    if "classifier.weight" in state:
        what = ", ".join(config.id2label.values())
    places = " and ".join(str(layer) for layer in layers)
    remarks = [
        f"{config.num_hidden_layers} layers that skip tokens before layer {places} (threshold {THRESHOLD}), and a head "
        f"for {what}"
    ]
    left = sorted(set(tensors) - set(model.state_dict()))
    if left:
        remarks.append(f"left out, as nothing reads them: {', '.join(left)}")
    if dropped := len(state) - len(tensors):
        remarks.append(f"left out: {dropped} index of positions that old versions saved")
    return remarks
