"""Steering a run: what an operator or a user may ask of it while it is under way."""

from __future__ import annotations

from orchestrator import logs
from orchestrator.errors import Unavailable
from orchestrator.facts import CancelRequested
from orchestrator.identities import RunId
from orchestrator.messages import LastWord
from orchestrator.services import Handling


def cancel(handling: Handling, run_id: RunId, by: str, reason: str = "", *, gone: bool = False) -> bool:
    """Ask to stop a run. False if it is unknown or had finished before, so that there is nothing to stop. `gone` says
    that Labelbox has no such model run any more.

    Safe to repeat: the request is write-once, so the first one's words stand; a second message finds the work done.
    """
    run = handling.ledger.load(run_id)
    if run is None or run.finished:
        return False
    # Marked first: reconcile then reads the run's facts even if nothing after this line happens.
    handling.ledger.mark_look(run_id)
    handling.ledger.record(run_id, CancelRequested(by=by, reason=reason, gone=gone))
    handling.services.reached("cancel-requested")
    logs.info("A cancel was requested", run=run_id, reason=reason)
    try:
        handling.services.publisher.publish("job-state", LastWord(run_id).encode())
    except Unavailable as error:
        logs.warning("The next tick acts on a cancel", run=run_id, reason=error.sentence)
    return True
