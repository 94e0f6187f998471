"""Saved folders carry their own code: they load, run packed and save again where this package cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models.making import KINDS, SHAPES, make_batch, make_compact, run

from bertpress.models import COMPACT

PROCESS = """
import importlib.abc, json, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bertpress":
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Absent())
import numpy as np, torch, transformers
models, out = json.loads(sys.stdin.read())
def answers(output):
    return next(output[name] for name in ("logits", "start_logits", "last_hidden_state") if name in output)
found = {}
for name, (folder, loader, batch) in models.items():
    batch = {key: torch.tensor(values) for key, values in batch.items()}
    for place, again in ((folder, folder + "-again"), (folder + "-again", None)):
        model = getattr(transformers, loader).from_pretrained(place, trust_remote_code=True).eval()
        assert type(model).__module__.startswith("transformers_modules."), type(model)
        seen = []
        places = model.base_model.places
        linear = model.base_model.get_submodule(places.layers)[1].get_submodule(places.inner)
        linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
        with torch.no_grad():
            output = answers(model(**batch))
        (shape,) = seen
        assert shape[0] == 1 and shape[1] < batch["attention_mask"].sum(), shape
        if again:
            found[name] = output.numpy()
            model.save_pretrained(again)
        else:
            assert np.array_equal(output.numpy(), found[name])
assert "bertpress" not in sys.modules
np.savez(out, **found)
"""


@pytest.mark.slow
def test_every_family_and_head_loads_without_the_package(tmp_path: Path) -> None:
    models, expected = {}, {}
    for family in COMPACT:
        for kind in KINDS:
            name = f"{family}-{kind}"
            model = make_compact(family, kind, layer_shapes=SHAPES)
            batch = make_batch(model)
            expected[name] = run(model, batch)[0].numpy()
            model.save_pretrained(tmp_path / name)
            inputs = {key: values.tolist() for key, values in batch.items()}
            models[name] = (str(tmp_path / name), f"Auto{kind}".replace("AutoFor", "AutoModelFor"), inputs)
    request = json.dumps([models, str(tmp_path / "found.npz")])
    threads = str(torch.get_num_threads())  # sums of other threads round otherwise
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], input=request, text=True, capture_output=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "found.npz") as found:
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
