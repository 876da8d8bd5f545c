"""What the stand-in has been told, in one SQLite file, so that a restart goes on where it stopped."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, config TEXT, metadata TEXT NOT NULL DEFAULT '{}', error_message TEXT, status TEXT,
    deleted INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS statuses (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, status TEXT NOT NULL, error_message TEXT,
    metadata TEXT, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS splits (run TEXT, data_row TEXT, split TEXT NOT NULL, PRIMARY KEY (run, data_row));
CREATE TABLE IF NOT EXISTS removed (run TEXT, data_row TEXT, PRIMARY KEY (run, data_row));
CREATE TABLE IF NOT EXISTS accepted (
    run TEXT, kind TEXT, key TEXT, data_row TEXT NOT NULL, PRIMARY KEY (run, kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS imports (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, UNIQUE (kind, parent, name));
CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def now_text() -> str:
    """This moment as Labelbox writes it, 2026-11-22T20:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """The stand-in's memory. Every method is one transaction; safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA synchronous=OFF;" + _SCHEMA)  # a killed process loses nothing without it

    def close(self) -> None:
        """Close the file. Safe to repeat because closing a closed connection does nothing."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; one thread at a time; transactions inside it join it."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The rows of one SELECT."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    # Settings and the signing key

    def setting(self, name: str) -> object:
        """A stored value, or None."""
        found = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return json.loads(str(found[0][0])) if found else None

    def keep_setting(self, name: str, value: object) -> None:
        """Write a value over the former one."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def signing_key(self) -> bytes:
        """The key of signed URLs: made once, so that links outlive a restart."""
        with self.transaction():
            key = self.setting("signing_key") or secrets.token_hex(16)
            self.keep_setting("signing_key", key)
        return bytes.fromhex(str(key))

    # Splits and data rows

    def assign_splits(self, run: str, split: str, data_rows: Iterable[str]) -> None:
        """Set the split of data rows of a run. Safe to repeat because the last assignment wins."""
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO splits VALUES (?, ?, ?)", ((run, row, split) for row in data_rows))
            self._count_change(run)

    def remove_rows(self, run: str, data_rows: Iterable[str]) -> None:
        """Take data rows out of a run. Safe to repeat because a removed row stays removed."""
        with self.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO removed VALUES (?, ?)", ((run, row) for row in data_rows))
            self._count_change(run)

    def splits(self, run: str) -> dict[str, str]:
        """Assigned splits by data row id (rows that were never assigned are not in it)."""
        return {str(row): str(split) for row, split in self.rows("SELECT data_row, split FROM splits WHERE run=?", run)}

    def removed(self, run: str) -> frozenset[str]:
        """Data rows that were taken out of a run."""
        return frozenset(str(row) for (row,) in self.rows("SELECT data_row FROM removed WHERE run = ?", run))

    def row_changes(self, run: str) -> int:
        """A number that grows whenever splits or rows of a run change (what is cached for another number is stale)."""
        found = self.setting(f"row_changes.{run}")
        return found if isinstance(found, int) else 0

    def _count_change(self, run: str) -> None:
        self.keep_setting(f"row_changes.{run}", self.row_changes(run) + 1)

    # Predictions that were accepted

    def accept(self, run: str, kind: str, keys: Sequence[tuple[str, str]]) -> None:
        """Record accepted rows as (key, data row id). Safe to repeat because a key is counted once."""
        with self.transaction() as db:
            rows = ((run, kind, key, data_row) for key, data_row in keys)
            db.executemany("INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?)", rows)

    def accepted_keys(self, run: str, kind: str) -> dict[str, set[str]]:
        """Accepted keys by data row id."""
        found: dict[str, set[str]] = {}
        for key, row in self.rows("SELECT key, data_row FROM accepted WHERE run = ? AND kind = ?", run, kind):
            found.setdefault(str(row), set()).add(str(key))
        return found

    def accepted_counts(self, run: str) -> dict[str, int]:
        """How many predictions, metrics and data rows with predictions a run has."""
        query = "SELECT kind, count(*) FROM accepted WHERE run = ? GROUP BY kind"
        kinds = {str(kind): count for kind, count in self.rows(query, run)}
        rows = self.rows("SELECT count(DISTINCT data_row) FROM accepted WHERE run = ? AND kind = 'prediction'", run)
        counts = {
            "predictions": kinds.get("prediction", 0),
            "metrics": kinds.get("metric", 0),
            "prediction_rows": rows[0][0],
        }
        return {name: int(str(count)) for name, count in counts.items()}

    # Imports and tasks

    def add_import(self, identity: str, kind: str, parent: str, name: str, body: Mapping[str, object]) -> bool:
        """Record an import; False when the parent has one of that name already."""
        with self.transaction() as db:
            made = db.execute(
                "INSERT OR IGNORE INTO imports SELECT ?, coalesce(max(sequence), 0) + 1, ?, ?, ?, ? FROM imports",
                (identity, kind, parent, name, json.dumps(body)),
            )
            return made.rowcount == 1

    def update_import(self, identity: str, body: Mapping[str, object]) -> None:
        """Write an import's new state over the former one."""
        with self.transaction() as db:
            db.execute("UPDATE imports SET body = ? WHERE id = ?", (json.dumps(body), identity))

    def imports(self, kind: str, parent: str) -> list[dict[str, object]]:
        """The imports of a run or project, oldest first, as {id, name, ...body}."""
        query = "SELECT id, name, body FROM imports WHERE kind = ? AND parent = ? ORDER BY sequence"
        return [{"id": i, "name": name, **json.loads(str(body))} for i, name, body in self.rows(query, kind, parent)]

    def keep_task(self, identity: str, body: Mapping[str, object]) -> None:
        """Record a task, or its new state."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?)", (identity, json.dumps(body)))

    def task(self, identity: str) -> dict[str, object] | None:
        """A recorded task, or None."""
        found = self.rows("SELECT body FROM tasks WHERE id = ?", identity)
        if not found:
            return None
        body = json.loads(str(found[0][0]))
        assert isinstance(body, dict)
        return body
