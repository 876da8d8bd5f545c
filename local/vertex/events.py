"""The log sink: a custom job's last service log line, published to the topic that a real sink would feed."""

import json
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotSentInTime
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from google.api_core.exceptions import GoogleAPIError

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 5.0


def log_entry(project: str, job_id: str, text: str, at: datetime) -> dict[str, Any]:
    """Return the LogEntry as JSON. "Job failed." has severity INFO in reality too, and a log's name differs per job."""
    return {
        "insertId": uuid.uuid4().hex[:16],
        "logName": f"projects/{project}/logs/ml.googleapis.com%2F{job_id}",
        "resource": {
            "type": "ml_job",
            "labels": {"job_id": job_id, "project_id": project, "task_name": "service"},
        },
        "severity": "INFO",
        "textPayload": text,
        "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "receiveTimestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


class LogSink:
    """Publishes through the real client, to where PUBSUB_EMULATOR_HOST says; without a topic nothing is published."""

    def __init__(self, project: str, topic: str | None) -> None:
        self._project = project
        self._topic = topic
        self._lock = Lock()
        self._client: Any = None

    def announce(self, job_id: str, text: str, at: datetime, stopping: Callable[[], bool]) -> bool:
        """Publish a job's end, and try until it is sent; say False when the stand-in stops before.

        May send twice: a publish that timed out may still arrive, as with the real sink.
        """
        if self._topic is None:
            return True
        data = json.dumps(log_entry(self._project, job_id, text, at)).encode()
        while not stopping():
            try:
                self._publisher().publish(self._topic, data).result(timeout=SEND_TIMEOUT_S)
            except (GoogleAPIError, NotSentInTime) as error:
                log.warning("the end of job %s is not published yet: %s", job_id, error)
                continue
            return True
        return False

    def close(self) -> None:
        """Send what waits and close the client."""
        with self._lock:
            if self._client is not None:
                self._client.stop()
                self._client.transport.close()
                self._client = None

    def _publisher(self) -> Any:
        with self._lock:
            if self._client is None:
                from google.cloud import pubsub_v1  # type: ignore[attr-defined]

                self._client = pubsub_v1.PublisherClient()
            return self._client
