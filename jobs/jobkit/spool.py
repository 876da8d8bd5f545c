"""Rows that wait on disk until all were seen, so that memory stays flat however many there are.

Only this process reads what it wrote, so they wait in Python's own compact form, which is quicker than JSON.
"""

import marshal
import tempfile
from collections.abc import Iterator
from typing import IO, Any

BATCH = 256  # rows that are written together
_SIZE = 8  # bytes before each batch that say how long it is


class Spool:
    """A file of rows (lists of texts, numbers, lists and dictionaries); it is gone once closed."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._batch: list[list[Any]] = []

    def close(self) -> None:
        """Frees the file."""
        self._file.close()

    def add(self, row: list[Any]) -> None:
        """Puts one row behind the others."""
        self._batch.append(row)
        if len(self._batch) == BATCH:
            self._write()

    def _write(self) -> None:
        data = marshal.dumps(self._batch)
        self._file.write(len(data).to_bytes(_SIZE, "big"))
        self._file.write(data)
        self._batch = []

    def rows(self) -> Iterator[list[Any]]:
        """All rows from the first on. None may be added meanwhile."""
        self._write()
        self._file.seek(0)
        while size := self._file.read(_SIZE):
            yield from marshal.loads(self._file.read(int.from_bytes(size, "big")))  # noqa: S302 - our own bytes
