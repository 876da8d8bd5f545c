"""Cancelling a run: a fact, and a message so that it takes effect at once."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ops.deployment import Deployment
from orchestrator.errors import Unavailable
from orchestrator.facts import CancelRequested
from orchestrator.run import Run

JOB_STATE = "job-state"


@dataclass(frozen=True)
class Cancelled:
    """What came of it. `by`, `reason`: of the request that stands, which may be an earlier one.
    `nudged`: false if the message could not be sent, so that the next tick acts on the fact."""

    by: str
    reason: str
    earlier: bool
    nudged: bool


def cancel(deployment: Deployment, run: Run, by: str, reason: str) -> Cancelled:
    """Ask for the end of a run that has not finished.

    Safe to repeat: the fact is write-once, so the first request stands; a second message finds the work done.
    """
    ledger = deployment.ledger
    # Marked first: reconcile then reads the run's facts even if nothing after this line happens.
    ledger.mark_look(run.id)
    won = ledger.record(run.id, CancelRequested(by, reason))
    standing = None if won else ledger.load(run.id)
    request = (standing.cancel if standing else None) or CancelRequested(by, reason)
    return Cancelled(request.by, request.reason, not won, nudge(deployment, run))


def nudge(deployment: Deployment, run: Run) -> bool:
    """Have the job-state function look at a run now; false if Pub/Sub did not take the message."""
    message = {"version": 1, "kind": "job_ended", "run": str(run.id)}
    try:
        deployment.services.publisher.publish(JOB_STATE, json.dumps(message).encode())
    except Unavailable:
        return False
    return True
