"""Named speeds of a model that skips tokens: found for a budget, kept in its configuration."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bertpress.errors import AnswerNo, RequestError
from bertpress.files import new_folder, read_json, write_json
from bertpress.opened.how_opened import Opening
from bertpress.opened.opening import Sample, open_sample
from bertpress.recipe import TaskSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.models.token_selection import Settings

NEAR = 0.01
"""A cost this near to the wanted one, as a share of the plain model's, counts as that one."""
MOST_TRIES = 5
"""Thresholds are corrected at most so often by what was measured."""
CLOSE_SPEED = 0.03
"""A measured speed-up this near to the wanted one, as a share of it, counts as that one."""


@dataclass(frozen=True)
class Fitted:
    """What a model that skips tokens costs at certain settings."""

    settings: Settings
    macs: float
    """multiply-adds of the rows that were looked at, as a share of the plain model's"""
    kept: list[float]
    """share of all tokens that goes on at each decision"""

    @property
    def values(self) -> dict[str, list[float]]:
        """What a profile stores."""
        given = {"thresholds": self.settings.thresholds, "shares": self.settings.shares}
        return {name: list(numbers) for name, numbers in given.items() if numbers is not None}


def calibrate(
    model: str,
    profile: str,
    *,
    macs: float | None = None,
    speedup: float | None = None,
    measured: bool = False,
    batch_size: int = 32,
    task: str | Mapping[str, Any] | TaskSpec | None = None,
    texts: Sequence[tuple[str, ...]] | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    **how: Unpack[Opening],
) -> dict[str, Any]:
    """Find the thresholds at which a model that skips tokens costs the wanted share, and store them under a name.

    The cost is that of the multiply-adds of the tokens kept, on all rows together. Labels play no part; where there
    are any, the result has the scores with all tokens (`all_tokens`) and with the profile.

    Args:
        model: folder, run, or hub name.
        profile: the name; what the model has under it is replaced.
        macs: the wanted share of the plain model's multiply-adds; or
        speedup: how many times fewer they should be.
        measured: the speed-up is that of time instead, on this machine, against the same model skipping nothing; such
            a search does not give the same twice.
        batch_size: what time is measured at.
        task: whose rows to look at; or
        texts: texts of your own, each a tuple of one or two.
        split: of the task; default that for development.
        out: a new folder for a copy of the model, which gets the profile in its place.
        how: see `Opening`.

    Raises:
        RequestError: the request was wrong; nothing was written.
        AnswerNo: no thresholds cost so; names the nearest cost that there is.
    """
    wanted = wanted_share(macs, speedup)
    if measured and speedup is None:
        raise RequestError("What is measured is a speed-up: give --speedup with --measured.")
    if not profile.strip():
        raise RequestError("Name the profile with --profile, such as 3x.")
    folder = _folder_for(model, None if out is None else Path(out))
    loaded, sample = open_sample(model, task, texts, split, **how)
    timing = None
    if measured:
        found, timing = _timed_to(loaded, sample, 1 / wanted, batch_size)
    else:
        found = _fitted(loaded, sample, wanted)
        if abs(found.macs - wanted) > NEAR:
            raise AnswerNo(_unreachable(found, wanted, sample.size))
    scores = _scores(loaded, sample, found)
    store(model, folder, profile, found.values)
    return {
        "profile": profile,
        **found.values,
        "wanted": wanted,
        "macs": found.macs,
        "theoretical_speedup": 1 / found.macs,
        "layers": list(found.settings.layers),
        "kept": found.kept,
        "measured": timing,
        "rows": len(sample.task.splits[sample.split]),
        "inputs": len(sample.encoded),
        "primary_metric": sample.task.primary,
        "scores": scores,
        "folder": str(folder),
    }


def wanted_share(macs: float | None, speedup: float | None) -> float:
    """The wanted cost as a share of the plain model's.

    Raises:
        RequestError: none or both are given, or one that cannot be.
    """
    if (macs is None) == (speedup is None):
        raise RequestError("Give the budget as either --macs, such as 0.5, or --speedup, such as 2.")
    if macs is not None and not 0 < macs <= 1:
        raise RequestError(f"--macs is the share of the multiply-adds that is left, above 0 and at most 1, got {macs}.")
    if speedup is not None and not 1 <= speedup < math.inf:
        raise RequestError(f"--speedup says how many times fewer multiply-adds are left, at least 1, got {speedup}.")
    return macs or 1 / (speedup or 1)


def store(model: str, folder: Path, profile: str, values: Mapping[str, list[float]]) -> None:
    """Write a profile into the configuration in `folder`, which becomes a copy of `model` if it is another one."""
    source = _source(model)
    if folder == source:
        write_json(folder / "config.json", _with_profile(folder, profile, values))
        return
    with new_folder(folder) as copy:
        shutil.copytree(source, copy, dirs_exist_ok=True)
        write_json(copy / "config.json", _with_profile(source, profile, values))


