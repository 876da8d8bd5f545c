"""Entry points of the Cloud Functions: what wakes us. Each takes an HTTP request and hands it to the orchestrator."""

from __future__ import annotations

import importlib
import json
import os
import threading
import uuid
from functools import cache, partial

import flask
import functions_framework

from orchestrator import logs
from orchestrator.endpoint import PushHandler, serve_push
from orchestrator.errors import BadRequest
from orchestrator.messages import read_envelope
from orchestrator.services import Services
from orchestrator.settings import Settings
from orchestrator.webhook import Request, answer

_INSTANCE = uuid.uuid4().hex[:12]
# Pub/Sub takes messages of 10 MB (https://cloud.google.com/pubsub/quotas#resource_limits); base64 adds a third.
_PUSH_LIMIT_BYTES = 16 * 1024 * 1024


@cache
def services() -> Services:
    """The ports of this instance, made once."""
    return Services.from_settings(Settings.from_environment())


@functions_framework.http
def coordinator(request: flask.Request) -> flask.Response:
    """Labelbox's side: GET /models, POST /model_run, GET /ping."""
    bundle = services()
    logs.begin_request(request.headers.get("traceparent", ""), bundle.settings.google_cloud_project)
    headers = {key.lower(): value for key, value in request.headers.items()}
    given = Request(request.method, request.path, headers, partial(_read, request))
    result = answer(bundle.begin(), given)
    is_text = isinstance(result.content, str)
    body = result.content if is_text else json.dumps(result.content)
    kind = "text/plain" if is_text else "application/json"
    return _response(body, result.status, kind, dict(result.headers))


def _read(request: flask.Request, size: int) -> bytes:
    """At most `size` bytes of the body; BadRequest if it breaks HTTP (broken chunks) or the sender hung up."""
    try:
        return request.stream.read(size)
    except Exception:  # the HTTP server has exceptions of its own, with the sender's bytes in their text
        raise BadRequest(["the body cannot be read"]) from None


def _push(request: flask.Request, handler: str) -> flask.Response:
    if request.method != "POST":
        return _response("ready", 200, "text/plain", {})
    bundle = services()
    logs.begin_request(request.headers.get("traceparent", ""), bundle.settings.google_cloud_project)
    try:
        body = _read(request, _PUSH_LIMIT_BYTES + 1)
    except BadRequest as error:
        return _response("", error.http_status, "text/plain", {})
    if len(body) > _PUSH_LIMIT_BYTES:
        return _response("", 413, "text/plain", {})
    status = serve_push(bundle, PushHandler(handler), read_envelope(body))
    return _response("", status, "text/plain", {})


@functions_framework.http
def etl(request: flask.Request) -> flask.Response:
    """Launches the jobs of stage etl."""
    return _push(request, "etl")


@functions_framework.http
def train(request: flask.Request) -> flask.Response:
    """Launches the jobs of stage train."""
    return _push(request, "train")


@functions_framework.http
def inference(request: flask.Request) -> flask.Response:
    """Launches the jobs of stage inference."""
    return _push(request, "inference")


@functions_framework.http
def custom(request: flask.Request) -> flask.Response:
    """Launches the jobs of any other stage."""
    return _push(request, "custom")


@functions_framework.http
def job_state(request: flask.Request) -> flask.Response:
    """Takes every hint that a job's state changed, and the reconcile tick."""
    return _push(request, "job-state")


@functions_framework.http
def dead_letter(request: flask.Request) -> flask.Response:
    """Takes the messages that no other function could serve."""
    return _push(request, "dead-letter")


def _response(body: str, status: int, kind: str, headers: dict[str, str]) -> flask.Response:
    # Says which process answered: a connection that is accepted proves nothing while an old worker dies.
    return flask.Response(body, status, {**headers, "x-instance": _INSTANCE}, content_type=kind)


def _warm_up() -> None:
    """Import what the first request would wait for, beside serving it."""
    target = os.environ.get("FUNCTION_TARGET", "")
    modules = ["google.api_core.retry", "google.auth.transport.urllib3", "google.pubsub_v1"]
    if target and target != "coordinator":
        modules.append("google.cloud.aiplatform_v1")
    for module in modules:
        importlib.import_module(module)


# The framework's server forks its worker after loading this file: only the worker needs the imports.
os.register_at_fork(after_in_child=lambda: threading.Thread(target=_warm_up, daemon=True).start())
# A wrong pipeline or setting shows when the function is deployed, not at the first request.
services()
