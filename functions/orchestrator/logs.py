"""Structured logs: one JSON line a decision, as Cloud Logging reads it from standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

# What may stand in a log line. Anything else is refused, so that no body, header or secret slips in by a keyword.
FIELDS = frozenset(
    {"run", "stage", "job", "attempt", "claim", "name", "state", "status", "pipeline", "topic", "reason"}
) | {
    "error_type",
    "seconds",
    "count",
    "kind",
    "delivery",
    "message_id",
    "http_status",
    "path",
}
# Cloud Logging joins lines that carry the trace of one request.
# https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
_trace: ContextVar[str] = ContextVar("trace", default="")


def begin_request(traceparent: str, project: str) -> None:
    """Remember the request's trace (W3C `traceparent`) for the lines logged while it is handled."""
    parts = traceparent.split("-")
    valid = len(parts) >= 3 and len(parts[1]) == 32 and all(c in "0123456789abcdef" for c in parts[1])
    _trace.set(f"projects/{project}/traces/{parts[1]}" if valid else "")


Sink = Callable[[str, str, Mapping[str, object]], None]
_sink: Sink | None = None


def redirect(sink: Sink | None) -> None:
    """Hand this process's lines to `sink` (severity, message, fields) instead of writing them; None ends it."""
    global _sink
    _sink = sink


def log(severity: str, message: str, **fields: object) -> None:
    """Write one line. Field names come from an allow-list; an unknown one is a programming error."""
    if unknown := fields.keys() - FIELDS:
        raise ValueError(f"log fields not on the allow-list: {sorted(unknown)}")
    if _sink is not None:
        _sink(severity, message, fields)
        return
    line: dict[str, object] = {"severity": severity, "message": message, "time": datetime.now(UTC).isoformat()}
    if trace := _trace.get():
        line["logging.googleapis.com/trace"] = trace
    line.update({key: value if isinstance(value, int | float) else str(value) for key, value in fields.items()})
    # Half a surrogate pair (JSON can carry one) cannot be written as UTF-8: it is shown as its number.
    text = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    # One write of the whole line: two threads' lines must not join.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def info(message: str, **fields: object) -> None:
    """A decision was taken."""
    log("INFO", message, **fields)


def warning(message: str, **fields: object) -> None:
    """Something is off and will be tried again or was put right."""
    log("WARNING", message, **fields)


def error(message: str, **fields: object) -> None:
    """A run failed or a message could not be served."""
    log("ERROR", message, **fields)


def critical(message: str, **fields: object) -> None:
    """The deployment itself is broken: a person must act."""
    log("CRITICAL", message, **fields)
