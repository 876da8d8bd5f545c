"""Telling Labelbox: send what the facts say is due, and record that it was told."""

from __future__ import annotations

from datetime import timedelta

from orchestrator import logs
from orchestrator.deleted_runs import is_gone, stop_deleted
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable, Unavailable
from orchestrator.facts import Told
from orchestrator.identities import RunId
from orchestrator.labelbox import Telling
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.tellings import Due, due_telling, last_telling

_MOST_AT_ONCE = 4


def tell(handling: Handling, run_id: RunId) -> bool:
    """Bring Labelbox up to date. False if something stays untold, which is then left to reconcile.

    Whoever wrote a fact tells what follows from it; others only once that handler must have ended, so that handlers
    woken by the same event do not all say the same. Safe to repeat: what was told is a fact, and telling Labelbox the
    same again changes nothing. A failure never refuses the message that led here.
    """
    for _ in range(_MOST_AT_ONCE):
        run = handling.ledger.load(run_id)
        due = due_telling(run, handling.services.settings) if run else None
        if run is None or due is None:
            return True
        if due.origin.writer != handling.ledger.writer and _may_be_at_work(handling, due):
            handling.ledger.mark_look(run_id)
            return False
        try:
            told = _send(handling, run, due.telling)
        except LabelboxUnavailable as error:
            logs.warning("Labelbox was not told", run=run_id, status=due.telling.status, reason=error.sentence)
            handling.ledger.mark_look(run_id)
            return False
        handling.ledger.record(run_id, told)
        handling.services.reached("told")
    return False


def _may_be_at_work(handling: Handling, due: Due) -> bool:
    age = handling.services.now() - due.origin.created
    return age < timedelta(seconds=handling.services.settings.function_timeout_s)


def _send(handling: Handling, run: Run, telling: Telling) -> Told:
    """Send one status unless a newer run of the model run has taken over; the fact says which it was."""
    keys = tuple(sorted(telling.metadata))
    if handling.ledger.newest_number(run.id.slug) > run.id.number:
        return Told(telling.key, telling.status, refused=True)
    handling.check_time()
    handling.services.reached("before-tell")
    try:
        handling.services.labelbox.tell(run.accepted.model_run_id, telling)
    except LabelboxRefused as refused:
        if refused.reason == "key":
            logs.critical("Labelbox refuses the API key: put a valid one into the secret", run=run.id)
            raise LabelboxUnavailable("Labelbox refuses the API key") from refused
        logs.error("Labelbox does not know the model run any more", run=run.id, status=telling.status)
        if run.finished is None and is_gone(handling, run):
            stop_deleted(handling, run)
        return Told(telling.key, telling.status, refused=True)
    logs.info("Told Labelbox", run=run.id, status=telling.status)
    return Told(telling.key, telling.status, metadata_keys=keys)


def told_last(handling: Handling, run: Run) -> bool:
    """One more look at a finished run, a hold after its end: whether Labelbox shows what it was told last.

    A status that was on its way when the run finished may have arrived after it; then the end is sent again.
    Safe to repeat: it compares before it sends.
    """
    last = last_telling(run, handling.services.settings)
    told = run.told.get("finished")
    if last is None or told is None or told.refused:
        return True
    telling = last.telling
    if handling.ledger.newest_number(run.id.slug) > run.id.number:
        return True
    try:
        shown = handling.services.labelbox.read_back(run.accepted.model_run_id)
        # An older run's end may be the same status, with a reason that is not this run's.
        if shown.status == telling.status and shown.metadata.get("run", str(run.id)) == str(run.id):
            return True
        logs.warning("Corrected the status in Labelbox", run=run.id, status=telling.status)
        handling.services.labelbox.tell(run.accepted.model_run_id, telling)
    except LabelboxRefused as refused:
        return refused.reason == "unknown"
    except Unavailable:
        return False
    return False
