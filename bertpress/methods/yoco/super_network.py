"""A trained super-network as a folder: an ordinary model, the largest network, and what makes it elastic beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.files import best_cell, is_sweep, read_json, reading, write_json
from bertpress.methods.yoco.distribution import Distribution
from bertpress.methods.yoco.space import Space, SubNetwork

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "super_network.json"


@dataclass(frozen=True)
class About:
    """What is known of a super-network beside its weights."""

    space: Space
    """that it was trained in"""
    distribution: Distribution
    """what its training learned about its sub-networks"""
    ordering: Mapping[str, Any]
    """where its heads and neurons stood in the model that it was made of, and how important they are"""
    held_out: Mapping[str, Any]
    """which rows it was not trained on"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        arrays = {name: array.tolist() for name, array in self.distribution.to_arrays().items()}
        return {
            "schema": 1,
            "space": self.space.to_dict(),
            "distribution": arrays,
            "held_out": dict(self.held_out),
            "ordering": dict(self.ordering),
        }

    @classmethod
    def read(cls, folder: Path) -> About:
        """What lies in the folder of a super-network."""
        with reading(folder / FILE, "train the super-network again, or put back what was there"):
            values = read_json(folder / FILE)
            if values["schema"] != 1:
                raise ValueError(f"schema {values['schema']} is not known, this version reads schema 1")
            space = Space.of(values["space"])
            learned = distribution_over(space, values["distribution"])
            return cls(space, learned, dict(values["ordering"]), dict(values["held_out"]))

    def write(self, folder: Path) -> None:
        """Put it into the folder of a super-network."""
        write_json(folder / FILE, self.to_dict())


def distribution_over(space: Space, arrays: Mapping[str, Any] | None = None, **settings: Any) -> Distribution:
    """A distribution over the sub-networks of a space, even unless `arrays` say what was learned."""
    import numpy as np

    result = Distribution(space.sizes, **settings)
    if arrays is not None:
        result.load_arrays({name: np.asarray(array, np.float64) for name, array in arrays.items()})
    return result


def find_super_network(name: str) -> Path:
    """The folder of a super-network: itself, or that of a run's last yoco step that has one; a sweep's best cell's.

    Raises:
        RequestError: there is none; says what was found.
    """
    path = Path(name)
    if (path / FILE).is_file():
        return path
    if is_sweep(path):
        return find_super_network(str(best_cell(path)))
    found = sorted(path.glob(f"*/supernet/model/{FILE}")) or sorted(path.glob(f"supernet/model/{FILE}"))
    if found:
        return found[-1].parent
    what = "has not trained its super-network yet" if (path / "recipe.yaml").is_file() else "holds no super-network"
    raise RequestError(f"{name} {what}; name a run with a finished yoco training (bertpress yoco), or its folder.")


def sub_network(super_network: str | Path, layers: list[dict[str, int]]) -> PreTrainedModel:
    """Any sub-network of a super-network, as a model of its own.

    Args:
        super_network: a run of the method yoco, or the folder of its super-network.
        layers: for each layer its `origin` (the super-network's layer), `heads` and `intermediate_size`; the archive
            of a search lists networks in this form.

    Raises:
        RequestError: no super-network, or one that has no such sub-network.
    """
    from bertpress.engine.loading import auto_class, load_config, loader
    from bertpress.methods.yoco import extracting

    folder = find_super_network(str(super_network))
    config = load_config(str(folder))
    model = loader(auto_class(config.architectures)).from_pretrained(folder)
    try:
        network = SubNetwork.of(layers)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"A sub-network is a list with a mapping for each layer: {error}.") from None
    return extracting.sub_network(model.eval(), network)
