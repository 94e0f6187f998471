"""Checkpoints of TensorFlow 1: Google's BERT, what its programs fine-tune, and Theseus.

Variables keep their names with dots for slashes, but for these:

- ``kernel`` is a matrix of (inputs, outputs), which PyTorch stores the other way round; ``output_weights`` is not.
- ``gamma`` and ``beta`` are a norm's weight and bias; a table of embeddings has no further name.
- ``suc_layer_N`` is Theseus' successor. Where there is one, the model is that, and ``layer_N`` beside it is dropped.
- What optimizers keep of each variable, and ``global_step``, are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.engine.run import save_model
from bertpress.errors import RequestError
from bertpress.importing.configs import read_config
from bertpress.importing.reading import Request, card_of, fill, find_tokenizer, name_labels
from bertpress.importing.tensorflow_files import Variables, find_config, read_variables

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedModel

RENAMED = (
    (r"/layer_(\d+)/", r"/layer/\1/"),
    (r"/(gamma|kernel|output_weights)$", "/weight"),
    (r"/(beta|output_bias)$", "/bias"),
    (r"_embeddings$", "_embeddings/weight"),
)
"""Pattern to what stands for it, before slashes become dots."""
WORDS = "bert/embeddings/word_embeddings"
OTHERS = {
    "_CHECKPOINTABLE_OBJECT_GRAPH": "it holds objects of TensorFlow 2, named by their attributes; save variables of a "
    "graph with tf.compat.v1.train.Saver",
    "electra/embeddings/word_embeddings": "it is an ELECTRA's, which comes without sizes; take the same model from the "
    "Hub (google/electra-small-discriminator and its sisters)",
}
"""A variable of checkpoints that are not read, and why not."""


@dataclass(frozen=True)
class Head:
    """A head that a checkpoint may hold."""

    model: str
    """class of transformers"""
    what: str
    """in a remark"""
    needs: tuple[str, ...]
    """variables by which it is known"""
    tensors: Callable[[Variables], Variables]
    """its own under the names of that class"""
    outputs: int | None = None
    """size of the last axis of the first of `needs`, where it is known by that too"""
    takes: str = "bert/"
    """what further variables that belong to it begin with; the encoder's do in any case"""

    def is_in(self, found: Variables) -> bool:
        """Whether a checkpoint holds it."""
        there = all(name in found for name in self.needs)
        return there and (self.outputs is None or self.outputs == found[self.needs[0]].shape[-1])


def _linear(weight: str, bias: str, module: str) -> Callable[[Variables], Variables]:
    return lambda found: {f"{module}.weight": found[weight], f"{module}.bias": found[bias]}


def _decisions(found: Variables) -> Variables:
    """Each softmax over no and yes as one logit: yes minus no, whose sigmoid is the same probability."""
    import numpy as np

    return {
        f"classifier.{name}": np.stack([found[f"{layer}/{part}"] @ (-1, 1) for layer in ("dense", "dense_1")])
        for name, part in (("weight", "kernel"), ("bias", "bias"))
    }


def _pretraining(part: str) -> Callable[[Variables], Variables]:
    """Heads of pre-training; the table of outputs is that of words."""
    decoder = _linear(WORDS, "cls/predictions/output_bias", "cls.predictions.decoder")
    return lambda found: {**stock(found, part), **decoder(found)}


HEADS = (
    Head(
        "BertForSequenceClassification",
        "a classifier",
        ("output_weights", "output_bias"),
        _linear("output_weights", "output_bias", "classifier"),
    ),
    Head(
        "BertForQuestionAnswering",
        "a head for spans that answer questions",
        ("cls/squad/output_weights", "cls/squad/output_bias"),
        _linear("cls/squad/output_weights", "cls/squad/output_bias", "qa_outputs"),
    ),
    Head(
        "BertForTokenClassification",
        "a head for starts and ends of entities (kind mrc)",
        ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"),
        _decisions,
        outputs=2,
    ),
    Head(
        "BertForPreTraining",
        "heads for masked words and for next sentences",
        ("cls/predictions/output_bias", "cls/seq_relationship/output_weights", "bert/pooler/dense/kernel"),
        _pretraining("cls/"),
        takes="cls/",
    ),
    Head(
        "BertForMaskedLM",
        "a head for masked words",
        ("cls/predictions/output_bias",),
        _pretraining("cls/predictions/"),
        takes="cls/predictions/",
    ),
    Head("BertModel", "no head", (), lambda found: {}),
)
"""The first that a checkpoint holds is taken."""


