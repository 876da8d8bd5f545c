"""The HTTP request of a push, as real Pub/Sub sends it (https://cloud.google.com/pubsub/docs/push)."""

import base64
import json
from datetime import UTC, datetime

from local.pubsub.resources import Delivery, Message, PushTarget, Subscription

_AGENT = "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"


def push_request(facts: Subscription, target: PushTarget, delivery: Delivery) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the request, without Authorization."""
    headers = {"User-Agent": _AGENT, "From": "noreply@google.com", "Accept": "application/json", "Connection": "close"}
    if not target.unwrapped:
        return _wrapped(facts, delivery), {**headers, "Content-Type": "application/json"}
    if target.write_metadata:
        headers |= _metadata(delivery)
    return delivery.message.data, headers


def _wrapped(facts: Subscription, delivery: Delivery) -> bytes:
    """The JSON envelope. Empty fields are left out, and deliveryAttempt stands only beside a dead-letter policy."""
    message = delivery.message
    content: dict[str, object] = {}
    if message.attributes:
        content["attributes"] = dict(message.attributes)
    if message.data:
        content["data"] = base64.b64encode(message.data).decode()
    content["messageId"] = content["message_id"] = str(message.id)
    content["publishTime"] = content["publish_time"] = _publish_time(message)
    if message.ordering_key:
        content["orderingKey"] = message.ordering_key
    envelope: dict[str, object] = {"message": content, "subscription": delivery.subscription}
    if facts.dead_letter_topic:
        envelope["deliveryAttempt"] = delivery.attempt
    return json.dumps(envelope, ensure_ascii=False).encode()


def _metadata(delivery: Delivery) -> dict[str, str]:
    """Headers of an unwrapped push with write_metadata (https://cloud.google.com/pubsub/docs/payload-unwrapping)."""
    message = delivery.message
    metadata = {
        "X-Goog-Pubsub-Subscription-Name": delivery.subscription,
        "X-Goog-Pubsub-Message-Id": str(message.id),
        "X-Goog-Pubsub-Publish-Time": _publish_time(message),
    }
    if message.ordering_key:
        metadata["X-Goog-Pubsub-Ordering-Key"] = message.ordering_key
    return {**_header_safe(message), **metadata}


def _header_safe(message: Message) -> dict[str, str]:
    """The attributes that can stand in an HTTP header; the others are left out."""
    return {
        key: value
        for key, value in message.attributes.items()
        if key.isascii() and key.isprintable() and not set(key) & set(" :") and value.isascii() and value.isprintable()
    }


def _publish_time(message: Message) -> str:
    moment = datetime.fromtimestamp(message.published_s, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
