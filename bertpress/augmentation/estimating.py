"""What an augmentation would make and take, before it is carried out."""

from __future__ import annotations

import time
from typing import Any

from bertpress.augmentation.augmenting import sample
from bertpress.augmentation.job import Job

TIMED = 64  # texts on which the time is measured


def candidate_seconds(job: Job) -> float:
    """Measured on some texts, the seconds in which the masked-language model proposes candidates for all."""
    if job.settings.masked_lm is None:
        return 0.0
    _ = job.proposer
    timed = job.texts[:: max(1, len(job.texts) // TIMED)]
    began = time.perf_counter()
    job.slots_of(timed)
    return (time.perf_counter() - began) / len(timed) * len(job.texts)


def estimate(job: Job) -> dict[str, Any]:
    """Largest number of rows, words by who proposes for them, seconds for the candidates, and a sample of rows."""
    rules = {"masked-lm": 0, "vectors": 0, "keep": 0}
    for begin in range(0, len(job.texts), 1000):
        for analysis in job.analyser.analyse(job.texts[begin : begin + 1000]):
            for word in analysis.words:
                rules[job.rule_of(word)] += 1
    fields = len(job.task.columns) if job.settings.pair_mode == "independent" else 1
    rows = len(job.task.splits["train"])
    shown = sample(job)
    return {
        "rows": rows,
        "rows_at_most": rows * (fields * job.samples + 1),
        "texts": len(job.texts),
        "words_by_masked_lm": rules["masked-lm"],
        "words_by_vectors": rules["vectors"],
        "words_kept": rules["keep"],
        "seconds": candidate_seconds(job),
        "sample": [{"original": list(original), "augmented": list(new)} for original, new in shown],
    }
