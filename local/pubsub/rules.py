"""What real Pub/Sub refuses, and with which status.

Sources: the field comments of google.pubsub.v1 (pubsub.proto) and https://cloud.google.com/pubsub/quotas.
One exception for the laptop: a push endpoint may be plain http.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from google.pubsub_v1.types import pubsub

from local.pubsub.errors import InvalidArgument, Unimplemented
from local.pubsub.filters import parse_filter
from local.pubsub.resources import DEFAULT_MAX_BACKOFF_S, DEFAULT_MIN_BACKOFF_S, seconds

MAX_REQUEST_BYTES = 10_000_000
MAX_MESSAGES = 1000
MAX_ATTRIBUTES = 100
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 1024
MAX_LABELS = 64
_ID = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_MINUTES_10_S = 600.0
_DAYS_31_S = 31 * 24 * 3600.0
_DAY_S = 24 * 3600.0


def check_project(name: str) -> None:
    """Raises InvalidArgument unless the name is projects/PROJECT."""
    if not re.fullmatch(r"projects/[^/]+", name):
        raise InvalidArgument(f"Invalid [project] name: (name={name})")


def check_name(collection: str, name: str) -> None:
    """Raises InvalidArgument unless the name is projects/PROJECT/COLLECTION/ID with an id that Pub/Sub allows."""
    parts = name.split("/")
    if (
        len(parts) != 4
        or parts[0] != "projects"
        or not parts[1]
        or parts[2] != collection
        or not _ID.fullmatch(parts[3])
    ):
        raise InvalidArgument(f"Invalid [{collection}] name: (name={name})")


def check_topic(topic: pubsub.Topic) -> None:
    """Raises a Refusal for a topic that the service would not create."""
    raw = pubsub.Topic.pb(topic)
    check_name("topics", raw.name)
    check_labels(raw.labels)
    if raw.HasField("message_retention_duration"):
        _within("message_retention_duration", seconds(raw.message_retention_duration), _MINUTES_10_S, _DAYS_31_S)
    for feature in ("schema_settings", "ingestion_data_source_settings"):
        if raw.HasField(feature):
            raise Unimplemented(f"{feature} is not part of this local Pub/Sub.")
    if raw.message_transforms:
        raise Unimplemented("message_transforms is not part of this local Pub/Sub.")


def check_subscription(subscription: pubsub.Subscription) -> None:
    """Raises a Refusal for a subscription that the service would not create."""
    raw = pubsub.Subscription.pb(subscription)
    check_name("subscriptions", raw.name)
    check_labels(raw.labels)
    check_ack_deadline(raw.ack_deadline_seconds)
    parse_filter(raw.filter)
    if raw.HasField("message_retention_duration"):
        _within("message_retention_duration", seconds(raw.message_retention_duration), _MINUTES_10_S, _DAYS_31_S)
    if raw.expiration_policy.HasField("ttl"):
        _within("expiration_policy.ttl", seconds(raw.expiration_policy.ttl), _DAY_S, float("inf"))
    if raw.HasField("dead_letter_policy"):
        _check_dead_letter_policy(raw.dead_letter_policy)
    if raw.HasField("retry_policy"):
        _check_retry_policy(raw.retry_policy)
    for feature in ("bigquery_config", "cloud_storage_config", "bigtable_config"):
        if raw.HasField(feature):
            raise Unimplemented(f"{feature} is not part of this local Pub/Sub.")
    if raw.message_transforms or raw.enable_exactly_once_delivery or raw.retain_acked_messages:
        raise Unimplemented("Transforms, exactly-once delivery and seek are not part of this local Pub/Sub.")
    check_push_config(subscription.push_config)


def check_ack_deadline(value_s: int) -> None:
    """Raises InvalidArgument unless the deadline is 10..600 s, or 0 for the default."""
    if value_s != 0:
        _within("ack_deadline_seconds", value_s, 10, 600)


def check_push_config(config: pubsub.PushConfig) -> None:
    """Raises InvalidArgument for an endpoint that is no http(s) URL and for a token without an account."""
    raw = pubsub.PushConfig.pb(config)
    if not raw.push_endpoint:
        if raw.HasField("oidc_token") or raw.HasField("no_wrapper"):
            raise InvalidArgument("The push_config has no push_endpoint.")
        return
    if not _is_web_address(raw.push_endpoint):
        raise InvalidArgument(f"Invalid push endpoint given (endpoint={raw.push_endpoint}).")
    if raw.HasField("oidc_token") and "@" not in raw.oidc_token.service_account_email:
        raise InvalidArgument("Invalid service account given (service_account_email).")


def check_messages(messages: Iterable[pubsub.PubsubMessage], request_bytes: int) -> None:
    """Raises InvalidArgument for a publish request that is empty, too large, or holds a message the service refuses."""
    raws = [pubsub.PubsubMessage.pb(message) for message in messages]
    if not raws:
        raise InvalidArgument("The publish request contains no messages.")
    if len(raws) > MAX_MESSAGES:
        raise InvalidArgument(f"The value for message_count is too large. The maximum value is {MAX_MESSAGES}.")
    if request_bytes > MAX_REQUEST_BYTES:
        raise InvalidArgument(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")
    if len({raw.ordering_key for raw in raws}) > 1:
        raise InvalidArgument("All messages in a publish request must have the same ordering key.")
    for raw in raws:
        if not raw.data and not raw.attributes:
            raise InvalidArgument("One or more messages in the publish request is empty.")
        if len(raw.ordering_key.encode()) > MAX_VALUE_BYTES:
            raise InvalidArgument(f"The ordering key is longer than {MAX_VALUE_BYTES} bytes.")
        _check_attributes(raw.attributes)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidArgument for labels outside https://cloud.google.com/pubsub/docs/create-topic-subscription-labels."""
    if len(labels) > MAX_LABELS:
        raise InvalidArgument(f"More than {MAX_LABELS} labels.")
    for key, value in labels.items():
        if not key[:1].isalpha() or not _label_text(key) or not _label_text(value):
            raise InvalidArgument(f"Invalid label: {key}={value}")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _label_text(text: str) -> bool:
    return len(text) <= 63 and text == text.lower() and all(c.isalnum() or c in "_-" for c in text)


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidArgument(f"A message has more than {MAX_ATTRIBUTES} attributes.")
    for key, value in attributes.items():
        # Clients add tracing attributes of their own under googclient_; every other goog* key is reserved.
        reserved = key.startswith("goog") and not key.startswith("googclient_")
        if not key or reserved or len(key.encode()) > MAX_KEY_BYTES:
            raise InvalidArgument(f"Invalid attribute key: {key!r}")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise InvalidArgument(f"The value of attribute {key!r} is longer than {MAX_VALUE_BYTES} bytes.")


def _check_dead_letter_policy(policy: pubsub.DeadLetterPolicy) -> None:
    check_name("topics", policy.dead_letter_topic)
    if policy.max_delivery_attempts != 0:
        _within("max_delivery_attempts", policy.max_delivery_attempts, 5, 100)


def _check_retry_policy(policy: pubsub.RetryPolicy) -> None:
    shortest = seconds(policy.minimum_backoff) if policy.HasField("minimum_backoff") else DEFAULT_MIN_BACKOFF_S
    longest = seconds(policy.maximum_backoff) if policy.HasField("maximum_backoff") else DEFAULT_MAX_BACKOFF_S
    _within("minimum_backoff", shortest, 0, 600)
    _within("maximum_backoff", longest, 0, 600)
    if shortest > longest:
        raise InvalidArgument("minimum_backoff must not be larger than maximum_backoff.")


def _within(field: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InvalidArgument(f"Invalid {field} given: {value:g} is not between {lowest:g} and {highest:g}.")
