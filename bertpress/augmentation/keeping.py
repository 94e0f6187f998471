"""Augmented rows below the user's cache, so that runs of the same texts, model and settings make them once.

What lies there is a copy: each run has its own rows, and goes on with them when the cache is gone.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

from bertpress.augmentation.job import Job
from bertpress.engine.run import default_device
from bertpress.files import cache_root, content_digest, digest, held, new_file, new_folder, read_json, write_json

MANIFEST, DIGESTS = "manifest.json", "digests.json"


def place_of(job: Job) -> Path:
    """The folder of a job's rows: named by all that determines them, the kind of device and the version included."""
    device = (job.runtime.device or default_device()).partition(":")[0]
    types = {name: str(split.features) for name, split in job.splits.items()}
    key = {**job.identity, "device": device, "types": types, "version": version("bertpress")}
    return cache_root() / "augmentation" / digest(json.dumps(key, sort_keys=True).encode())[:16]


def bring(job: Job, folder: Path) -> bool:
    """Copy rows that were made before into a run's folder, the manifest last; False where there are no sound ones."""
    place = place_of(job)
    if not (place / DIGESTS).is_file():
        return False
    try:
        with held(place.with_suffix(".lock")):
            noted = read_json(place / DIGESTS)
            if any(content_digest(place / name) != noted[name] for name in _names(job)):
                return False
            for name in _names(job):
                with new_file(folder / name) as temporary:
                    shutil.copyfile(place / name, temporary)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    job.runtime.say(f"augmented rows from {place}")
    return True


def keep(job: Job, folder: Path) -> None:
    """Copy what a run has made for others; a cache that cannot be written to is told."""
    place = place_of(job)
    try:
        with held(place.with_suffix(".lock")), new_folder(place) as temporary:
            for name in _names(job):
                shutil.copyfile(folder / name, temporary / name)
            write_json(temporary / DIGESTS, {name: content_digest(temporary / name) for name in _names(job)})
    except OSError as error:
        job.runtime.say(f"the augmented rows are not kept for other runs: {place} cannot be written ({error})")


def _names(job: Job) -> list[str]:
    return [*(f"{name}.parquet" for name in job.splits), MANIFEST]
