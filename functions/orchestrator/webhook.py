"""Labelbox's requests: GET /models, POST /model_run, GET /ping. A signed request becomes a run, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from orchestrator import logs
from orchestrator.errors import (
    BadRequest,
    LabelboxRefused,
    LabelboxUnavailable,
    ServiceError,
    Unauthorized,
    Unavailable,
)
from orchestrator.facts import Accepted
from orchestrator.identities import RunId, slug_of
from orchestrator.messages import StageRequested
from orchestrator.pipelines import dump
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.signature import is_signed, signed_digest

BODY_LIMIT = 64 * 1024
REPLAY_WINDOW = timedelta(minutes=10)
_METHODS = {"ping": "GET", "models": "GET", "model": "GET", "model_run": "POST"}
_ID_LIMIT = 200


@dataclass(frozen=True)
class Request:
    """An HTTP request before anything of its body was read. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    read_body: Callable[[int], bytes]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: a status and a JSON value, or a plain text."""

    status: int
    content: Any
    headers: Mapping[str, str]


def answer(handling: Handling, request: Request) -> Answer:
    """Serve one request of Labelbox. Errors become answers; nothing of an unsigned body is parsed, stored or logged."""
    try:
        return _route(handling, request)
    except BadRequest as error:
        content = {"error": error.sentence, "problems": list(error.problems), "hint": error.hint}
        headers = {"allow": _METHODS.get(_last_part(request.path), "GET")} if error.http_status == 405 else {}
        return Answer(error.http_status, content, headers)
    except ServiceError as error:
        logs.warning("A request was not served", http_status=error.http_status, error_type=type(error).__name__)
        retry = {"retry-after": "10"} if isinstance(error, Unavailable) else {}
        return Answer(error.http_status, {"error": error.sentence, "hint": error.hint}, retry)


def _last_part(path: str) -> str:
    """The function's own name, or a load balancer's prefix, may stand before our paths."""
    return next((part for part in reversed(path.split("/")) if part), "")


def _route(handling: Handling, request: Request) -> Answer:
    name = _last_part(request.path)
    if name not in _METHODS:
        raise BadRequest(["no such path; there are GET /models, POST /model_run and GET /ping"], http_status=404)
    if request.method != _METHODS[name]:
        problem = f"{request.method} is not served at /{name}; use {_METHODS[name]}"
        raise BadRequest([problem], http_status=405)
    if name == "ping":
        return Answer(200, "pong", {})
    body = _signed_body(handling, request, b"" if request.method == "GET" else None)
    if name in ("models", "model"):
        return Answer(200, {model_type: {} for model_type in handling.services.pipelines}, {})
    return _model_run(handling, body)


def _signed_body(handling: Handling, request: Request, body: bytes | None) -> bytes:
    """The body, if one of the secrets signed it. A GET is signed over the empty body, whatever it carries."""
    if signed_digest(request.headers) is None:
        raise Unauthorized("The signature is missing or malformed", "sign the raw body: x-hub-signature: sha1=<hex>")
    if body is None:
        body = request.read_body(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise BadRequest([f"the body is over {BODY_LIMIT // 1024} KiB"], http_status=413)
    secret = handling.services.signing_secret
    accepted = secret.accepted()
    if is_signed(request.headers, body, accepted):
        return body
    fresh = secret.accepted(fresh=True)
    if fresh != accepted and is_signed(request.headers, body, fresh):
        return body
    raise Unauthorized("The signature is wrong", "give Labelbox and the deployment the same secret")


def _model_run(handling: Handling, body: bytes) -> Answer:
    payload = _read_payload(body, handling.services.pipelines)
    model_run_id, model_type = payload["modelRunId"], payload["modelType"]
    digest = hashlib.sha256(body).hexdigest()
    slug = slug_of(model_run_id)
    number = handling.ledger.newest_number(slug)
    older = handling.ledger.load(RunId(slug, number)) if number else None
    if older and (same := _same_run(handling, older, digest)):
        return same
    config = _look_up(handling, model_run_id)
    run_id = RunId(slug, number + 1)
    accepted = Accepted(
        model_run_id=model_run_id,
        model_id=str(payload.get("modelId") or ""),
        model_type=model_type,
        run_key=handling.services.new_run_key(),
        pipeline=dump(handling.services.pipelines[model_type]),
        image_repository=handling.services.settings.image_repository,
        image_tag=handling.services.settings.image_tag,
        body_sha256=digest,
        config=config,
        clears=tuple(sorted({key for told in older.told.values() for key in told.metadata_keys})) if older else (),
    )
    if not handling.ledger.accept(run_id, accepted):
        winner = handling.ledger.load(run_id)
        if winner is None or winner.accepted.abandoned:
            raise Unavailable("The run was closed while it was being accepted; send the request again")
        return _described(200, winner)
    logs.info("Accepted a run", run=run_id, pipeline=model_type)
    handling.services.reached("accepted")
    _publish_first(handling, run_id, model_type)
    return Answer(202, {"runId": str(run_id), "status": "ACCEPTED", "pipeline": model_type}, {})


def _publish_first(handling: Handling, run_id: RunId, model_type: str) -> None:
    stage = handling.services.pipelines[model_type].stages[0]
    try:
        handling.publish_stage(StageRequested(run_id, stage.name), stage.topic)
    except Unavailable as error:
        # The run is recorded, so Labelbox must not send it again: reconcile publishes what was not.
        logs.error("The first event was not published; reconcile will", run=run_id, reason=error.sentence)


def _read_payload(body: bytes, pipelines: Mapping[str, object]) -> dict[str, Any]:
    """The payload, or BadRequest that names every problem. Unknown keys are Labelbox's business."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(["the body is not JSON"], _PAYLOAD_HINT) from None
    if not isinstance(payload, dict):
        raise BadRequest(["the body is not a JSON object"], _PAYLOAD_HINT)
    problems = []
    model_run_id, model_type, model_id = payload.get("modelRunId"), payload.get("modelType"), payload.get("modelId")
    if not isinstance(model_run_id, str) or not model_run_id.strip():
        problems.append("modelRunId is missing or no text")
    elif len(model_run_id) > _ID_LIMIT or not model_run_id.isprintable():
        problems.append(f"modelRunId must be printable and have at most {_ID_LIMIT} characters")
    if model_id is not None and not (
        isinstance(model_id, str) and len(model_id) <= _ID_LIMIT and model_id.isprintable()
    ):
        problems.append(f"modelId must be a text of at most {_ID_LIMIT} printable characters")
    if not isinstance(model_type, str) or not model_type:
        problems.append("modelType is missing or no text")
    elif model_type not in pipelines:
        problems.append(f"modelType {model_type[:60]!r} is unknown; known are {', '.join(sorted(pipelines))}")
    if problems:
        raise BadRequest(problems, _PAYLOAD_HINT)
    return payload


