"""Rows that are made once, kept on disk and read from there: memory stays the same whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bertpress.files import cache_root, digest, held, new_file

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_AT_ONCE = 1000


def stored_rows(
    kind: str, key: Sequence[str], types: Mapping[str, str], rows: Callable[[], Iterable[Mapping[str, Any]]]
) -> Dataset:
    """The rows that `rows` gives, from the cache if they were made before; one process makes them, others wait.

    Args:
        kind: a folder of the cache.
        key: all that the rows depend on.
        types: column to Arrow type: string, int32, list<int32>, ...
        rows: called only if they have to be made.
    """
    from datasets import Dataset

    file = cache_root() / kind / f"{digest(*(part.encode() for part in key))[:24]}.arrow"
    if not file.is_file():
        with held(file.with_suffix(".lock")):
            if not file.is_file():  # another process may have made it meanwhile
                _write(file, types, iter(rows()))
    return Dataset.from_file(str(file))


def _write(file: Any, types: Mapping[str, str], rows: Iterator[Mapping[str, Any]]) -> None:
    import pyarrow

    schema = pyarrow.schema([(name, arrow_type(text)) for name, text in types.items()])
    with new_file(file) as temporary, pyarrow.ipc.new_stream(str(temporary), schema) as stream:
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            columns = {name: [row.get(name) for row in chunk] for name in types}
            stream.write_table(pyarrow.table(columns, schema=schema))


def arrow_type(text: str) -> Any:
    """The Arrow type that a text names; ``list<T>`` holds values of another one."""
    import pyarrow

    if text.startswith("list<"):
        return pyarrow.list_(arrow_type(text.removeprefix("list<").removesuffix(">")))
    return pyarrow.type_for_alias(text)
