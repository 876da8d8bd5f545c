"""Dead letters: nothing vanishes. The message is kept, and a run that can only have been lost with it is failed."""

from __future__ import annotations

import base64
import json

from orchestrator import logs
from orchestrator.advancing import finish
from orchestrator.errors import NewerVersion, ServiceError, UnreadableMessage, sentence
from orchestrator.facts import Finished
from orchestrator.messages import Delivery, StageRequested, read_stage_requested
from orchestrator.reply import DONE, Reply
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.telling import tell
from orchestrator.workflow import Configure, Launch, next_step

# Pub/Sub adds these to a forwarded message.
# https://cloud.google.com/pubsub/docs/handling-failures#track_delivery_attempts
_SOURCE = "CloudPubSubDeadLetterSourceSubscription"


def keep(handling: Handling, delivery: Delivery, reason: str) -> None:
    """Keep a message under dead/, with what was wrong with it. Safe to repeat: write-once under the message's id."""
    content = {
        "version": 1,
        "reason": sentence(reason),
        "subscription": delivery.attributes.get(_SOURCE, delivery.subscription),
        "published": delivery.published.isoformat(),
        "attributes": dict(delivery.attributes),
        "data": base64.b64encode(delivery.data).decode(),
    }
    handling.services.store.create(f"dead/{delivery.message_id}.json", json.dumps(content).encode())
    logs.error("A message was kept under dead/", message_id=delivery.message_id, reason=reason)


def on_dead_letter(handling: Handling, delivery: Delivery) -> Reply:
    """Serve one message that its own function could not, after all its attempts.

    The facts decide: a dead job-state message never fails a run (reconcile reads the job), and a dead stage message
    does so only if the job it asked for is neither launched nor ended nor under a live claim. Safe to repeat: the
    kept copy and `finished` are write-once.
    """
    try:
        message = read_stage_requested(delivery)
    except (UnreadableMessage, NewerVersion) as error:
        keep(handling, delivery, f"dead letter: {error.sentence}")
        return DONE
    run = _run_or_keep(handling, delivery, message)
    if run is None:
        return DONE
    step = next_step(run, handling.services.now(), handling.services.settings)
    lost = isinstance(step, Configure) or (isinstance(step, Launch) and step.ref.stage == message.stage)
    if lost:
        text = f"Stage {message.stage} could not be started: {_last_trouble(run)}"
        hint = "mend the cause, then press Train model again"
        finish(handling, run, Finished("FAILED", sentence(text), hint))
    tell(handling, message.run)
    return DONE


def _run_or_keep(handling: Handling, delivery: Delivery, message: StageRequested) -> Run | None:
    """The run of a dead stage message, which is kept with what was wrong, whether its run can be read or not."""
    reason = f"dead letter of stage {message.stage}"
    try:
        run = handling.ledger.load(message.run)
    except ServiceError:
        keep(handling, delivery, reason)
        raise
    keep(handling, delivery, f"{reason}: {_last_trouble(run) if run else f'there is no run {message.run}'}")
    return run


def _last_trouble(run: Run) -> str:
    return run.troubles[-1].sentence if run.troubles else "its message was not taken in any of its attempts"


def trouble_of(error: Exception) -> str:
    """What a fact may say of an error: our own sentences as they are, anything else by its type alone."""
    return error.sentence if isinstance(error, ServiceError) else f"unexpected {type(error).__name__}"
