"""Fresh addresses for rows whose signed URL expired while the job was reading, from a new export of the model run.

The addresses of a new export wait on disk, so memory stays flat. Safe in threads: one of them makes the export, the
others wait for it.
"""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from jobkit.errors import JobError
from jobkit.export import ExportRow
from jobkit.progress import say

RENEW_AFTER_S = 300.0  # an export younger than this is not made again
MAX_USELESS = 2  # exports in a row that opened nothing: the rows are refused for another reason


class FreshUrls:
    """Gives refused rows their newest address. Use as a context manager: the file on disk goes with it."""

    def __init__(self, export: Callable[[], Iterable[ExportRow]], renew_after_s: float | None = None) -> None:
        self._export = export
        self._renew_after_s = RENEW_AFTER_S if renew_after_s is None else renew_after_s
        self._folder = tempfile.TemporaryDirectory()
        self._table = sqlite3.connect(
            Path(self._folder.name) / "urls.sqlite", isolation_level=None, check_same_thread=False
        )
        self._table.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE urls (row TEXT PRIMARY KEY, url TEXT NOT NULL) WITHOUT ROWID;"
        )
        self._lock = threading.Lock()
        self._made = float("-inf")
        self._useless = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._folder.cleanup()

    def of(self, row: ExportRow) -> str | None:
        """Another address than the row's own; None where there is none, or no export gives any that opens."""
        with self._lock:
            if time.monotonic() - self._made > self._renew_after_s and self._useless < MAX_USELESS:
                self._renew()
            found = self._table.execute("SELECT url FROM urls WHERE row = ?", (row.data_row_id,)).fetchone()
        return str(found[0]) if found and found[0] != row.row_data else None

    def opened(self) -> None:
        """Notes that a new address was worth its export."""
        with self._lock:
            self._useless = 0

    def _renew(self) -> None:
        say("Signed URLs were refused; exporting again for fresh ones")
        self._useless += 1
        try:
            self._table.execute("BEGIN")
            self._table.executemany("INSERT OR REPLACE INTO urls VALUES (?, ?)", self._addresses())
            self._table.execute("COMMIT")
        except JobError as error:  # the rows are then skipped for what they are: refused
            self._table.execute("ROLLBACK")
            say("No fresh URLs could be had", severity="WARNING", reason=error.sentence)
        self._made = time.monotonic()

    def _addresses(self) -> Iterator[tuple[str, str]]:
        for row in self._export():
            if row.data_row_id and row.row_data.startswith(("http://", "https://")):
                yield row.data_row_id, row.row_data
