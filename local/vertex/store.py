"""The stand-in's memory: resources, their earlier versions (for lists that lag) and notes about them, in SQLite."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc

from local.vertex.refusal import Refused

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, collection TEXT NOT NULL,
    body BLOB NOT NULL, notes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, resource INTEGER NOT NULL, collection TEXT NOT NULL,
    at REAL NOT NULL, body BLOB);
CREATE INDEX IF NOT EXISTS versions_by_collection ON versions (collection, resource, number);
CREATE TABLE IF NOT EXISTS data_items (
    dataset TEXT NOT NULL, digest TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (dataset, digest));
"""
# Of one resource, the newest version that is old enough to be seen; a deletion is a version without a body.
AS_OF = """
SELECT body FROM versions WHERE number IN
    (SELECT max(number) FROM versions WHERE collection = ? AND at <= ? GROUP BY resource)
AND body IS NOT NULL ORDER BY resource DESC
"""

Message = TypeVar("Message")


@dataclass(frozen=True)
class Codec(Generic[Message]):
    """How messages of one type become bytes and come back."""

    to_bytes: Callable[[Message], bytes]
    from_bytes: Callable[[bytes], Message]


class Store:
    """One SQLite file. Every write is committed when it returns, so a kill loses nothing that was answered."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._within = False
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)
        with self.transaction() as run:  # nobody lists across a restart with the lag of before
            run("DELETE FROM versions WHERE number NOT IN (SELECT max(number) FROM versions GROUP BY resource)")

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Give exclusive use of the file; what was run is committed together, or not at all after an error.

        One inside another is part of it.
        """
        with self._lock:
            if self._within:
                yield self._connection.execute
                return
            self._within = True
            try:
                with self._connection:
                    yield self._connection.execute
            finally:
                self._within = False

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class Table(Generic[Message]):
    """The resources of one collection."""

    def __init__(self, store: Store, collection: str, codec: Codec[Message]) -> None:
        self._store = store
        self._collection = collection
        self._codec = codec

    def add(self, name: str, resource: Message, notes: dict[str, Any] | None = None) -> None:
        """Add a resource; refuse a name that exists."""
        body = self._codec.to_bytes(resource)
        try:
            with self._store.transaction() as run:
                added = run(
                    "INSERT INTO resources (name, collection, body, notes) VALUES (?, ?, ?, ?)",
                    (name, self._collection, body, json.dumps(notes or {})),
                )
                self._add_version(run, added.lastrowid, body)
        except sqlite3.IntegrityError as error:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"{name} already exists.") from error

    def get(self, name: str) -> Message:
        """Return a resource as it is now; refuse a name that does not exist."""
        with self._store.transaction() as run:
            return self._codec.from_bytes(self._row(run, name)[1])

    def exists(self, name: str) -> bool:
        """Say whether there is a resource of this name."""
        with self._store.transaction() as run:
            return run("SELECT 1 FROM resources WHERE name = ?", (name,)).fetchone() is not None

    def change(self, name: str, update: Callable[[Message], bool | None]) -> Message:
        """Change a resource in one step that nothing comes between; an `update` that returns False changes nothing."""
        with self._store.transaction() as run:
            number, old = self._row(run, name)
            resource = self._codec.from_bytes(old)
            if update(resource) is False:
                return self._codec.from_bytes(old)
            body = self._codec.to_bytes(resource)
            run("UPDATE resources SET body = ? WHERE number = ?", (body, number))
            self._add_version(run, number, body)
            return resource

    def delete(self, name: str) -> None:
        """Delete a resource; refuse a name that does not exist."""
        with self._store.transaction() as run:
            number, _ = self._row(run, name)
            run("DELETE FROM resources WHERE number = ?", (number,))
            self._add_version(run, number, None)

    def notes(self, name: str) -> dict[str, Any]:
        """Return what was noted about a resource; nothing for one that does not exist."""
        with self._store.transaction() as run:
            row = run("SELECT notes FROM resources WHERE name = ?", (name,)).fetchone()
            return json.loads(row[0]) if row else {}

    def note(self, name: str, **notes: Any) -> None:
        """Add to what is noted about a resource."""
        with self._store.transaction() as run:
            merged = self.notes(name) | notes
            run("UPDATE resources SET notes = ? WHERE name = ?", (json.dumps(merged), name))

    def listed(self, lag_s: float = 0.0, holding: Iterable[bytes] = ()) -> list[Message]:
        """Return the resources, newest first, as a list showed them `lag_s` seconds ago; of them only those whose bytes
        hold each of `holding`."""
        with self._store.transaction() as run:
            if lag_s:
                rows = run(AS_OF, (self._collection, time.time() - lag_s)).fetchall()
            else:
                query = "SELECT body FROM resources WHERE collection = ? ORDER BY number DESC"
                rows = run(query, (self._collection,)).fetchall()
        wanted = tuple(holding)
        return [self._codec.from_bytes(body) for (body,) in rows if all(part in body for part in wanted)]

    def _row(self, run: Callable[..., sqlite3.Cursor], name: str) -> tuple[int, bytes]:
        query = "SELECT number, body FROM resources WHERE name = ? AND collection = ?"
        row = run(query, (name, self._collection)).fetchone()
        if row is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"The resource {name} is not found.")
        return row[0], row[1]

    def _add_version(self, run: Callable[..., sqlite3.Cursor], number: int | None, body: bytes | None) -> None:
        run(
            "INSERT INTO versions (resource, collection, at, body) VALUES (?, ?, ?, ?)",
            (number, self._collection, time.time(), body),
        )
