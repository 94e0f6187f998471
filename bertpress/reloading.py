"""Whether a saved model answers alike in a process that does not know this package, and what it takes to load it."""

from __future__ import annotations

import atexit
import copy
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpress.engine.loading import AUTO_CLASSES, auto_class
from bertpress.models import is_compact
from bertpress.tasks.embedding.layout import MODULES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

LEVELS = {
    "stock": "with transformers alone",
    "remote code": "with transformers and trust_remote_code=True; the code lies beside the weights",
    "class by name": "with transformers, by the name of its class; the code lies beside the weights",
    "sentence-transformers": "with sentence-transformers",
    "onnx runtime": "with ONNX Runtime",
}
"""What loads a folder, in words."""
GRAPH_LOADER = "InferenceSession"
"""What loads an exported graph."""
TOLERANCE = 1e-4
"""Largest difference of an output, as a share of the largest output."""
ROWS = 4
"""of the development split, whose answers are compared"""


class DoesNotLoad(RuntimeError):
    """A saved model fails to load elsewhere, or says something else there."""


def loader_of(model: PreTrainedModel) -> tuple[str, str]:
    """The level of `LEVELS` at which a model loads from its folder, and what loads it there.

    Returns:
        A name of `LEVELS`, and the name of a class of transformers, or `module.class` in the folder.
    """
    name = auto_class([type(model).__name__])
    if name not in AUTO_CLASSES.values():
        return "class by name", f"{type(model).__module__.rpartition('.')[2]}.{type(model).__name__}"
    return ("remote code" if is_compact(model.config) else "stock"), name


def check_loads(model: PreTrainedModel, task: Task, folder: Path) -> list[dict[str, Any]]:
    """Load a saved model in a fresh process without this package, and compare what it says of some rows.

    A folder of sentence-transformers is also loaded by that package if it is installed.

    Args:
        model: what was saved in `folder`, with or without the head that `task` needs.

    Returns:
        For each way to load it: `level` (a name of `LEVELS`), `class` and `difference`, the largest one of an output
        as a share of the largest output.

    Raises:
        DoesNotLoad: it cannot be loaded, or its outputs differ by more than `TOLERANCE`.
    """
    from importlib.util import find_spec

    import torch

    model = model if model.device.type == "cpu" else copy.deepcopy(model).to("cpu")
    batch = first_rows(task)
    inputs = plain_inputs(model, task, batch)
    with torch.inference_mode():
        outputs = model.eval()(**inputs)
        expected = [{name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}]
        ways = [loader_of(model)]
        if (folder / MODULES).is_file() and find_spec("sentence_transformers"):
            ways.append(("sentence-transformers", "SentenceTransformer"))
            expected.append({"sentence_embedding": task.forward(model, batch).logits})
    stock = [cls.__module__ for cls in type(model).__mro__ if cls.__module__.startswith("transformers.")]
    found = []
    for (level, name), outputs in zip(ways, expected, strict=True):
        request = {"folder": str(folder.resolve()), "loader": name, "code": is_compact(model.config)}
        request["modules"] = [*stock, *["sentence_transformers"] * (level == "sentence-transformers")]
        found.append({"level": level, "class": name, "difference": _difference(request, inputs, outputs)})
    return found


def check_graph_loads(
    file: Path, feeds: Sequence[Mapping[str, NDArray[Any]]], outputs: Sequence[Mapping[str, NDArray[Any]]]
) -> list[dict[str, Any]]:
    """Load an exported graph, and the tokenizer beside it, in a fresh process, and compare what it says.

    Args:
        feeds: inputs by name.
        outputs: what the graph makes of each in this process.

    Returns:
        As `check_loads`.

    Raises:
        DoesNotLoad: as `check_loads`.
    """
    modules = ["onnxruntime", "transformers.models.auto.tokenization_auto"]
    request = {"folder": str(file.parent.resolve()), "loader": GRAPH_LOADER, "graph": file.name, "modules": modules}
    difference = _difference(request, _numbered(feeds), _numbered(outputs))
    return [{"level": "onnx runtime", "class": GRAPH_LOADER, "difference": difference}]


def _numbered(batches: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Tensor]:
    """The arrays of all batches as tensors, by number and name: 0.input_ids."""
    import torch

    return {
        f"{number}.{name}": torch.from_numpy(value)
        for number, batch in enumerate(batches)
        for name, value in batch.items()
    }


def first_rows(task: Task) -> Mapping[str, Tensor]:
    """A batch of the first rows of the development split."""
    rows = task.encoded(task.dev_split)
    return task.collate([rows[place] for place in range(min(ROWS, len(rows)))])


def plain_inputs(model: PreTrainedModel, task: Task, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the model's own class takes of a batch, as a stranger to this package would give it."""
    inputs = task.inputs_of(model, batch)
    if type(model).__name__.endswith("ForMultipleChoice"):
        inputs = {name: values[:, None] for name, values in inputs.items()}  # questions of one option each
    return {name: values.contiguous() for name, values in inputs.items()}


def largest_difference(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest difference of an output, as a share of the largest one expected.

    Infinite where shapes or names differ; not a number where one side alone is not.
    """
    if {name: value.shape for name, value in got.items()} != {name: value.shape for name, value in expected.items()}:
        return float("inf")
    shares = [0.0]
    for name, values in expected.items():
        apart = got[name] != values  # equal infinities have no difference
        if apart.any():
            gap = (got[name][apart].double() - values[apart].double()).abs().max()
            shares.append((gap / values.double().nan_to_num(posinf=0, neginf=0).abs().max()).item())
    return float(np.max(shares))


def _difference(request: dict[str, Any], inputs: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """How far the outputs of a fresh process are from those expected.

    Raises:
        DoesNotLoad: further than `TOLERANCE`.
    """
    difference = largest_difference(_answers(request, inputs), expected)
    if not difference <= TOLERANCE:
        raise DoesNotLoad(
            f"{request['folder']} loads in a fresh process, but its outputs there differ by {difference:.2g} of the "
            "largest one, so it is not finished; please report it."
        )
    return difference


def _answers(request: dict[str, Any], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a folder's model says of inputs, in a fresh process."""
    import torch
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as place:
        files = {"inputs": f"{place}/inputs.safetensors", "outputs": f"{place}/outputs.safetensors"}
        save_file({name: value.clone() for name, value in inputs.items()}, files["inputs"])
        said = _ask({**request, **files, "threads": torch.get_num_threads()})
        if "error" in said:
            raise DoesNotLoad(
                f"{request['folder']} does not load in a fresh process ({said['error']}), so it is not "
                "finished; please report it."
            )
        return dict(load_file(files["outputs"]))


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        line = ""
    if not line:
        _process.cache_clear()
        return {"error": "the process ended"}
    return dict(json.loads(line))


@functools.cache
def _process() -> subprocess.Popen[str]:
    """The process that loads folders, begun when it is first needed; it ends with this one."""
    program = Path(__file__).with_name("fresh_process.py")
    process = subprocess.Popen(
        [sys.executable, "-P", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.communicate)
    return process