def _with_profile(folder: Path, profile: str, values: Mapping[str, list[float]]) -> dict[str, Any]:
    config: dict[str, Any] = read_json(folder / "config.json")
    reduction = config["token_reduction"]
    profiles = {**(reduction.get("profiles") or {}), profile: dict(values)}
    return {**config, "token_reduction": {**reduction, "profiles": profiles}}


def _source(model: str) -> Path:
    """The folder that a model was loaded from."""
    from transformers.utils import cached_file

    from bertpress.engine.loading import model_folder

    folder = Path(model_folder(model))
    return folder if folder.is_dir() else Path(cached_file(model, "config.json")).parent


def _folder_for(model: str, out: Path | None) -> Path:
    """The folder that will hold the profile.

    Raises:
        RequestError: it cannot be written to, or `out` holds something else.
    """
    from bertpress.engine.loading import model_folder

    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RequestError(f"{out} exists already; name a new folder with --out.")
        return out
    folder = Path(model_folder(model))
    if not folder.is_dir():
        raise RequestError(f"{model} is a name on the Hub, where nothing can be stored; name a new folder with --out.")
    if not all(os.access(path, os.W_OK) for path in (folder, folder / "config.json")):
        raise RequestError(f"{folder} cannot be written to; name a new folder for a copy of the model with --out.")
    return folder


def _fitted(model: PreTrainedModel, sample: Sample, share: float) -> Fitted:
    """The speed of a model once it was fitted to a budget, in place."""
    import torch

    from bertpress.budget import fit, settings_of
    from bertpress.engine.evaluation import batches_by_length
    from bertpress.measurements.skipping import Counting, plain_config, speedups

    plain = plain_config(model, None)

    def cost() -> Fitted:
        counting = Counting(sample.task)
        with torch.inference_mode():
            for _, batch in batches_by_length(sample.task, sample.encoded, model.device):
                counting(model, batch)
        ratio = speedups(model.config, plain, counting.batches, sample.task)["theoretical_speedup"]
        rows = [row for batch in counting.batches for row in batch.kept]
        tokens = sum(sum(batch.lengths) for batch in counting.batches)
        return Fitted(settings_of(model), 1 / ratio, [sum(column) / tokens for column in zip(*rows, strict=True)])

    fit(model, sample.task, sample.encoded, share, lambda: cost().macs)
    return cost()


def _timed_to(model: PreTrainedModel, sample: Sample, wanted: float, batch_size: int) -> tuple[Fitted, dict[str, Any]]:
    """Settings with which the model is measured to be so many times as fast, and a fresh measurement of them.

    Time follows multiply-adds, but is no fixed share of them: the wanted share is corrected by what is measured.

    Raises:
        AnswerNo: the fresh measurement falls short.
    """
    from bertpress.costs.latency import latency_rows
    from bertpress.encoders.compact import without_decisions
    from bertpress.measurements.measuring import latency_batches

    plain = without_decisions(model)
    batches = latency_batches(sample.task, (batch_size,), model.device, rows=sample.encoded)

    def timed(seconds: float) -> dict[str, Any]:
        return latency_rows(plain, model, batches, seconds=seconds, forward=sample.task.forward)[0]

    share = 1 / wanted
    for _ in range(MOST_TRIES):
        found = _fitted(model, sample, share)
        ratio = timed(3)["speedup"] / wanted
        if abs(ratio - 1) <= CLOSE_SPEED or (ratio < 1 and abs(found.macs - share) > NEAR):
            break
        share = min(1.0, share * ratio)
    row = timed(6)
    if row["speedup_high"] < wanted * (1 - CLOSE_SPEED):
        raise AnswerNo(
            f"A measured speed-up of {wanted:.2f} was not reached: it is {row['speedup']:.2f} "
            f"({row['speedup_low']:.2f}-{row['speedup_high']:.2f}) at batch {row['batch']}, with {found.macs:.3f} of "
            "the plain model's multiply-adds; ask for less, or measure with another --batch-size."
        )
    return found, row


def _unreachable(found: Fitted, wanted: float, rows: str) -> str:
    return (
        f"No {' or '.join(found.values)} bring these {rows} to {wanted:.3f} of the plain model's multiply-adds; "
        f"the nearest that was reached is {found.macs:.3f}: ask for --macs {found.macs:.3f}, or give more rows."
    )


def _scores(model: PreTrainedModel, sample: Sample, found: Fitted) -> dict[str, dict[str, float]] | None:
    """Every metric with all tokens and with what was found; None without labels."""
    import dataclasses

    from bertpress.budget import with_settings
    from bertpress.engine.evaluation import logits_of

    if not sample.has_labels:
        return None
    scores = {}
    whole = dataclasses.replace(found.settings, layers=(), thresholds=None, shares=None)
    for name, settings in {"all_tokens": whole, "profile": found.settings}.items():
        with with_settings(model, settings):
            logits = logits_of(model, sample.task, sample.encoded)
        scores[name] = sample.task.score(logits, sample.split)
    return scores
