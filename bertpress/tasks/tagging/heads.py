"""The tags that a trained head gives, whatever scheme and order it was trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertpress.errors import RequestError
from bertpress.tasks.tagging.schemes import LETTERS, OUTSIDE, Scheme, is_tag, tag_names


@dataclass(frozen=True)
class Tags:
    """The outputs of a head, as tags."""

    names: tuple[str, ...]
    """in the order of the outputs"""
    scheme: Scheme

    @property
    def types(self) -> tuple[str, ...]:
        """Types of entities, in the order in which they are first named."""
        return tuple(dict.fromkeys(name[2:] for name in self.names if name != OUTSIDE))

    def numbers(self) -> dict[str, int]:
        """Tag to output, for every tag of the scheme; for one that the head lacks, that for the inside of its type."""
        own = {name: number for number, name in enumerate(self.names)}
        any_of = {name[2:]: number for name, number in reversed(own.items())}
        inside = LETTERS[self.scheme][1]
        return {
            tag: own.get(tag, own.get(f"{inside}-{tag[2:]}", any_of[tag[2:]]))
            for tag in tag_names(self.types, self.scheme)
        }

    def named(self, types: Sequence[str], more: bool = False) -> Tags | None:
        """The same outputs with another spelling of their types; None if these are not the same but for case.

        Args:
            more: the outputs may have further types.
        """
        spelled, own = {kind.casefold(): kind for kind in types}, sorted(kind.casefold() for kind in self.types)
        if not set(spelled) <= set(own) or (own != sorted(spelled) and not more):
            return None
        names = (
            name if name == OUTSIDE else f"{name[:2]}{spelled.get(name[2:].casefold(), name[2:])}"
            for name in self.names
        )
        return Tags(tuple(names), self.scheme)


def head_names(id2label: Mapping[int, str]) -> tuple[str, ...]:
    """What a model's configuration calls its outputs, in their order."""
    return tuple(id2label[index] for index in sorted(id2label))


def read_head(names: Sequence[str]) -> Tags:
    """The tags that outputs are named after.

    Heads trained on IOB1 may have no output for a type's B, since nothing in their data had that tag.

    Raises:
        RequestError: they are not named after tags of one scheme, with O among them.
    """
    found = next((scheme for scheme in LETTERS if all(is_tag(name, scheme) for name in names)), None)
    if found is None or OUTSIDE not in names or len(names) < 2:
        shown = ", ".join(names[:8]) + (", which answers --kind mrc" if "start" in names else "")
        raise RequestError(
            f"Expected a head whose labels are tags such as O, B-PER and I-PER, got {shown}: fine-tune the model "
            "on this task first, or name its labels in its order with --head-labels."
        )
    tags = Tags(tuple(names), found)
    if found == "BIO" and any(f"B-{kind}" not in names for kind in tags.types):
        return Tags(tuple(names), "IOB1")
    return tags


def has_tags(names: Sequence[str]) -> bool:
    """Whether outputs are named after tags of one scheme."""
    try:
        read_head(names)
    except RequestError:
        return False
    return True
