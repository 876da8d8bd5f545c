"""Runs whose model run was deleted in Labelbox: nobody waits for them any more, so their jobs are cancelled.

Labelbox announces no deletion. It is noticed where a status is told (telling.py), and by looking runs under way up, a
few on each tick, so that a long training does not go on for hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from orchestrator import logs
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.identities import RunId
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.settings import Settings
from orchestrator.steering import cancel

MOST_A_TICK = 10
BY, REASON = "Labelbox", "the model run was deleted"


def is_gone(handling: Handling, run: Run) -> bool:
    """Whether Labelbox surely has no such model run. Raises LabelboxUnavailable if it cannot say."""
    try:
        handling.services.labelbox.look_up(run.accepted.model_run_id)
    except LabelboxRefused as refused:
        if refused.reason == "unknown":
            return True
        logs.critical("Labelbox refuses the API key: put a valid one into the secret", run=run.id)
        raise LabelboxUnavailable("Labelbox refuses the API key") from refused
    return False


def stop_deleted(handling: Handling, run: Run) -> None:
    """Cancel a run whose model run is gone. Safe to repeat, as `cancel` is."""
    logs.warning("The model run was deleted in Labelbox", run=run.id)
    cancel(handling, run.id, BY, REASON, gone=True)


def look_for_deleted(handling: Handling, runs: Sequence[RunId]) -> None:
    """Look up those of the runs under way whose turn it is on this tick.

    Each has its turn once in `deleted_check_s`, or less often where that would be more than MOST_A_TICK. Which, follows
    from the time alone: nothing is kept of it. Safe to repeat: looking changes nothing, and cancelling twice is
    cancelling. A Labelbox that does not answer ends the looking until the next tick.
    """
    for run_id in _in_turn(runs, handling.services.now().timestamp(), handling.services.settings):
        handling.check_time()
        run = handling.ledger.load(run_id)
        if run is None or run.finished or run.cancel or run.accepted.abandoned:
            continue
        try:
            if is_gone(handling, run):
                stop_deleted(handling, run)
        except LabelboxUnavailable as error:
            logs.warning("Labelbox did not answer a look-up", run=run_id, reason=error.sentence)
            return


def _in_turn(runs: Sequence[RunId], now_s: float, settings: Settings) -> Sequence[RunId]:
    period_s = settings.reconcile_period_s
    turns = max(1, ceil(settings.deleted_check_s / period_s), ceil(len(runs) / MOST_A_TICK))
    return runs[int(now_s / period_s) % turns :: turns]
