"""What every import does: find the files, read tensors without running code, find the tokenizer, fill a model."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.encoders import encoder_of
from bertpress.engine.loading import load_tokenizer
from bertpress.errors import RequestError, beside
from bertpress.tasks.heads import name_outputs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

State = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Request:
    """What is to be imported, and into what."""

    folder: Path
    """with the original's configuration"""
    weights: Path
    """the file of tensors; of TensorFlow the path that its files begin with"""
    out: Path
    tokenizer: str | None = None
    head_labels: tuple[str, ...] | None = None
    keep_head: bool = False
    cased: bool | None = None
    """whether letters keep their case, where only a vocabulary is there to tell"""


def find_files(checkpoint: Path) -> tuple[Path, Path]:
    """The folder with config.json and the file of weights that a user's path stands for.

    The originals put the step or the epoch before the file's name, so a single file ``*pytorch_model.bin`` will do.

    Raises:
        RequestError: no config.json, or several files of weights.
    """
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    if not (folder / "config.json").is_file():
        raise RequestError(f"There is no config.json in {folder}{'' if folder.exists() else beside(folder)}.")
    plain, there = folder / "pytorch_model.bin", sorted(folder.glob("*pytorch_model.bin"))
    if checkpoint.is_file():
        return folder, checkpoint
    if plain in there or not there:
        return folder, plain
    if len(there) > 1:
        names = ", ".join(file.name for file in there[:4])
        raise RequestError(f"{folder} holds {len(there)} checkpoints ({names}); give the file of one instead.")
    return folder, there[0]


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


def find_tokenizer(request: Request, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that was named, or that beside the weights, or in the folder above (one for all checkpoints).

    It allows no longer inputs than the model has positions.

    Raises:
        RequestError: there is none, or it has more tokens than the model.
    """
    places: tuple[Path, ...] = (request.folder, request.folder.absolute().parent)
    if request.tokenizer is not None:
        named = Path(request.tokenizer)
        named = named.parent if named.is_file() else named
        places = (named,) if named.is_dir() and not (named / "config.json").is_file() else ()
    tokenizer = _read(places, config, request.cased) if places else _load(str(request.tokenizer), request.cased)
    if len(tokenizer) > config.vocab_size:
        raise RequestError(
            f"The tokenizer has {len(tokenizer)} tokens, but the model knows {config.vocab_size}; "
            "name the tokenizer that it was trained with by --tokenizer."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder_of(config).positions(config))
    return tokenizer


def _load(name: str, cased: bool | None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or of the Hub."""
    if cased is not None:
        raise RequestError(f"The tokenizer {name} says itself how it treats capital letters; leave out the case.")
    return load_tokenizer(name)


def _read(places: tuple[Path, ...], config: PretrainedConfig, cased: bool | None) -> PreTrainedTokenizerBase:
    """The tokenizer in the first of these folders that has one."""
    from transformers import AutoTokenizer

    for place in places:
        if not any((place / file).is_file() for file in ("tokenizer.json", "vocab.txt", "vocab.json")):
            continue
        case = _case(place, cased)
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, config=config, **case)
        except (OSError, ValueError, KeyError) as error:
            raise RequestError(f"The tokenizer in {place} cannot be read: {error}") from None
        return tokenizer
    above = " or above it" if len(places) > 1 else ""
    raise RequestError(f"There is no vocab.txt in {places[0]}{above}; name the tokenizer with --tokenizer.")


def _case(place: Path, cased: bool | None) -> dict[str, bool]:
    """Whether texts are lower-cased, where only a vocabulary is there to tell: its capital letters do.

    Raises:
        RequestError: `cased` is given where more is there to tell.
    """
    telling = [file for file in ("tokenizer.json", "tokenizer_config.json", "vocab.json") if (place / file).is_file()]
    if telling and cased is not None:
        raise RequestError(f"{place / telling[0]} says how capital letters are treated; leave out the case.")
    if telling:
        return {}
    tokens = set((place / "vocab.txt").read_text(encoding="utf-8").split("\n"))
    return {"do_lower_case": not (tokens.issuperset(string.ascii_uppercase) if cased is None else cased)}


def card_of(title: str, remarks: Iterable[str]) -> str:
    """What stands beside an imported model, as Markdown."""
    told = "".join(f"- {remark}\n" for remark in remarks)
    return f"# {title}\n\nTaken from a checkpoint of the original program.\n\n{told}"


def name_labels(config: PretrainedConfig, outputs: int, names: tuple[str, ...] | None) -> None:
    """Give the config as many labels as the head has outputs, by these names.

    Raises:
        RequestError: another number of names.
    """
    if names is not None and len(names) != outputs:
        raise RequestError(f"--head-labels names {len(names)} labels, but the head has {outputs} outputs.")
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"--head-labels names '{twice}' twice; give each output a name of its own.")
    if names is not None or config.num_labels != outputs:
        names = names or tuple(f"LABEL_{index}" for index in range(outputs))
        name_outputs(config, names)


def outputs_of(state: State, head: str) -> int:
    """How many outputs a linear head has.

    Raises:
        RequestError: its weight or its bias is missing, or no matrix and vector of as many rows.
    """
    weight, bias = (state.get(f"{head}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None or weight.dim() != 2 or bias.shape != weight.shape[:1]:
        raise RequestError(f"The checkpoint's head '{head}' is not whole: expected a weight, and a bias of its length.")
    return len(bias)


def fill(model: PreTrainedModel, state: State) -> None:
    """Put every tensor of `state` into the model, all of whose weights must be among them.

    Raises:
        RequestError: weights are missing, unknown, of another size or not finite.
    """
    if broken := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise RequestError(f"The checkpoint's weights are not finite (the first: {broken[0]}); take another one.")
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # tensors of other sizes: a line for each below a headline
        first = str(error).splitlines()[-1].strip()
        raise RequestError(f"The checkpoint does not fit its config: {first}") from None
    unknown = [name for name in unexpected if not name.endswith("position_ids")]  # an index that old versions saved
    if missing or unknown:
        raise RequestError(
            f"The checkpoint does not fit its config: {len(missing)} weights are missing, {len(unknown)} are unknown "
            f"(the first: {[*missing, *unknown][0]})."
        )