_PAYLOAD_HINT = 'send {"modelRunId": "...", "modelType": "..."}; GET /models lists the model types'


def _same_run(handling: Handling, older: Run, digest: str) -> Answer | None:
    """The answer for a request that must not start another run: one is active, or this is a replay of a request
    whose training was bought minutes ago."""
    if older.finished is None:
        return _described(200, older)
    recent = older.finished_at and handling.services.now() - older.finished_at < REPLAY_WINDOW
    if older.finished.outcome == "COMPLETE" and recent and older.accepted.body_sha256 == digest:
        return _described(200, older)
    return None


def _described(status: int, run: Run) -> Answer:
    state = run.finished.outcome if run.finished else "ACTIVE"
    return Answer(status, {"runId": str(run.id), "status": state, "pipeline": run.accepted.model_type}, {})


def _look_up(handling: Handling, model_run_id: str) -> dict[str, Any] | None:
    """The model run's config; None if Labelbox is slow or down, in which case the first stage asks again."""
    labelbox = handling.services.labelbox
    try:
        try:
            return labelbox.look_up(model_run_id).config
        except LabelboxRefused as refused:
            if refused.reason != "unknown":
                raise
            # A model run made a moment ago may not be everywhere yet.
            handling.services.sleep(1.0)
            return labelbox.look_up(model_run_id).config
    except LabelboxUnavailable as error:
        logs.warning("Labelbox did not answer a look-up; the first stage asks again", reason=error.sentence)
        return None
    except LabelboxRefused as refused:
        if refused.reason == "key":
            logs.critical("Labelbox refuses the API key: put a valid one into the secret")
            raise Unavailable("Labelbox refuses this deployment's API key", "put a valid key into the secret") from None
        hint = "is the deployment's API key of another workspace?"
        raise BadRequest(["Labelbox knows no model run with this modelRunId"], hint, http_status=404) from None
