"""A command line in one process, or in several that share its work: started as torchrun starts them, but at once."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from forked import Done, Forked

ONE, TWO = 1, 2


def begun(processes: int, arguments: Sequence[object]) -> list[Forked]:
    """So many processes with the same arguments (those after `bertpress`), which have begun."""
    if processes == ONE:
        return [Forked(arguments)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    about = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return [Forked(arguments, {name: str(value) for name, value in each.items()}) for each in about]


def together(processes: int, arguments: Sequence[object]) -> list[Done]:
    """How each of them ended."""
    return [each.wait() for each in begun(processes, arguments)]
