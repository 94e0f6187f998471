"""A container that stands where an encoder keeps its layers and yields another sequence of them in each forward pass.

The encoder's own loop stays untouched, so this works for every architecture that walks over a list of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn


class ChosenLayers(nn.Module):
    """Modules of predecessor layers and their substitutes; iterating yields one branch of each.

    `mask` holds one truth value per module: True yields the substitutes, False the predecessor's layers. Both branches
    are registered, so hooks, devices and dtypes reach them; a module that is kept has the same layers in both.
    """

    def __init__(self, predecessor: Sequence[Sequence[nn.Module]], substitutes: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(nn.ModuleList(group) for group in predecessor)
        self.substitutes = nn.ModuleList(nn.ModuleList(group) for group in substitutes)
        self.mask: tuple[bool, ...] = (True,) * len(self.predecessor)

    def __iter__(self) -> Iterator[nn.Module]:
        for replaced, old, new in zip(self.mask, self.predecessor, self.substitutes, strict=True):
            yield from new if replaced else old  # type: ignore[misc]

    def __len__(self) -> int:
        return sum(1 for _ in self)