def import_tensorflow(request: Request) -> list[str]:
    """The model in a checkpoint with its head; of Theseus the successor.

    Raises:
        RequestError: a checkpoint of something else, or one that does not fit its bert_config.json.
    """
    config, found = read_config(find_config(request)), read_variables(request.weights)
    check_names(found, request.weights)
    tokenizer = find_tokenizer(request, config)
    config, found, remarks = successor_alone(config, found)
    head = next(head for head in HEADS if head.is_in(found))
    model = _model(config, found, head, request)
    layers = f"{config.num_hidden_layers} {'successor ' if remarks else ''}layers of width {config.hidden_size}"
    remarks = [f"{layers}, {head.what}", *remarks, *_head_remarks(head, model), *_left_out(found, head, model)]
    save_model(model, tokenizer, request.out, card_of("A model from TensorFlow", remarks))
    return remarks


def check_names(found: Variables, prefix: Path) -> None:
    """Refuse a checkpoint of something else than BERT.

    Raises:
        RequestError: says what was found instead.
    """
    for name, why in OTHERS.items():
        if name in found:
            raise RequestError(f"{prefix} is not read: {why}.")
    if WORDS not in found:
        there = ", ".join(sorted(found)[:3]) or "nothing"
        raise RequestError(
            f"{prefix} is not a BERT: expected a variable {WORDS}, found {there} ({len(found)} in all): give one."
        )


def stock_name(name: str) -> str:
    """What transformers calls a variable of BERT: ``bert/encoder/layer_0/output/LayerNorm/gamma`` and so on."""
    for pattern, stands in RENAMED:
        name = re.sub(pattern, stands, name)
    return name.replace("/", ".")


def stock(found: Variables, prefix: str) -> dict[str, np.ndarray]:
    """The variables that begin so, under the names and in the layout of transformers."""
    return {
        stock_name(name): value.T if name.endswith("/kernel") else value
        for name, value in found.items()
        if name.startswith(prefix)
    }


def successor_alone(config: PretrainedConfig, found: Variables) -> tuple[PretrainedConfig, Variables, list[str]]:
    """Theseus' successor as layers of its own, without the predecessor, and a remark; another model as it is."""
    from bertpress.encoders.surgery import with_layers

    depth = len({number[1] for name in found if (number := re.match(r"bert/encoder/suc_layer_(\d+)/", name))})
    if not depth:
        return config, found, []
    kept = {name: value for name, value in found.items() if not name.startswith("bert/encoder/layer_")}
    remark = "the predecessor in the same checkpoint was left out" if len(kept) < len(found) else "from Theseus"
    renamed = {name.replace("/suc_layer_", "/layer_"): value for name, value in kept.items()}
    return with_layers(config, [(index,) for index in range(depth)]), renamed, [remark]


def _model(config: PretrainedConfig, found: Variables, head: Head, request: Request) -> PreTrainedModel:
    import torch
    import transformers

    _name_outputs(config, found, head, request)
    encoder = stock(found, "bert/")
    pooled = any(name.startswith("bert.pooler.") for name in encoder)
    options = {"add_pooling_layer": pooled} if head.model == "BertModel" else {}
    model: PreTrainedModel = getattr(transformers, head.model)(config, **options)
    if head.model == "BertModel":
        encoder = {name.removeprefix("bert."): value for name, value in encoder.items()}
    elif model.base_model.pooler is None:
        encoder = {name: value for name, value in encoder.items() if not name.startswith("bert.pooler.")}
    tensors = {**encoder, **head.tensors(found)}
    fill(model, {name: torch.tensor(value, dtype=torch.float32) for name, value in tensors.items()})
    return model


def _name_outputs(config: PretrainedConfig, found: Variables, head: Head, request: Request) -> None:
    from bertpress.tasks.queries.task import LABELS

    if head.model == "BertForSequenceClassification":
        return name_labels(config, len(found["output_bias"]), request.head_labels)
    if request.head_labels is not None:
        raise RequestError(
            f"--head-labels names the outputs of a classifier, but the checkpoint has {head.what}; leave it out."
        )
    if head.model == "BertForTokenClassification":
        name_labels(config, 2, LABELS[:2])
    return None


def _head_remarks(head: Head, model: PreTrainedModel) -> list[str]:
    if head.model == "BertForSequenceClassification":
        return [
            f"its outputs are {', '.join(model.config.id2label.values())}, in this order (--head-labels names them)"
        ]
    if head.model == "BertForTokenClassification":
        return ["its rows had no separator at their end, those here have one: score it before you rely on it"]
    return []


def _left_out(found: Variables, head: Head, model: PreTrainedModel) -> list[str]:
    """What a checkpoint holds beside the model."""
    rest = sorted(name for name in found if name not in head.needs and not name.startswith(("bert/", head.takes)))
    remarks = [f"left out, as no stock model has a place for it: {', '.join(rest[:4])}"] if rest else []
    if "bert/pooler/dense/kernel" in found and model.base_model.pooler is None:
        remarks.append("left out: the pooler, which a model with this head does not have")
    return remarks
