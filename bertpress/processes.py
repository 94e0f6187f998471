"""Several processes that train together, as `torchrun` or `accelerate launch` start them: who writes, who waits.

Every process carries out the same recipe and takes part in each training, its scoring on the way included; the first
one alone scores and measures results, stores and writes, and the others wait for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def world_size() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process among all of them; the one that writes is 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this process among those of its machine; also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first_process() -> bool:
    """True in the process that writes."""
    return rank() == 0


def join(device: str | None) -> None:
    """Connect the processes, before the first of them writes; nothing to do if there is only one."""
    if world_size() > 1:
        from datetime import timedelta

        from accelerate import PartialState

        # The first process scores, augments and stores alone while the others wait.
        PartialState(cpu=device == "cpu", timeout=timedelta(days=7))


def mean_over_processes(number: float) -> float:
    """The mean of a number that each process has; all of them ask for it."""
    import numpy as np

    return float(sum_over_processes(np.array(number))) / world_size()


def sum_over_processes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of an array that each process has; all of them ask for it."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    total = torch.from_numpy(values.copy())
    if torch.distributed.get_backend() == "nccl":
        total = total.cuda()
    torch.distributed.all_reduce(total)
    result: NDArray[np.float64] = total.cpu().numpy()
    return result


def barrier() -> None:
    """Wait for all processes."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def idle_devices(device: str | None) -> list[str]:
    """A line on the GPUs that a plain command leaves idle, with the command that uses all."""
    import torch

    count = torch.cuda.device_count()
    if count < 2 or world_size() > 1 or device is not None:
        return []
    return [f"{count} GPUs are here and one is used; all of them: torchrun --nproc-per-node {count} -m bertpress ..."]
