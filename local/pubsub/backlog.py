"""Messages and what each subscription still owes of them: the SQL. The broker's lock guards every call."""

import json
import math
import sqlite3
from collections.abc import Iterable

from local.pubsub.resources import Delivery, Draft, Lease, Message, Subscription

_READY = """
SELECT d.id, d.lease, d.failures, d.message
FROM deliveries d
WHERE d.subscription = ? AND d.leased = 0 AND d.due <= ? AND d.expires > ?
  AND (d.ordering_key = '' OR NOT EXISTS (
        SELECT 1 FROM deliveries e
        WHERE e.subscription = d.subscription AND e.ordering_key != ''
          AND e.ordering_key = d.ordering_key AND e.id < d.id))
ORDER BY d.due, d.id LIMIT ?
"""


class Backlog:
    """Rows of messages and deliveries. Changes belong to the transaction that the caller has opened."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._last_id: int = database.execute("SELECT COALESCE(MAX(id), 0) FROM messages").fetchone()[0]

    def add(self, draft: Draft, takers: Iterable[tuple[Subscription, int]], now: float) -> int:
        """Keeps the message for each subscription, as often as its number says; returns the message id.

        Ids are microseconds since the epoch, counted up where they would collide, so they are unique over restarts
        and over fresh state folders.
        """
        self._last_id = max(self._last_id + 1, int(now * 1e6))
        rows = [
            (facts.name, self._last_id, draft.ordering_key if facts.ordered else "", now, now + facts.retention_s)
            for facts, copies in takers
            for _ in range(copies)
        ]
        if rows:
            attributes = json.dumps(dict(draft.attributes), ensure_ascii=False)
            message = (self._last_id, draft.data, attributes, draft.ordering_key, now)
            self._db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", message)
            insert = "INSERT INTO deliveries (subscription, message, ordering_key, due, expires) VALUES (?, ?, ?, ?, ?)"
            self._db.executemany(insert, rows)
        return self._last_id

    def take(
        self, subscription: str, limit: int, lease_s: float, now: float, max_bytes: float = math.inf
    ) -> list[Delivery]:
        """Leases up to `limit` deliveries that are due; of an ordering key only the oldest one.

        Together they hold at most `max_bytes` of data, except that the first is taken whatever its size.
        """
        taken: list[Delivery] = []
        for delivery, lease, failures, message_id in self._db.execute(
            _READY, (subscription, now, now, limit)
        ).fetchall():
            message = self._message(message_id)
            max_bytes -= len(message.data)
            if taken and max_bytes < 0:
                break
            self._db.execute(
                "UPDATE deliveries SET leased = 1, lease = lease + 1, due = ? WHERE id = ?", (now + lease_s, delivery)
            )
            taken.append(Delivery(Lease(delivery, lease + 1), subscription, failures + 1, message))
        return taken

    def _message(self, message_id: int) -> Message:
        row = self._db.execute(
            "SELECT data, attributes, ordering_key, published FROM messages WHERE id = ?", (message_id,)
        )
        data, attributes, ordering_key, published_s = row.fetchone()
        return Message(message_id, bytes(data), json.loads(attributes), ordering_key, published_s)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still running."""
        found = self._db.execute(
            "SELECT 1 FROM deliveries WHERE id = ? AND lease = ? AND leased = 1", (lease.delivery, lease.number)
        )
        return found.fetchone() is not None

    def remove(self, lease: Lease) -> None:
        """Forgets the delivery; safe to repeat because a void lease matches no row."""
        self._db.execute(
            "DELETE FROM deliveries WHERE id = ? AND lease = ? AND leased = 1", (lease.delivery, lease.number)
        )

    def extend(self, lease: Lease, until: float) -> None:
        self._db.execute(
            "UPDATE deliveries SET due = ? WHERE id = ? AND lease = ? AND leased = 1",
            (until, lease.delivery, lease.number),
        )

    def free(self, lease: Lease, due: float) -> None:
        """Ends the lease as a failed attempt; the delivery is due again at `due`."""
        self._db.execute(
            "UPDATE deliveries SET leased = 0, failures = failures + 1, due = ? WHERE id = ?", (due, lease.delivery)
        )

    def held(self, lease: Lease) -> tuple[str, int, Message] | None:
        """Subscription, failures so far and message of a running lease; None when the lease is void."""
        row = self._db.execute(
            "SELECT subscription, failures, message FROM deliveries WHERE id = ? AND lease = ? AND leased = 1",
            (lease.delivery, lease.number),
        ).fetchone()
        if row is None:
            return None
        subscription, failures, message_id = row
        return subscription, failures, self._message(message_id)

    def overdue(self, now: float) -> list[Lease]:
        """Leases whose deadline has passed."""
        rows = self._db.execute("SELECT id, lease FROM deliveries WHERE leased = 1 AND due <= ?", (now,))
        return [Lease(*row) for row in rows]

    def drop_expired(self, now: float) -> int:
        """Forgets what is older than its subscription's retention; returns how many deliveries that were."""
        return self._db.execute("DELETE FROM deliveries WHERE expires <= ?", (now,)).rowcount

    def drop_subscription(self, subscription: str) -> None:
        self._db.execute("DELETE FROM deliveries WHERE subscription = ?", (subscription,))

    def release(self, subscription: str, now: float) -> None:
        """Makes what was under way when the last server ended due at once; not a failed attempt."""
        self._db.execute(
            "UPDATE deliveries SET leased = 0, due = ? WHERE subscription = ? AND leased = 1", (now, subscription)
        )

    def next_due(self, now: float, subscription: str = "") -> float | None:
        """The next moment after `now` at which a delivery falls due or a lease ends; seconds since the epoch."""
        if subscription:
            row = self._db.execute(
                "SELECT MIN(due) FROM deliveries WHERE subscription = ? AND due > ?", (subscription, now)
            )
        else:
            row = self._db.execute("SELECT MIN(due) FROM deliveries WHERE due > ?", (now,))
        due: float | None = row.fetchone()[0]
        return due
