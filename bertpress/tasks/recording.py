"""Records made of what files hold: named, mended, kept on disk, and told what was strange about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.tasks.data import without_halves
from bertpress.tasks.stored import stored_rows

if TYPE_CHECKING:
    from datasets import Dataset

Tally = Counter[str]
"""how often something was strange or had to be mended"""


def name_of(given: str | None, number: int, place: str, seen: set[str]) -> str:
    """The id of a record, by its number in the file where none is given; it joins those `seen`.

    Raises:
        RequestError: an id that was seen.
    """
    name = without_halves(given or f"row-{number}")[0]
    if name in seen:
        raise RequestError(f"Expected different ids, but {place} has '{name}' again: rename it.")
    seen.add(name)
    return name


def mended(text: str, tally: Tally) -> str:
    """A text that can be written as UTF-8; counted as `halves` where it could not."""
    result, halved = without_halves(text)
    tally["halves"] += halved
    return result


def stored_records(
    key: Sequence[str],
    types: Mapping[str, str],
    found: Callable[[], Iterable[Any]],
    records_of: Callable[[Iterable[Any], Tally], Iterator[dict[str, Any]]],
) -> tuple[Dataset, Tally]:
    """Records, which memory does not hold, and how often something was strange about them.

    Args:
        key: all that they depend on.
        types: column to Arrow type.
        found: what files hold, from the first.
        records_of: makes records of that, and counts.
    """
    tally: Tally = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        tally.clear()
        return records_of(found(), tally)

    def counts() -> Iterator[dict[str, Any]]:
        if not tally:  # the records were made by a process that did not come so far
            for _ in rows():
                pass
        yield {"names": list(tally), "counts": list(tally.values())}

    records = stored_rows("records", key, types, rows)
    (told,) = stored_rows("records", (*key, "counts"), {"names": "list<string>", "counts": "list<int64>"}, counts)
    return records, Counter(dict(zip(told["names"], told["counts"], strict=True)))


def remarks_on(split: str, tally: Tally, remarks: Mapping[str, str]) -> list[str]:
    """What is told about the records of a split.

    Args:
        remarks: what is counted to a text that has a place for its number.
    """
    return [f"{split}: {text.format(tally[name])}" for name, text in remarks.items() if tally[name]]
