"""From a push request to a handler and back: one table maps what happened to an HTTP answer.

Pub/Sub takes 2xx for done and anything else for "again, with backoff", so: done or never possible is 2xx; busy or
unavailable is 503; a bug is 500.
"""

from __future__ import annotations

import traceback
from enum import Enum
from pathlib import PurePath

from orchestrator import logs
from orchestrator.advancing import advance
from orchestrator.dead_letters import keep, on_dead_letter, trouble_of
from orchestrator.errors import ServiceError, Unavailable, UnreadableMessage
from orchestrator.facts import Trouble
from orchestrator.hints import on_hint
from orchestrator.messages import Delivery, read_delivery, read_stage_requested
from orchestrator.reply import DONE, Reply
from orchestrator.services import Handling, Services

NO_CONTENT, AGAIN, BUG = 204, 503, 500


class PushHandler(Enum):
    """The topics' functions."""

    ETL = "etl"
    TRAIN = "train"
    INFERENCE = "inference"
    CUSTOM = "custom"
    JOB_STATE = "job-state"
    DEAD_LETTER = "dead-letter"


def serve_push(services: Services, handler: PushHandler, envelope: object) -> int:
    """Serve one push delivery and return the HTTP status.

    Safe to repeat, like every handler: a delivery may come twice, late, out of order or never.
    """
    handling = services.begin()
    try:
        delivery = read_delivery(envelope)
    except UnreadableMessage as error:
        logs.error("A push request was not readable", topic=handler.value, reason=error.sentence)
        return NO_CONTENT
    try:
        reply = _served_or_kept(handling, handler, delivery)
    except Exception as error:
        return _refuse(handling, handler, delivery, error)
    if reply.again:
        logs.info("Later", topic=handler.value, reason=reply.reason, delivery=delivery.attempt)
    return AGAIN if reply.again else NO_CONTENT


def _served_or_kept(handling: Handling, handler: PushHandler, delivery: Delivery) -> Reply:
    """A message of no known shape can never succeed: it is kept, and done with once it is (else it comes again)."""
    try:
        return _serve(handling, handler, delivery)
    except UnreadableMessage as error:
        keep(handling, delivery, error.sentence)
        return DONE


def _serve(handling: Handling, handler: PushHandler, delivery: Delivery) -> Reply:
    if handler is PushHandler.JOB_STATE:
        return on_hint(handling, delivery)
    if handler is PushHandler.DEAD_LETTER:
        return on_dead_letter(handling, delivery)
    return advance(handling, read_stage_requested(delivery).run, handler.value)


def _refuse(handling: Handling, handler: PushHandler, delivery: Delivery, error: Exception) -> int:
    """An error: the message comes again, and the run keeps a fact of why it was refused."""
    reason = trouble_of(error)
    if isinstance(error, ServiceError):
        logs.warning("Refused a message", topic=handler.value, reason=reason, delivery=delivery.attempt)
    else:
        logs.error("Unexpected error", topic=handler.value, error_type=type(error).__name__, path=_where(error))
    if handler not in (PushHandler.JOB_STATE, PushHandler.DEAD_LETTER):
        try:
            run = read_stage_requested(delivery).run
            handling.ledger.record(run, Trouble(delivery.message_id, delivery.attempt, handler.value, reason))
        except ServiceError:
            logs.warning("The trouble could not be recorded", topic=handler.value)
    return error.http_status if isinstance(error, Unavailable | ServiceError) else BUG


def _where(error: Exception) -> str:
    """Files and lines only: an exception's own text may carry what must not be logged."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
