"""The deployment's topics and subscriptions as an operator sees them, and sending a kept message once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ops.errors import OpsError

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Subscription:
    """What matters of a push subscription. `dead_letter_topic` is a full topic name, or empty."""

    topic: str
    push_endpoint: str
    ack_deadline_s: int
    dead_letter_topic: str
    max_delivery_attempts: int


class Topics(Protocol):
    """What the commands need of Pub/Sub. All raise OpsError."""

    def topic_exists(self, name: str) -> bool:
        """Whether there is a topic of this full name."""

    def subscription(self, name: str) -> Subscription | None:
        """A subscription by its full name, or None."""

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Send one message to a topic by its full name, and wait for the result."""


class PubSubTopics:
    """Pub/Sub through the generated clients. `host` (of an emulator) means an insecure channel."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._cached: tuple[Any, Any] | None = None

    def _clients(self) -> tuple[Any, Any]:
        if self._cached is None:
            from google.pubsub_v1 import PublisherClient, SubscriberClient

            if self._host:
                import grpc
                from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
                from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

                channel = grpc.insecure_channel(self._host)
                self._cached = (
                    PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
                    SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
                )
            else:
                self._cached = (PublisherClient(), SubscriberClient())
        return self._cached

    def close(self) -> None:
        """Close the connections, if there are any."""
        for client in self._cached or ():
            client.transport.close()

    def _call(self, what: str, call: Any, **request: Any) -> Any:
        from google.api_core import exceptions

        try:
            return call(request=request, timeout=TIMEOUT_S, retry=None)
        except exceptions.NotFound:
            return None
        except exceptions.GoogleAPIError as error:
            raise OpsError(f"Pub/Sub did not {what}: {type(error).__name__}") from error

    def topic_exists(self, name: str) -> bool:
        """See Topics."""
        return self._call("show a topic", self._clients()[0].get_topic, topic=name) is not None

    def subscription(self, name: str) -> Subscription | None:
        """See Topics."""
        found = self._call("show a subscription", self._clients()[1].get_subscription, subscription=name)
        if found is None:
            return None
        return Subscription(
            topic=found.topic,
            push_endpoint=found.push_config.push_endpoint,
            ack_deadline_s=found.ack_deadline_seconds,
            dead_letter_topic=found.dead_letter_policy.dead_letter_topic,
            max_delivery_attempts=found.dead_letter_policy.max_delivery_attempts,
        )

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """See Topics. Safe to repeat: handlers decide from facts, so a second message finds the work done."""
        message = {"data": data, "attributes": dict(attributes)}
        if self._call("take a message", self._clients()[0].publish, topic=topic, messages=[message]) is None:
            raise OpsError(f"There is no topic {topic}", "python -m ops doctor says what is missing")
