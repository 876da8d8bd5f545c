"""The SQLite file that holds everything, so that a killed server goes on where it stopped."""

import sqlite3
from pathlib import Path

_VERSION = 1
_SCHEMA = """
CREATE TABLE topics (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE subscriptions (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    data BLOB NOT NULL,
    attributes TEXT NOT NULL,
    ordering_key TEXT NOT NULL,
    published REAL NOT NULL
);
-- One row for each message that a subscription still owes. `due` is when it may be sent again or, while it is
-- leased, when the lease ends. `lease` counts up, so that a late answer to an older lease settles nothing.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    message INTEGER NOT NULL REFERENCES messages (id),
    ordering_key TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0,
    lease INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    expires REAL NOT NULL
);
CREATE INDEX deliveries_ready ON deliveries (subscription, leased, due);
CREATE INDEX deliveries_leases ON deliveries (leased, due);
CREATE INDEX deliveries_due ON deliveries (due);
CREATE INDEX deliveries_expires ON deliveries (expires);
CREATE INDEX deliveries_message ON deliveries (message);
CREATE INDEX deliveries_order ON deliveries (subscription, ordering_key, id) WHERE ordering_key != '';
CREATE TRIGGER forget_message AFTER DELETE ON deliveries
WHEN NOT EXISTS (SELECT 1 FROM deliveries WHERE message = OLD.message)
BEGIN DELETE FROM messages WHERE id = OLD.message; END;
"""


class StateRefused(Exception):
    """The state folder cannot be used: another server holds it, or another version wrote it."""


def open_database(folder: Path) -> sqlite3.Connection:
    """The database of a state folder, made if missing and held by this process alone.

    Every commit survives the death of the process (write-ahead log); the lock ends with the process.
    The caller guards the connection with a lock of its own. Raises StateRefused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / "pubsub.sqlite3", timeout=2, check_same_thread=False)
    try:
        _prepare(database, folder)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, folder: Path) -> None:
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        # A write takes the exclusive lock now instead of with the first message.
        database.execute("BEGIN IMMEDIATE")
        database.rollback()
    except sqlite3.OperationalError as error:
        raise StateRefused(f"{folder} is in use by another Pub/Sub server ({error}).") from error
    if version not in (0, _VERSION):
        raise StateRefused(f"{folder} was written by another version of this server; remove the folder to start anew.")
