"""How long a plan takes: measuring the table of latencies, and the whole command once the table is there.

    bertpress plan packaged-minilm-fine-tuned --task glue/sst2 --speedup 3

The model is MiniLM with a head for SST-2 that nobody trained, saved in a temporary folder; what it says has no part in
a plan. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import arguments, data_root, write_result

from bertpress.advising.timing import layers_of
from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.engine.run import save_model
from bertpress.measurements.measuring import padded_tokens
from bertpress.recipe import TaskSpec
from bertpress.statistics import median_interval
from bertpress.tasks import load_task

MODEL, TASK = "packaged-minilm", "glue/sst2"


def main() -> None:
    options = arguments(__doc__, rounds=7, steps=1)
    data_root("the folder sst2 (GLUE)")
    tokenizer = load_tokenizer(MODEL)
    task = load_task(TaskSpec(name=TASK), tokenizer, max_length=128)
    model = load_for_task(MODEL, task, new_head=True)[0].eval()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save_model(model, tokenizer, folder, card="")
        tables, plans = [], []
        for number in range(options.rounds):
            began = time.perf_counter()
            layers_of(model, task, 1, padded_tokens(task, 1), Path(place) / "tables" / str(number))
            tables.append(time.perf_counter() - began)
        command = [sys.executable, "-m", "bertpress", "plan", str(folder), "--task", TASK, "--speedup", "3", "--quiet"]
        environment = {**os.environ, "BERTPRESS_CACHE": place}
        for _ in range(options.rounds + 1):  # the first one makes the table
            began = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            plans.append(time.perf_counter() - began)
    found = {"plan-table-seconds": median_interval(tables), "plan-seconds": median_interval(plans[1:])}
    names = {"plan-table-seconds": "the table of latencies", "plan-seconds": "the command, with the table"}
    rows = [
        {"what": names[claim], "seconds": "{:.1f} ({:.1f}-{:.1f})".format(*value)} for claim, value in found.items()
    ]
    write_result("plan_speed", f"python benchmarks/plan_speed.py --rounds {options.rounds}", rows, found, options.out)


if __name__ == "__main__":
    main()
