"""The heart: one lock, one database; publishing, leasing, settling, and what happens to a failed attempt."""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from google.pubsub_v1.types import pubsub

from local.pubsub.backlog import Backlog
from local.pubsub.errors import FailedPrecondition, Unavailable
from local.pubsub.registry import Registry
from local.pubsub.resources import Delivery, Draft, Lease, Message, Subscription

# Clients that were pointed at an emulator take answers of at most 4 MiB, gRPC's default.
_PULL_BYTES = 3_500_000
_log = logging.getLogger(__name__)


class Broker:
    """Every public method is one transaction; `changed` is notified after each, and it is the lock of all state.

    `clock` gives seconds since the epoch. With `duplicate`, each message is owed twice to every push subscription.
    """

    def __init__(
        self, database: sqlite3.Connection, clock: Callable[[], float] = time.time, duplicate: bool = False
    ) -> None:
        self.changed = threading.Condition()
        self.stopping = False
        self.clock = clock
        self._db = database
        self._copies_for_push = 2 if duplicate else 1
        self._registry = Registry(database)
        self._backlog = Backlog(database)
        with self._change():
            for facts in self.push_subscriptions():
                self._backlog.release(facts.name, clock())

    @contextmanager
    def _change(self) -> Iterator[Registry]:
        with self.changed:
            if self.stopping:
                raise Unavailable("The server is stopping.")
            with self._db:
                yield self._registry
            self.changed.notify_all()

    @contextmanager
    def reading(self) -> Iterator[Registry]:
        """The resources, under the lock."""
        with self.changed:
            yield self._registry

    def create_topic(self, topic: pubsub.Topic) -> None:
        with self._change() as registry:
            registry.create_topic(topic)

    def update_topic(self, name: str, change: Callable[[pubsub.Topic], None]) -> pubsub.Topic:
        """Applies the change to the topic; what `change` raises leaves it as it was."""
        with self._change() as registry:
            topic = registry.topic(name)
            change(topic)
            registry.put_topic(topic)
            return topic

    def delete_topic(self, name: str) -> None:
        with self._change() as registry:
            registry.delete_topic(name)

    def create_subscription(self, subscription: pubsub.Subscription) -> None:
        with self._change() as registry:
            registry.create_subscription(subscription)

    def update_subscription(self, name: str, change: Callable[[pubsub.Subscription], None]) -> pubsub.Subscription:
        """Applies the change to the subscription; what `change` raises leaves it as it was."""
        with self._change() as registry:
            subscription = registry.subscription(name)
            change(subscription)
            if "dead_letter_policy" in subscription:
                registry.need_topic(subscription.dead_letter_policy.dead_letter_topic)
            registry.put_subscription(subscription)
            return subscription

    def delete_subscription(self, name: str) -> None:
        with self._change() as registry:
            registry.delete_subscription(name)
            self._backlog.drop_subscription(name)

    def push_subscriptions(self) -> list[Subscription]:
        with self.changed:
            return [facts for facts in self._registry.all_facts() if facts.push]

    def pull_subscription(self, name: str) -> Subscription:
        """The facts of a subscription that may be pulled; raises NotFound or FailedPrecondition."""
        with self.changed:
            facts = self._registry.facts(name)
        if facts.push:
            raise FailedPrecondition("This method is not supported for this subscription type.")
        return facts

    def publish(self, topic: str, drafts: Sequence[Draft]) -> list[int]:
        """Message ids in the order of the drafts, once every subscription is sure to get them."""
        with self._change() as registry:
            registry.need_topic(topic)
            return [self._fan_out(topic, draft) for draft in drafts]

    def _fan_out(self, topic: str, draft: Draft) -> int:
        takers = [
            (facts, self._copies_for_push if facts.push else 1)
            for facts in self._registry.subscriptions_of(topic)
            if facts.matches(draft.attributes)
        ]
        return self._backlog.add(draft, takers, self.clock())

    def take(
        self, subscription: str, limit: int, lease_s: float, now: float, max_bytes: float = math.inf
    ) -> list[Delivery]:
        """Leases what is due at `now`; announced, because the end of a lease is a moment that the sweep must meet."""
        with self.changed:
            if self.stopping:
                return []
            with self._db:
                taken = self._backlog.take(subscription, limit, lease_s, now, max_bytes)
            if taken:
                self.changed.notify_all()
            return taken

    def wait_and_take(
        self, subscription: str, limit: int, deadline: float | None = None, lease_s: int | None = None
    ) -> list[Delivery]:
        """Leases what a pull subscription owes; if that is nothing, waits once and looks again.

        The wait ends with any change, the next due moment, or `deadline` (seconds since the epoch). The lease is the
        subscription's ack deadline unless given. Raises NotFound or FailedPrecondition as pull_subscription does.
        """
        with self.changed:
            for last_look in (False, True):
                facts = self.pull_subscription(subscription)
                now = self.clock()
                lease_s = lease_s or facts.ack_deadline_s
                taken = self.take(subscription, limit, lease_s, now, _PULL_BYTES) if limit > 0 else []
                if taken or last_look or self.stopping:
                    return taken
                moments = [each for each in (self.next_due(now, subscription), deadline) if each is not None]
                self.changed.wait(max(min(moments) - now, 0) if moments else None)
        return []

    def wake(self) -> None:
        """Makes everybody who waits look again, for instance because a client has left."""
        with self.changed:
            self.changed.notify_all()

    def dead_letters(self, subscription: str) -> bool:
        """Whether the subscription has a dead-letter policy."""
        with self.changed:
            return bool(self._registry.facts(subscription).dead_letter_topic)

    def acknowledge(self, leases: Iterable[Lease]) -> None:
        """Done for ever. Safe to repeat; a void lease (its deadline has passed) settles nothing."""
        with self._change():
            for lease in leases:
                self._backlog.remove(lease)

    def extend(self, leases: Iterable[Lease], lease_s: float) -> None:
        """The leases end `lease_s` seconds from now."""
        with self._change():
            for lease in leases:
                self._backlog.extend(lease, self.clock() + lease_s)

    def refuse(self, leases: Iterable[Lease]) -> None:
        """A failed attempt each: again after the backoff, or to the dead-letter topic. Void leases change nothing."""
        with self._change():
            for lease in leases:
                self._fail(lease)

    def running(self, leases: Iterable[Lease]) -> set[Lease]:
        """Those of the leases that still run."""
        with self.changed:
            return set() if self.stopping else {lease for lease in leases if self._backlog.holds(lease)}

    def sweep(self, now: float) -> list[Lease]:
        """Fails every lease whose deadline has passed and forgets what is too old; returns the failed leases."""
        with self.changed:
            overdue = self._backlog.overdue(now)
            with self._db:
                for lease in overdue:
                    self._fail(lease)
                dropped = self._backlog.drop_expired(now)
            if overdue:
                self.changed.notify_all()
        if dropped:
            _log.warning("%d deliveries are past their retention and were dropped", dropped)
        return overdue

    def next_due(self, now: float, subscription: str = "") -> float | None:
        """The next moment after `now` with something to do, in all or in one subscription."""
        with self.changed:
            return self._backlog.next_due(now, subscription)

    def stop(self) -> None:
        """From now on nothing is leased or changed; everybody who waits is woken."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def _fail(self, lease: Lease) -> None:
        held = self._backlog.held(lease)
        if held is None:
            return
        name, failures, message = held
        facts = self._registry.facts(name)
        attempts = failures + 1
        if facts.dead_letter_topic and attempts >= facts.max_attempts:
            if self._registry.has_topic(facts.dead_letter_topic):
                self._fan_out(facts.dead_letter_topic, _dead_letter(facts, message, attempts))
                self._backlog.remove(lease)
                _log.warning("%s: message %d goes to %s", name, message.id, facts.dead_letter_topic)
                return
            # As in the cloud: what cannot be forwarded stays with the subscription.
            _log.error("%s: the dead-letter topic %s does not exist", name, facts.dead_letter_topic)
        self._backlog.free(lease, self.clock() + facts.retry_delay_s(attempts))


def _dead_letter(facts: Subscription, message: Message, attempts: int) -> Draft:
    """The message as Pub/Sub forwards it: body unchanged, its origin in attributes."""
    _, project, _, name = facts.name.split("/")
    published = datetime.fromtimestamp(message.published_s, UTC).isoformat(timespec="milliseconds")
    origin = {
        "CloudPubSubDeadLetterSourceDeliveryCount": str(attempts),
        "CloudPubSubDeadLetterSourceSubscription": name,
        "CloudPubSubDeadLetterSourceSubscriptionProject": project,
        "CloudPubSubDeadLetterSourceTopicPublishTime": published,
    }
    return Draft(message.data, {**message.attributes, **origin}, message.ordering_key)
