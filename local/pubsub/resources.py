"""What the server knows of a subscription and of a message, as plain values read from the API's types."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import pubsub

from local.pubsub.errors import InvalidArgument
from local.pubsub.filters import Filter, parse_filter

DELETED_TOPIC = "_deleted-topic_"
DEFAULT_ACK_DEADLINE_S = 10
DEFAULT_RETENTION_S = 7 * 24 * 3600.0
DEFAULT_MIN_BACKOFF_S = 10.0
DEFAULT_MAX_BACKOFF_S = 600.0
DEFAULT_MAX_ATTEMPTS = 5
# Real Pub/Sub redelivers "as soon as possible" without a retry policy; Google's emulator pushes again each second.
PUSH_DELAY_WITHOUT_POLICY_S = 1.0


@dataclass(frozen=True)
class Draft:
    """A message as its publisher gave it."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str


@dataclass(frozen=True)
class Message:
    """A published message; `published_s` is seconds since the epoch."""

    id: int
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str
    published_s: float


@dataclass(frozen=True)
class Lease:
    """The right to settle one delivery; void once the delivery was leased again or its deadline passed."""

    delivery: int
    number: int

    @property
    def ack_id(self) -> str:
        return base64.urlsafe_b64encode(f"lease:{self.delivery}:{self.number}".encode()).decode()

    @classmethod
    def of(cls, ack_id: str) -> "Lease":
        """The lease of an ack id; raises InvalidArgument for one that this server never made."""
        try:
            word, delivery, number = (
                base64.b64decode(ack_id.encode(), altchars=b"-_", validate=True).decode().split(":")
            )
            if word != "lease":
                raise ValueError(word)
            return cls(int(delivery), int(number))
        except ValueError as error:
            raise InvalidArgument(f"You have passed an invalid ack ID to the service (ack_id={ack_id}).") from error


@dataclass(frozen=True)
class Delivery:
    """One message on its way to one subscription, leased; `attempt` counts from 1."""

    lease: Lease
    subscription: str
    attempt: int
    message: Message


@dataclass(frozen=True)
class PushTarget:
    """Where and how a subscription pushes. `service_account` is empty when no token is to be sent."""

    endpoint: str
    service_account: str
    audience: str
    unwrapped: bool
    write_metadata: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port of the endpoint: the audience that Cloud Run's front door accepts."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True)
class Subscription:
    """The facts of a subscription that deliveries follow; all times in seconds."""

    name: str
    topic: str
    push: PushTarget | None
    ack_deadline_s: int
    retention_s: float
    ordered: bool
    matches: Filter
    dead_letter_topic: str
    max_attempts: int
    min_backoff_s: float
    max_backoff_s: float

    def retry_delay_s(self, failures: int) -> float:
        """How long to wait after the `failures`-th failed attempt: min * 2^(failures-1), at most max."""
        return float(min(self.min_backoff_s * 2 ** min(failures - 1, 60), self.max_backoff_s))


def seconds(duration: Duration) -> float:
    """A protobuf duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def read_subscription(resource: pubsub.Subscription) -> Subscription:
    """The facts of a subscription that has passed the rules, with the service's defaults filled in."""
    raw = pubsub.Subscription.pb(resource)
    push = _push_target(raw.push_config) if raw.push_config.push_endpoint else None
    if raw.HasField("retry_policy"):
        policy = raw.retry_policy
        shortest = seconds(policy.minimum_backoff) if policy.HasField("minimum_backoff") else DEFAULT_MIN_BACKOFF_S
        longest = seconds(policy.maximum_backoff) if policy.HasField("maximum_backoff") else DEFAULT_MAX_BACKOFF_S
    else:
        shortest = longest = PUSH_DELAY_WITHOUT_POLICY_S if push else 0.0
    retention_s = seconds(raw.message_retention_duration)
    return Subscription(
        name=raw.name,
        topic=raw.topic,
        push=push,
        ack_deadline_s=raw.ack_deadline_seconds or DEFAULT_ACK_DEADLINE_S,
        retention_s=retention_s or DEFAULT_RETENTION_S,
        ordered=raw.enable_message_ordering,
        matches=parse_filter(raw.filter),
        dead_letter_topic=raw.dead_letter_policy.dead_letter_topic,
        max_attempts=raw.dead_letter_policy.max_delivery_attempts or DEFAULT_MAX_ATTEMPTS,
        min_backoff_s=shortest,
        max_backoff_s=longest,
    )


def _push_target(config: pubsub.PushConfig) -> PushTarget:
    return PushTarget(
        endpoint=config.push_endpoint,
        service_account=config.oidc_token.service_account_email,
        audience=config.oidc_token.audience or config.push_endpoint,
        unwrapped=config.HasField("no_wrapper"),
        write_metadata=config.no_wrapper.write_metadata,
    )
