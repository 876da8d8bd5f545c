"""Topics and subscriptions: kept in the database, mirrored in memory. The broker's lock guards every call."""

import sqlite3

from google.pubsub_v1.types import pubsub

from local.pubsub.errors import AlreadyExists, NotFound
from local.pubsub.resources import DELETED_TOPIC, Subscription, read_subscription


class Registry:
    """The resources by name. Changes are written inside the transaction that the caller has opened."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._topics: dict[str, bytes] = dict(database.execute("SELECT name, body FROM topics"))
        self._bodies: dict[str, bytes] = dict(database.execute("SELECT name, body FROM subscriptions"))
        self._facts = {name: read_subscription(self.subscription(name)) for name in self._bodies}

    def create_topic(self, topic: pubsub.Topic) -> None:
        if topic.name in self._topics:
            raise AlreadyExists(f"Resource already exists in the project (resource={_short(topic.name)}).")
        self.put_topic(topic)

    def put_topic(self, topic: pubsub.Topic) -> None:
        body = pubsub.Topic.serialize(topic)
        self._db.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (topic.name, body))
        self._topics[topic.name] = body

    def topic(self, name: str) -> pubsub.Topic:
        self.need_topic(name)
        topic: pubsub.Topic = pubsub.Topic.deserialize(self._topics[name])
        return topic

    def need_topic(self, name: str) -> None:
        """Raises NotFound when the topic does not exist."""
        if name not in self._topics:
            raise _missing(name)

    def has_topic(self, name: str) -> bool:
        return name in self._topics

    def topics(self, project: str) -> list[str]:
        return sorted(name for name in self._topics if name.startswith(project + "/"))

    def delete_topic(self, name: str) -> None:
        """Removes the topic; its subscriptions stay, with what they still owe, and name a deleted topic."""
        self.need_topic(name)
        for orphan in self.subscriptions_of(name):
            body = self.subscription(orphan.name)
            body.topic = DELETED_TOPIC
            self.put_subscription(body)
        self._db.execute("DELETE FROM topics WHERE name = ?", (name,))
        del self._topics[name]

    def create_subscription(self, subscription: pubsub.Subscription) -> None:
        if subscription.name in self._bodies:
            raise AlreadyExists(f"Resource already exists in the project (resource={_short(subscription.name)}).")
        self.need_topic(subscription.topic)
        if "dead_letter_policy" in subscription:
            self.need_topic(subscription.dead_letter_policy.dead_letter_topic)
        self.put_subscription(subscription)

    def put_subscription(self, subscription: pubsub.Subscription) -> None:
        facts = read_subscription(subscription)
        body = pubsub.Subscription.serialize(subscription)
        self._db.execute("INSERT OR REPLACE INTO subscriptions VALUES (?, ?)", (subscription.name, body))
        self._bodies[subscription.name] = body
        self._facts[subscription.name] = facts

    def subscription(self, name: str) -> pubsub.Subscription:
        if name not in self._bodies:
            raise _missing(name)
        subscription: pubsub.Subscription = pubsub.Subscription.deserialize(self._bodies[name])
        return subscription

    def facts(self, name: str) -> Subscription:
        if name not in self._facts:
            raise _missing(name)
        return self._facts[name]

    def all_facts(self) -> list[Subscription]:
        return list(self._facts.values())

    def subscriptions(self, project: str) -> list[str]:
        return sorted(name for name in self._bodies if name.startswith(project + "/"))

    def subscriptions_of(self, topic: str) -> list[Subscription]:
        return [facts for facts in self._facts.values() if facts.topic == topic]

    def delete_subscription(self, name: str) -> None:
        self.facts(name)
        self._db.execute("DELETE FROM subscriptions WHERE name = ?", (name,))
        del self._bodies[name], self._facts[name]


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _missing(name: str) -> NotFound:
    return NotFound(f"Resource not found (resource={_short(name)}).")
