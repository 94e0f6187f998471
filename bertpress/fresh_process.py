"""Loads model folders where bertpress cannot be imported, and keeps their answers; run as a file, never imported.

A line of JSON on standard input asks for one folder, a line on standard output answers. What takes seconds, importing
transformers, is done once; each folder is then loaded in a process of its own, forked from this one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from typing import Any

ALWAYS = ("torch", "safetensors.torch", "transformers.models.auto.modeling_auto")


def load(request: dict[str, Any]) -> Any:
    """The model that a request asks for, in eval mode, in float32; loaded as a stranger to this package would."""
    import torch
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    folder, name = request["folder"], request["loader"]
    if "." in name:  # no class of transformers loads it by its type
        return get_class_from_dynamic_module(name, folder).from_pretrained(folder, dtype=torch.float32).eval()
    if name == "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(folder, device="cpu", trust_remote_code=request["code"], local_files_only=True)
    if name == "InferenceSession":
        return graph(request)
    options = {"trust_remote_code": request["code"], "dtype": torch.float32, "local_files_only": True}
    return getattr(transformers, name).from_pretrained(folder, **options).eval()


def graph(request: dict[str, Any]) -> Any:
    """A session of ONNX Runtime for a folder whose tokenizer loads too."""
    import onnxruntime
    import transformers

    transformers.AutoTokenizer.from_pretrained(request["folder"], local_files_only=True)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    file = os.path.join(request["folder"], request["graph"])
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def graph_outputs(session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a graph makes of several batches; names of inputs and outputs begin with the number of the batch."""
    import torch

    names = [found.name for found in session.get_outputs()]
    outputs: dict[str, Any] = {}
    for number in sorted({name.partition(".")[0] for name in inputs}):
        feed = {name.partition(".")[2]: inputs[name].numpy() for name in inputs if name.startswith(f"{number}.")}
        found = zip(names, session.run(None, feed), strict=True)
        outputs |= {f"{number}.{name}": torch.from_numpy(value) for name, value in found}
    return outputs


def tensors(outputs: Any) -> dict[str, Any]:
    """The tensors among a model's outputs, by name."""
    import torch

    return {name: value.clone() for name, value in outputs.items() if isinstance(value, torch.Tensor)}


def answer(request: dict[str, Any]) -> None:
    """Load the folder, run the inputs of the file `inputs` and leave the outputs in the file `outputs`."""
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(request["threads"])
    model = load(request)
    inputs = load_file(request["inputs"])
    with torch.inference_mode():
        if request["loader"] == "SentenceTransformer":
            outputs = {"sentence_embedding": model(inputs)["sentence_embedding"]}
        elif request["loader"] == "InferenceSession":
            outputs = graph_outputs(model, inputs)
        else:
            outputs = model(**inputs)
    save_file(tensors(outputs), request["outputs"])


def answered(request: dict[str, Any]) -> dict[str, str]:
    """What is said of a request: nothing if all went well, else why not."""
    try:
        answer(request)
    except BaseException as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    return {}


def in_a_child(request: dict[str, Any]) -> dict[str, str]:
    """The same from a forked process; where there is no fork (Windows), from this one."""
    if not hasattr(os, "fork"):
        return answered(request)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(answered(request)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return dict(json.loads(said)) if said else {"error": f"the process ended with status {status}"}


def serve() -> None:
    """Answer every line of standard input. What libraries print goes to standard error."""
    sys.modules["bertpress"] = None  # type: ignore[assignment]  # importing it is an error from here on
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        for module in (*ALWAYS, *request["modules"]):  # in this process, so that the next one has them
            importlib.import_module(module)
        print(json.dumps(in_a_child(request)), file=replies, flush=True)


def main() -> None:
    """Serve, with a folder of its own for code that comes with models, which goes with it; nothing is fetched."""
    with tempfile.TemporaryDirectory(prefix="bertpress-") as modules:
        os.environ |= {"HF_MODULES_CACHE": modules, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        serve()


if __name__ == "__main__":
    main()
