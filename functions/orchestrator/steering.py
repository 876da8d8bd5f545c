"""Steering a run: what an operator or a user may ask of it while it is under way."""

from __future__ import annotations

from orchestrator import logs
from orchestrator.facts import CancelRequested
from orchestrator.identities import RunId
from orchestrator.services import Handling


def cancel(handling: Handling, run_id: RunId, by: str, reason: str = "") -> bool:
    """Ask to stop a run. False if it is unknown or had finished before, so that there is nothing to stop.

    Safe to repeat: the request is write-once; the first one's words stand. The look marker makes the next tick act.
    """
    run = handling.ledger.load(run_id)
    if run is None or run.finished:
        return False
    handling.ledger.record(run_id, CancelRequested(by=by, reason=reason))
    handling.services.reached("cancel-requested")
    handling.ledger.mark_look(run_id)
    logs.info("A cancel was requested", run=run_id, reason=reason)
    return True
