"""TinyBERT: students of the published program (and of its Chinese fork, whose files have the same layout).

A checkpoint is a BERT under old names, with parts beside it that only training needs, and some that were never trained:

- ``fit_dense`` (one) or ``fit_denses.N`` (one for each hidden state): projections to the teacher's width. They go into
  projections.safetensors, where a distillation that starts from the folder finds them.
- ``cls``: heads for masked words and next sentences. General distillation trains neither.
- ``classifier``: in every checkpoint of the task distillation. Step 1 does not train it; step 2 does, behind a ReLU on
  the pooler's tanh. A stock head has no such ReLU, and no weights make up for it, so that its logits would not be the
  original's wherever the pooler gives negative values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bertpress.engine.run import save_model
from bertpress.errors import RequestError
from bertpress.files import new_folder
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
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

PARTS = {
    "encoder": r"bert\.(.+)",
    "classifier": r"(classifier\..+)",
    "pretraining": r"cls\.(.+)",
    "shared": r"fit_dense\.(\w+)",
    "per_layer": r"fit_denses\.(\d+\.\w+)",
}
"""Part of a checkpoint to its names there; the group is what is left of them."""


def import_tinybert(request: Request) -> list[str]:
    """The student's encoder and its projections; with `keep_head` its classifier too, where that was trained.

    Raises:
        RequestError: a checkpoint of something else, or a head that was asked for and is not there.
    """
    config, parts = read_config(request.folder / "config.json"), divided(read_weights(request.weights))
    tokenizer = find_tokenizer(request, config)
    trained = is_trained(parts["classifier"])
    if request.keep_head and not trained:
        raise RequestError(
            "The checkpoint has no trained classifier (after step 1 its bias is exactly 0); leave out --keep-head."
        )
    if request.head_labels is not None and not request.keep_head:
        raise RequestError("--head-labels names the outputs of a head, which is left out; add --keep-head.")
    model = _model(config, parts, request)
    projections = projections_of(parts)
    remarks = [*_head_remarks(parts, trained, request), *_projection_remarks(projections, config, request)]
    _save(model, tokenizer, projections, remarks, request)
    return [f"{config.num_hidden_layers} layers of width {config.hidden_size}", *remarks]


def divided(state: State) -> dict[str, dict[str, Tensor]]:
    """The tensors of each of `PARTS`, under the names of transformers and of our projections.

    Raises:
        RequestError: no encoder, or a name that belongs nowhere.
    """
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for name, value in state.items():
        stock = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name))
        for part, pattern in PARTS.items():
            if match := re.fullmatch(pattern, stock):
                parts[part][match[1]] = value
                break
        else:
            raise RequestError(f"The checkpoint is not from TinyBERT: there is no place for its {name}.")
    if not parts["encoder"]:
        raise RequestError("The checkpoint is not from TinyBERT: it has no encoder (names that begin with bert).")
    return parts


def is_trained(linear: State) -> bool:
    """True if a bias among these tensors has left 0, where it starts and where only training can take it from."""
    return any(bool(value.any()) for name, value in linear.items() if name.endswith("bias"))


def projections_of(parts: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The trained projections under our names; empty where there are none."""
    found = parts["per_layer"] or {f"all.{name}": value for name, value in parts["shared"].items()}
    return {name: value.contiguous() for name, value in found.items()} if is_trained(found) else {}


def _model(config: PretrainedConfig, parts: dict[str, dict[str, Tensor]], request: Request) -> PreTrainedModel:
    from transformers import AutoModel, AutoModelForSequenceClassification

    if not request.keep_head:
        model: PreTrainedModel = AutoModel.from_config(config)
        fill(model, parts["encoder"])
        return model
    name_labels(config, outputs_of(parts["classifier"], "classifier"), request.head_labels)
    model = AutoModelForSequenceClassification.from_config(config)
    fill(model, {**{f"bert.{name}": value for name, value in parts["encoder"].items()}, **parts["classifier"]})
    return model


def _head_remarks(parts: dict[str, dict[str, Tensor]], trained: bool, request: Request) -> list[str]:
    remarks = []
    if parts["pretraining"]:
        remarks.append("heads for masked words and next sentences left out: general distillation never trained them")
    if parts["classifier"] and not trained:
        remarks.append("classifier left out: step 1 never trained it")
    if trained and not request.keep_head:
        remarks.append(
            "classifier left out: it was trained behind a ReLU that no stock head has (--keep-head takes it as it is); "
            f"train a new one: bertpress finetune --model {request.out} --task NAME --out FOLDER --set train=head"
        )
    if request.keep_head:
        remarks.append(
            "warning: the classifier was trained behind a ReLU that a stock head does not have, so the logits are not "
            "the original's; score the model before you rely on it (bertpress evaluate)"
        )
    return remarks


def _projection_remarks(projections: State, config: PretrainedConfig, request: Request) -> list[str]:
    """How `bertpress tinybert` takes the projections up; by default it has one per hidden state of unequal width."""
    if not projections:
        return []
    shared = "all.weight" in projections
    width = next(value.shape[0] for name, value in projections.items() if name.endswith("weight"))
    setting = "shared" if shared else "per_layer" if width == config.hidden_size else None
    return [
        f"{'one projection' if shared else 'a projection for each hidden state'} to width {width} in "
        f"projections.safetensors, taken up by bertpress tinybert --set student={request.out}"
        + (f" --set projection={setting}" if setting else "")
    ]


def _save(model: PreTrainedModel, tokenizer: Any, projections: State, remarks: list[str], request: Request) -> None:
    from safetensors.torch import save_file

    from bertpress.methods.tinybert.steps import PROJECTIONS

    with new_folder(request.out) as folder:  # the model and its projections in one step
        save_model(model, tokenizer, folder, card_of("A student of TinyBERT", remarks))
        if projections:
            save_file(dict(projections), folder / PROJECTIONS)
