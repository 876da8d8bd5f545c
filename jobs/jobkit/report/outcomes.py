"""How each row of a run came out, one line a row, so that a later run can be compared with it row by row.

A line tells the row's split, a digest of its content and of its labels, and right, wrong and missed answers. Contents
and labels themselves are not in it.
"""

import hashlib
import json
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from jobkit.json_lines import dumps, loads
from jobkit.manifest import ManifestRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row. `truth` is empty for a row without a label; then the counts are 0.

    tp, fp, fn   answers (classes, entities or boxes) that are right, wrong, missed
    """

    data_row_id: str
    split: str
    content: str
    truth: str = ""
    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def right(self) -> bool:
        """Wholly right."""
        return not self.fp and not self.fn

    @property
    def f1(self) -> float:
        """1 where nothing is labelled and nothing was said."""
        every = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / every if every else 1.0

    def to_line(self) -> bytes:
        """The row as one line of JSON."""
        counts = [self.tp, self.fp, self.fn]
        return dumps([self.data_row_id, self.split, self.content, self.truth, counts])

    @classmethod
    def from_line(cls, line: str | bytes) -> "Outcome":
        """Reads what to_line wrote."""
        ident, split, content, truth, (tp, fp, fn) = loads(line)
        return cls(ident, split, content, truth, tp, fp, fn)


def digest(text: str) -> str:
    """Eleven characters that two different texts do not share by accident (64 bits)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Outcomes:
    """Takes rows while they pass, and gives them again. They wait on disk; memory does not grow with them."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        self.rows = 0
        weakref.finalize(self, self._file.close)

    def add(self, row: ManifestRow, truth: object, tp: int, fp: int, fn: int) -> None:
        """Notes a labelled row; `truth` is its label in any form that json can write."""
        written = json.dumps(truth, sort_keys=True, default=str)
        self._write(Outcome(row.data_row_id, row.split, digest(row.content), digest(written), tp, fp, fn))

    def add_unlabelled(self, row: ManifestRow) -> None:
        """Notes a row that is not evaluated: it may still have been trained on."""
        self._write(Outcome(row.data_row_id, row.split, digest(row.content)))

    def _write(self, outcome: Outcome) -> None:
        self._file.write(outcome.to_line() + b"\n")
        self.rows += 1

    def __iter__(self) -> Iterator[Outcome]:
        self._file.seek(0)
        for line in self._file:
            yield Outcome.from_line(line)
        self._file.seek(0, 2)
