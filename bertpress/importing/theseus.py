"""BERT-of-Theseus: predecessor and successor in one file, under a config of the predecessor's depth."""

from __future__ import annotations

import re

from bertpress.engine.loading import load_config
from bertpress.engine.run import save_model
from bertpress.errors import RequestError
from bertpress.importing.reading import Request, card_of, fill, find_tokenizer, name_labels, outputs_of, read_weights


def import_theseus(request: Request) -> list[str]:
    """The successor alone.

    Its layers are named ``...encoder.scc_layer.N...``; the predecessor's, ``...encoder.layer.N...``, are dropped.
    """
    from transformers import AutoModelForSequenceClassification

    from bertpress.encoders.surgery import with_layers

    config, state = load_config(str(request.folder)), read_weights(request.weights)
    tokenizer = find_tokenizer(request, config)
    successor = {name for name in state if ".scc_layer." in name}
    depth = len({found[1] for name in successor if (found := re.search(r"\.scc_layer\.(\d+)\.", name))})
    if not depth:
        raise RequestError("The checkpoint has no successor layers (names with scc_layer), so it is not from Theseus.")
    if "classifier.weight" not in state:
        raise RequestError("The checkpoint has no classifier.weight, so it holds no trained head.")
    outputs = outputs_of(state, "classifier")
    kept = {name: value for name, value in state.items() if not re.search(r"encoder\.layer\.\d+\.", name)}
    config = with_layers(config, [(index,) for index in range(depth)])
    config.output_hidden_states = config.output_attentions = False  # switched on in the original's checkpoints
    name_labels(config, outputs, request.head_labels)
    model = AutoModelForSequenceClassification.from_config(config)
    fill(model, {name.replace(".scc_layer.", ".layer."): value for name, value in kept.items()})
    labels = ", ".join(config.id2label.values())
    remarks = [f"{depth} successor layers and a head for {labels}; the predecessor in the same file was left out"]
    save_model(model, tokenizer, request.out, card_of("A successor of BERT-of-Theseus", remarks))
    return remarks
