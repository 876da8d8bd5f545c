"""Messages: what our topics carry, what a push delivery looks like, and publishing."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from orchestrator.errors import NewerVersion, Unavailable, UnreadableMessage
from orchestrator.identities import OwnObject, RunId

VERSION = 1
# The attempt stands in a fact's name; Pub/Sub counts to 100 at most.
_MOST_ATTEMPTS = 1000
_STAGE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_JOB_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class Delivery:
    """One push of one message (https://cloud.google.com/pubsub/docs/push#receive_push)."""

    message_id: str
    published: datetime
    attempt: int
    subscription: str
    attributes: Mapping[str, str]
    data: bytes

    def json(self) -> dict[str, Any]:
        """The data as a JSON object; raises UnreadableMessage."""
        try:
            content = json.loads(self.data)
        except (ValueError, RecursionError) as error:
            raise UnreadableMessage("The message's data is not JSON") from error
        if not isinstance(content, dict):
            raise UnreadableMessage("The message's data is not a JSON object")
        return content


@dataclass(frozen=True)
class StageRequested:
    """Go on with this run at this stage. Says nothing of what to do: that is decided from the facts."""

    run: RunId
    stage: str

    def encode(self) -> bytes:
        """As it is published."""
        body = {"version": VERSION, "kind": "stage_requested", "run": str(self.run), "stage": self.stage}
        return json.dumps(body).encode()


@dataclass(frozen=True)
class JobEndHint:
    """A CustomJob may have ended: a line of its service log, which names the job by its number only."""

    job_number: str


@dataclass(frozen=True)
class ObjectHint:
    """An object appeared under endings/ or batch/: a job's last word, its phase, or a shard of predictions."""

    object: OwnObject

    @property
    def claims_an_end(self) -> bool:
        """A result or error file is a job's last act; a phase or a shard claims nothing."""
        return self.object.rest.endswith(("/result.json", "/error.json"))

    @property
    def phase(self) -> str | None:
        """The status that a phase file names."""
        match = re.fullmatch(r"[^/]+/phase-([A-Z_]+)\.json", self.object.rest)
        return match[1] if match else None


@dataclass(frozen=True)
class LastWord:
    """A job said by a message of its own that it is done, or somebody else wants the run looked at now."""

    run: RunId

    def encode(self) -> bytes:
        """As it is published."""
        return json.dumps({"version": VERSION, "kind": "job_ended", "run": str(self.run)}).encode()


@dataclass(frozen=True)
class Tick:
    """The scheduled sweep."""


Hint = JobEndHint | ObjectHint | LastWord | Tick


def read_envelope(body: bytes) -> object:
    """The JSON of a push request; None if it is none, which `read_delivery` then calls unreadable."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def read_delivery(envelope: object) -> Delivery:
    """The delivery in a push body; raises UnreadableMessage. A message may have attributes and no data."""
    message = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(message, dict):
        raise UnreadableMessage("The request is no Pub/Sub push envelope: it has no object `message`")
    attributes = message.get("attributes") or {}
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
        published = datetime.fromisoformat(message.get("publishTime") or message.get("publish_time") or "")
        attempt = int(envelope.get("deliveryAttempt") or 0)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        # Without the error's own words: they would carry the sender's into our log.
        raise UnreadableMessage("The push envelope is malformed: data, publishTime or deliveryAttempt") from None
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise UnreadableMessage("The push envelope is malformed: attributes are texts by name")
    if published.tzinfo is None:
        raise UnreadableMessage("The push envelope is malformed: publishTime has no time zone")
    named = message.get("messageId") or message.get("message_id")
    subscription = envelope.get("subscription")
    return Delivery(
        message_id=re.sub(r"[^A-Za-z0-9_-]", "-", named)[:64] if isinstance(named, str) else "none",
        published=published,
        attempt=min(max(attempt, 0), _MOST_ATTEMPTS),
        subscription=subscription if isinstance(subscription, str) else "",
        attributes=attributes,
        data=data,
    )


def read_stage_requested(delivery: Delivery) -> StageRequested:
    """The stage event in a delivery; raises UnreadableMessage or NewerVersion."""
    body = delivery.json()
    _check_version(body)
    run, stage = _run(body), body.get("stage")
    if (
        body.get("kind") != "stage_requested"
        or run is None
        or not isinstance(stage, str)
        or not _STAGE.fullmatch(stage)
    ):
        raise UnreadableMessage("The message is no stage event: it needs kind stage_requested, run and stage")
    return StageRequested(run, stage)


def read_hint(delivery: Delivery) -> Hint | None:
    """The hint in a delivery to job-state; None for one that is none of ours to act on.

    Raises UnreadableMessage for a shape nobody sends. Shapes: a log entry of Cloud Logging's sink
    (https://cloud.google.com/logging/docs/export/pubsub), a storage notification
    (https://cloud.google.com/storage/docs/pubsub-notifications), a reconcile tick, a job's own last word.
    """
    if "eventType" in delivery.attributes and "objectId" in delivery.attributes:
        own = OwnObject.parse(delivery.attributes["objectId"])
        is_new = delivery.attributes["eventType"] == "OBJECT_FINALIZE"
        return ObjectHint(own) if own and is_new else None
    body = delivery.json()
    if isinstance(resource := body.get("resource"), dict):
        labels = resource.get("labels")
        number = labels.get("job_id") if isinstance(labels, dict) else None
        is_number = isinstance(number, str) and _JOB_NUMBER.fullmatch(number)
        return JobEndHint(str(number)) if resource.get("type") == "ml_job" and is_number else None
    _check_version(body)
    if body.get("kind") == "reconcile":
        return Tick()
    run = _run(body)
    if body.get("kind") == "job_ended" and run:
        return LastWord(run)
    raise UnreadableMessage("The message is no hint: no log entry, storage notification, tick or job_ended")


def _run(body: Mapping[str, Any]) -> RunId | None:
    named = body.get("run")
    return RunId.parse(named) if isinstance(named, str) else None


def _check_version(body: Mapping[str, Any]) -> None:
    version = body.get("version")
    if not isinstance(version, int):
        raise UnreadableMessage("The message has no version")
    if version > VERSION:
        raise NewerVersion(f"A message of version {version} is newer than this code (version {VERSION})")


class Publisher(Protocol):
    """What the handlers need of Pub/Sub."""

    def publish(self, topic: str, data: bytes) -> None:
        """Publish and wait for the result; raises Unavailable (the message may have been sent all the same)."""


class PubSub:
    """Pub/Sub's publisher. `PUBSUB_EMULATOR_HOST` is honoured.

    The generated client, not the batching one: that goes on sending in a background thread after its time-out, and
    a serverless instance is frozen between requests.
    """

    def __init__(self, topic_name: Callable[[str], str], deadline_s: float) -> None:
        self._topic_name, self._deadline_s = topic_name, deadline_s
        self._cached: Any = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._cached is not None:
            self._cached.transport.close()

    def _client(self) -> Any:
        if self._cached is None:
            import os

            from google.pubsub_v1 import PublisherClient

            if host := os.environ.get("PUBSUB_EMULATOR_HOST"):
                import grpc
                from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

                options = [("grpc.max_reconnect_backoff_ms", 1000)]
                channel = grpc.insecure_channel(host, options=options)
                self._cached = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            else:
                self._cached = PublisherClient()
        return self._cached

    def publish(self, topic: str, data: bytes) -> None:
        """See Publisher. Safe to repeat: handlers decide from facts, so a second message finds the work done."""
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type

        retry = Retry(predicate=if_exception_type(exceptions.ServiceUnavailable), timeout=self._deadline_s / 2)
        request = {"topic": self._topic_name(topic), "messages": [{"data": data}]}
        try:
            self._client().publish(request=request, timeout=self._deadline_s / 2, retry=retry)
        except exceptions.GoogleAPIError as error:
            raise Unavailable(f"Pub/Sub did not take a message for {topic}: {type(error).__name__}") from error
