"""Run in a process of its own: checkpoints that TensorFlow writes, and what our reader makes of them.

    python tensorflow_side.py FOLDER

FOLDER/NAME/source.npz has the numbers, by TensorFlow's names; model.ckpt-5.* is what TensorFlow saves of them, slots of
an optimizer included; read.npz is what `read_variables` says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from bertpress.importing.tensorflow_files import read_variables


def write_graph(folder: Path) -> None:
    """Variables of a graph, saved as Google's programs do."""
    import tensorflow

    old = tensorflow.compat.v1
    values = dict(np.load(folder / "source.npz"))
    slots = {f"{name}/{slot}": value for name, value in values.items() for slot in ("adam_m", "adam_v")}
    with tensorflow.Graph().as_default(), old.Session() as session:
        old.train.get_or_create_global_step()
        for name, value in {**values, **slots}.items():
            old.get_variable(name, initializer=value)
        session.run(old.global_variables_initializer())
        old.train.Saver().save(session, str(folder / "model.ckpt"), global_step=5)


def write_objects(folder: Path) -> None:
    """An object of TensorFlow 2."""
    import tensorflow

    tensorflow.train.Checkpoint(table=tensorflow.Variable([1.0, 2.0])).save(str(folder / "ckpt"))


def main(root: Path) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for folder in sorted(root.iterdir()):
        if (folder / "source.npz").exists():
            write_graph(folder)
            np.savez(folder / "read.npz", **read_variables(folder / "model.ckpt-5"))
    (root / "objects").mkdir()
    write_objects(root / "objects")
    np.savez(root / "objects" / "read.npz", **read_variables(root / "objects" / "ckpt-1"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
