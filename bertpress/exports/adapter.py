"""The one file that knows the exporters of transformers, which are experimental: a model in, an ONNX file out.

No fusions of theirs are asked for: ONNX Runtime fuses the standard graph when it loads it, and the standard graph runs
elsewhere too and can be quantised part by part.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bertpress.errors import RequestError
from bertpress.exports.dropping import served
from bertpress.models import is_reduced

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SCOPES = "pkg.torch.onnx.name_scopes"
"""The note on a node that says which modules of the model it is part of."""
MOST_INSIDE = 1_900_000_000
"""Bytes of weights up to which they are inside of the file; a file of more than 2 GB cannot be read."""


def require_packages() -> None:
    """Refuse to export where the packages for it are not installed.

    Raises:
        RequestError: names them, and the line that installs them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise RequestError(
            f"Exports to ONNX need packages that are not installed ({', '.join(missing)}); "
            'run: pip install "bertpress[onnx]"'
        )


def write_graph(model: PreTrainedModel, sample: Mapping[str, Tensor], drops: bool, file: Path) -> None:
    """Write a model as a graph for any batch size and length.

    Args:
        model: in eval mode, on the CPU, in float32.
        sample: inputs of at least two rows, two options and two tokens: an axis of 1 would stay 1 in the graph.
        drops: leave out the tokens that a model skips, else hide them.
    """
    from transformers.exporters import OnnxConfig, OnnxExporter

    axes = {
        name: dict.fromkeys(range(min(value.dim(), _free_axes(name, sample))), torch.export.Dim.AUTO)
        for name, value in sample.items()
    }
    with quiet(), served(model, drops) if is_reduced(model.config) else contextlib.nullcontext(model) as traced:
        try:
            program, _ = OnnxExporter().export_program(
                traced, dict(sample), OnnxConfig(dynamic=True, dynamic_shapes=axes)
            )
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise RuntimeError(
                f"the exporter of transformers cannot trace a {type(model).__name__} ({type(error).__name__}: {reason})"
            ) from error
        _save(program, file)


def _free_axes(name: str, sample: Mapping[str, Tensor]) -> int:
    """How many leading axes of an input may have any size; the last one of sentences is first and last token."""
    return sample[name].dim() - 1 if name == "sentences" else sample[name].dim()


def _save(program: Any, file: Path) -> None:
    import onnx_ir

    for node in program.graph:
        scopes = node.metadata_props.get(SCOPES)
        node.metadata_props.clear()  # it names files of this machine
        if scopes is not None:
            node.metadata_props[SCOPES] = scopes
    weights = sum(value.const_value.nbytes for value in program.graph.initializers.values())
    onnx_ir.save(program, str(file), external_data=None if weights < MOST_INSIDE else f"{file.name}.data")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the libraries print, log and warn to themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
