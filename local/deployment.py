"""The deployment on this machine: names, topics, push subscriptions and the clock, as Terraform lays them out.

The names, deadlines and policies are those of a real deployment, with the times shortened.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.api_core.exceptions import GoogleAPIError
from google.pubsub_v1 import PublisherClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

log = logging.getLogger(__name__)

PROJECT = "local-project"
REGION = "us-central1"
DEPLOYMENT = "local"
BUCKET = "local-model-training"
PUSH_ACCOUNT = f"push@{PROJECT}.iam.gserviceaccount.com"

# The topics' suffixes, each with the function that its push subscription wakes.
HANDLERS = {
    "etl": "etl",
    "train": "train",
    "inference": "inference",
    "custom": "custom",
    "job-state": "job_state",
    "dead-letter": "dead_letter",
}
FUNCTIONS = ("coordinator", *HANDLERS.values())
STORAGE_EVENTS = "storage"
# Only a job's last word, its phases and batch predictions concern the job_state function.
STORAGE_FILTER = 'hasPrefix(attributes.objectId, "endings/") OR hasPrefix(attributes.objectId, "batch/")'

ACK_DEADLINE_S = 10
MINIMUM_BACKOFF_S, MAXIMUM_BACKOFF_S = 1, 10
MAX_DELIVERY_ATTEMPTS = 20
RETENTION = timedelta(days=7)
CALL_TIMEOUT_S = 10.0


def topic_id(name: str) -> str:
    """The id of one of the deployment's topics by its suffix."""
    return f"{DEPLOYMENT}-{name}"


def topic_path(name: str) -> str:
    """The full name of one of the deployment's topics by its suffix."""
    return f"projects/{PROJECT}/topics/{topic_id(name)}"


@dataclass(frozen=True)
class PushSubscription:
    """One topic's way to one function.

    `filter` is Pub/Sub's attribute filter; without `dead_letters` a message is tried until its retention ends.
    """

    topic: str
    function: str
    suffix: str = "push"
    filter: str = ""
    dead_letters: bool = True

    def resource(self, origin: str) -> types.Subscription:
        """As Pub/Sub takes it; the token's audience is the function's own origin, as Cloud Run's door demands."""
        return types.Subscription(
            name=f"projects/{PROJECT}/subscriptions/{topic_id(self.topic)}-{self.suffix}",
            topic=topic_path(self.topic),
            push_config=types.PushConfig(
                push_endpoint=origin + "/",
                oidc_token=types.PushConfig.OidcToken(service_account_email=PUSH_ACCOUNT, audience=origin),
            ),
            ack_deadline_seconds=ACK_DEADLINE_S,
            message_retention_duration=RETENTION,
            expiration_policy=types.ExpirationPolicy(),
            retry_policy=types.RetryPolicy(
                minimum_backoff=timedelta(seconds=MINIMUM_BACKOFF_S),
                maximum_backoff=timedelta(seconds=MAXIMUM_BACKOFF_S),
            ),
            dead_letter_policy=self._dead_letter_policy(),
            filter=self.filter,
        )

    def _dead_letter_policy(self) -> types.DeadLetterPolicy | None:
        if not self.dead_letters:
            return None
        return types.DeadLetterPolicy(
            dead_letter_topic=topic_path("dead-letter"), max_delivery_attempts=MAX_DELIVERY_ATTEMPTS
        )


def push_subscriptions(*, duplicate: bool = False) -> Iterator[PushSubscription]:
    """Every subscription of a deployment; `duplicate` doubles each, so that every message comes twice."""
    for suffix in ("push", "push-again") if duplicate else ("push",):
        for topic, function in HANDLERS.items():
            yield PushSubscription(topic, function, suffix, dead_letters=topic != "dead-letter")
        yield PushSubscription(STORAGE_EVENTS, "job_state", suffix, filter=STORAGE_FILTER)


class Topics:
    """The deployment's topics at a Pub/Sub host: laid out, and published to as Google's own services do."""

    def __init__(self, pubsub_host: str) -> None:
        # A kept channel would go on failing for seconds after the server came back.
        self._channel = grpc.insecure_channel(pubsub_host, options=[("grpc.max_reconnect_backoff_ms", 500)])
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def lay_out(self, origins: Mapping[str, str], *, duplicate: bool = False) -> None:
        """Create every topic and push subscription; `origins` says where each function serves."""
        for name in (*HANDLERS, STORAGE_EVENTS):
            self._publisher.create_topic(request={"name": topic_path(name)}, timeout=CALL_TIMEOUT_S)
        for subscription in push_subscriptions(duplicate=duplicate):
            resource = subscription.resource(origins[subscription.function])
            self.subscriber.create_subscription(request=resource, timeout=CALL_TIMEOUT_S)

    def publish(self, name: str, data: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish one message. May send it twice: a publish that timed out can still arrive."""
        message = types.PubsubMessage(data=json.dumps(data).encode(), attributes=attributes)
        request = {"topic": topic_path(name), "messages": [message]}
        self._publisher.publish(request=request, timeout=CALL_TIMEOUT_S)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class Clock:
    """What Cloud Scheduler does: publishes the reconcile tick every `period_s` seconds, from a thread of its own."""

    def __init__(self, topics: Topics, period_s: float) -> None:
        self._topics = topics
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Start ticking; the first tick comes after one period."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            try:
                self._topics.publish("job-state", {"version": 1, "kind": "reconcile"}, {"kind": "reconcile"})
            except GoogleAPIError as error:
                if not self._stopped.is_set():
                    log.warning("a tick was not sent: %s", type(error).__name__)

    def stop(self) -> None:
        """No tick comes after this. Safe to repeat."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(CALL_TIMEOUT_S)
