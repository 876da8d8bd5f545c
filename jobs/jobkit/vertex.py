"""Vertex AI as jobs reach it: where it is, and waiting for its long-running operations, whose end nothing announces."""

import os
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from google.api_core import exceptions as google_errors
from google.api_core.client_options import ClientOptions
from google.api_core.operation import Operation

from jobkit.errors import BadConfiguration, Transient
from jobkit.progress import say

CALL_TIMEOUT_S = 60.0
BUSY = (google_errors.ResourceExhausted, google_errors.ServiceUnavailable, google_errors.DeadlineExceeded)
FIRST_POLL_S, LONGEST_POLL_S = 0.5, 15.0
SAY_EVERY_S = 30.0
_LABEL = re.compile(r"([a-z][a-z0-9_-]{0,62})=([a-z0-9_-]{0,63})")

Client = TypeVar("Client")


def client_of(client: Callable[..., Client], transport: Callable[..., Any]) -> Client:
    """A client of REGION; an http:// VERTEX_ENDPOINT is an insecure channel to that host and port."""
    endpoint = os.environ.get("VERTEX_ENDPOINT", "")
    if endpoint.startswith("http://"):
        import grpc

        channel = grpc.insecure_channel(endpoint.removeprefix("http://").rstrip("/"))
        return client(transport=transport(channel=channel))
    address = endpoint or f"{region()}-aiplatform.googleapis.com"
    return client(client_options=ClientOptions(api_endpoint=address))


def region() -> str:
    """REGION; us-central1 where it is not set."""
    return os.environ.get("REGION") or "us-central1"


def project() -> str:
    """The job's own project. Raises BadConfiguration where nothing names it."""
    named = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("CLOUD_ML_PROJECT_ID")
    if not named:
        raise BadConfiguration("The job does not know its project (GOOGLE_CLOUD_PROJECT).")
    return named


def parent() -> str:
    """projects/P/locations/L of the job's own environment."""
    return f"projects/{project()}/locations/{region()}"


def encryption() -> Any:
    """The EncryptionSpec of what a job makes in Vertex: the deployment's own key, or None for Google's."""
    from google.cloud.aiplatform_v1.types import EncryptionSpec

    key = os.environ.get("KMS_KEY_NAME", "")
    return EncryptionSpec(kms_key_name=key) if key else None


def parse_labels(text: str) -> dict[str, str]:
    """`k=v,k=v` as Vertex takes labels. Raises BadConfiguration for anything that it would refuse."""
    labels = {}
    for part in filter(None, text.split(",")):
        matched = _LABEL.fullmatch(part)
        if not matched:
            raise BadConfiguration(f"'{part[:80]}' is no label of a Vertex resource (--labels).")
        labels[matched[1]] = matched[2]
    return labels


def finished(operation: Operation, what: str, deadline_s: float) -> Any:
    """The operation's result, polled ever more slowly, with a line in the log now and then."""
    started = said = time.monotonic()
    pause_s = FIRST_POLL_S
    while not operation.done():
        now = time.monotonic()
        if now - started > deadline_s:
            raise Transient(f"{what} for more than {deadline_s / 3600:.1f} hours.", "Start the training again.")
        if now - said >= SAY_EVERY_S:
            said = now
            say(what, elapsed_s=round(now - started))
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
    return operation.result(timeout=CALL_TIMEOUT_S)
