"""The project's own Chinese encoder, for measurements on Chinese text: masked language modelling from random weights.

    bertpress pretrain --corpus plain_text_zh --shape 4x256 --vocabulary characters --out runs/chinese_encoder

with the settings below: a piece for each character, packed rows of 128. Takes at most an hour on a core and goes on
where it was stopped. It has read too little to be a good encoder; it is one that all rows of a comparison share. Needs
BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from results import HERE, data_root

from bertpress import Runtime, Training, pretrain

SHAPE = "4x256"
EPOCHS, BATCH = 10, 16
"""Small batches, because steps are few."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs" / "chinese_encoder", help="folder of the run")
    parser.add_argument("--steps", type=int, help="optimizer steps, for a trial")
    options = parser.parse_args()
    root = data_root("the folder plain_text_zh")
    corpus = {"files": str(root / "plain_text_zh" / "train.parquet"), "format": "lines"}
    training = Training(epochs=EPOCHS, max_steps=options.steps, batch_size=BATCH, learning_rate=1e-3, warmup=0.1)
    runtime = Runtime(device="cpu", say=print)
    result = pretrain(
        corpus, options.out, shape=SHAPE, vocabulary="characters", training=training, max_length=128, runtime=runtime
    )
    row = result.report["rows"][-1]
    print(f"{result.report['primary_metric']} {row['score']:.4f} after {row['seconds']:.0f} s")
    print(f"{result.folder}: for ner_quality.py --chinese")


if __name__ == "__main__":
    main()
