"""Checkpoints of the original programs, made into ordinary model folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, beside, nearest
from bertpress.loading import load_config, load_tokenizer
from bertpress.run import save_model

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

State = Mapping[str, "Tensor"]


def import_model(
    folder: Path,
    source: str,
    out: Path,
    tokenizer: str | None = None,
    head_labels: tuple[str, ...] | None = None,
) -> list[str]:
    """Make an ordinary model folder of an original's checkpoint.

    Args:
        folder: with the original's config.json and pytorch_model.bin.
        source: which original; a key of `SOURCES`.
        out: a folder that does not exist or is empty.
        tokenizer: where the tokenizer is, if neither in `folder` nor in the folder above.
        head_labels: names of the head's outputs, in its order.

    Returns:
        remarks on what was taken.

    Raises:
        RequestError: not such a checkpoint, no tokenizer, other labels, or `out` is taken.
    """
    if source not in SOURCES:
        raise RequestError(f"There is no import from '{source}'{nearest(source, list(SOURCES))}.")
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise RequestError(f"{out} is not empty; choose a new folder for --out.")
    if not (folder / "config.json").is_file():
        raise RequestError(f"There is no config.json in {folder}{'' if folder.exists() else beside(folder)}.")
    config, state = load_config(str(folder)), read_weights(folder / "pytorch_model.bin")
    words = _tokenizer_near(folder, config) if tokenizer is None else load_tokenizer(tokenizer)
    return SOURCES[source](config, state, words, out, head_labels)


def read_weights(file: Path) -> State:
    """The tensors of a PyTorch file, by the loader that executes no code.

    Raises:
        RequestError: no such file, or it holds more than tensors.
    """
    import pickle

    import torch

    if not file.is_file():
        raise RequestError(f"There is no {file.name} in {file.parent}.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise RequestError(f"{file} holds more than tensors, so it is refused; nothing in it was run.") from None
    except Exception as error:  # whatever a broken or hostile file makes the reader raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"{file} is no readable PyTorch file ({first}); download it again.") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise RequestError(f"{file} does not hold a mapping of names to tensors.")
    return state


def import_theseus(
    config: PretrainedConfig,
    state: State,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    head_labels: tuple[str, ...] | None,
) -> list[str]:
    """The successor of a BERT-of-Theseus checkpoint, which holds both models under a config of the predecessor's depth.

    Successor layers are named ``...encoder.scc_layer.N...``; the predecessor's, ``...encoder.layer.N...``, are dropped.
    """
    from transformers import AutoModelForSequenceClassification

    from bertpress.encoders.surgery import with_layers

    successor = {name for name in state if ".scc_layer." in name}
    depth = len({re.search(r"\.scc_layer\.(\d+)\.", name)[1] for name in successor})  # type: ignore[index]
    if not depth:
        raise RequestError("The checkpoint has no successor layers (names with scc_layer), so it is not from Theseus.")
    kept = {name: value for name, value in state.items() if not re.search(r"encoder\.layer\.\d+\.", name)}
    renamed = {name.replace(".scc_layer.", ".layer."): value for name, value in kept.items()}
    config = with_layers(config, [(index,) for index in range(depth)])
    config.output_hidden_states = config.output_attentions = False  # switched on in the original's checkpoints
    _name_labels(config, renamed, head_labels)
    model = AutoModelForSequenceClassification.from_config(config)
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    unknown = [name for name in unexpected if not name.endswith("position_ids")]  # an index that old versions saved
    if missing or unknown:
        raise RequestError(
            f"The checkpoint does not fit its config: {len(missing)} weights are missing, {len(unknown)} are unknown "
            f"(the first: {[*missing, *unknown][0]})."
        )
    card = f"# A successor of BERT-of-Theseus\n\n{depth} layers, taken from a checkpoint of the original program.\n"
    save_model(model, tokenizer, out, card)
    labels = ", ".join(config.id2label.values())
    return [f"{depth} successor layers and a head for {labels}; the predecessor in the same file was left out"]


SOURCES: dict[str, Callable[..., list[str]]] = {"theseus": import_theseus}


def _name_labels(config: PretrainedConfig, state: State, names: tuple[str, ...] | None) -> None:
    """Give the config as many labels as the head has, by these names."""
    if "classifier.weight" not in state:
        raise RequestError("The checkpoint has no classifier.weight, so it holds no trained head.")
    outputs = state["classifier.weight"].shape[0]
    if names is not None and len(names) != outputs:
        raise RequestError(f"--head-labels names {len(names)} labels, but the head has {outputs} outputs.")
    if names is not None or config.num_labels != outputs:
        names = names or tuple(f"LABEL_{index}" for index in range(outputs))
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}


def _tokenizer_near(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer beside the weights, or in the folder above, where the originals put it for all checkpoints."""
    from transformers import AutoTokenizer

    for place in (folder, folder.absolute().parent):
        if any((place / file).is_file() for file in ("tokenizer.json", "vocab.txt", "vocab.json")):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, config=config)
            return tokenizer
    raise RequestError(f"There is no vocab.txt in {folder} or above it; name the tokenizer with --tokenizer.")
