"""Reconcile: the scheduled sweep that finds what no event announced, what was lost, and what should not run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from orchestrator import logs
from orchestrator.advancing import advance
from orchestrator.deleted_runs import look_for_deleted
from orchestrator.errors import NewerVersion, Unavailable
from orchestrator.facts import Accepted
from orchestrator.identities import TIME_LIMIT_LABEL, RunId, run_of_labels
from orchestrator.ledger import Marker
from orchestrator.observing import observe
from orchestrator.reply import DONE, Reply
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.telling import tell, told_last
from orchestrator.vertex import JobReading
from orchestrator.workflow import LONGEST_FREEZE_HOLDS, Closed, Launch, Observe, may_thaw, next_step

ABANDONED_AFTER = timedelta(hours=1)


def reconcile(handling: Handling, published: datetime) -> Reply:
    """One tick: list the running jobs once, then the active runs once, and read the facts of the suspects only.

    A tick never asks to be delivered again, and one older than its period is not worth serving: the next is due.
    Safe to repeat and to overlap: everything it does is what the event's own handler would have done.
    """
    services = handling.services
    if services.now() - published > timedelta(seconds=services.settings.reconcile_period_s):
        return DONE
    try:
        # Jobs first, markers and facts after: a job launched in between is then never taken for a stray.
        jobs_of = _by_run(services.jobs.running(services.settings.deployment_name))
        markers = handling.ledger.active()
        for marker in markers:
            handling.check_time()
            jobs = jobs_of.pop(marker.run, [])
            if len(jobs) != 1 or marker.look or _is_late(jobs[0], services.now()):
                _look_safely(handling, marker.run, jobs, marker)
            elif _is_new(jobs[0], services.now(), services.settings.claim_hold_s):
                # A frozen handler may have made it for an attempt that has ended: then the run only looks busy.
                _look_safely(handling, marker.run, jobs)
        for run_id, jobs in jobs_of.items():
            handling.check_time()
            _look_safely(handling, run_id, jobs)
        look_for_deleted(handling, [marker.run for marker in markers])
    except (Unavailable, NewerVersion) as error:
        logs.warning("Reconcile stopped early; the next tick goes on", reason=error.sentence)
    return DONE


def _by_run(running: Iterable[JobReading]) -> dict[RunId, list[JobReading]]:
    found: dict[RunId, list[JobReading]] = {}
    for job in running:
        if run_id := run_of_labels(dict(job.labels)):
            found.setdefault(run_id, []).append(job)
    return found


def _is_late(job: JobReading, now: datetime) -> bool:
    limit = job.labels.get(TIME_LIMIT_LABEL, "")
    return limit.isdigit() and now - job.created > timedelta(seconds=int(limit))


def _is_new(job: JobReading, now: datetime, hold_s: float) -> bool:
    return now - job.created < timedelta(seconds=hold_s)


def _look_safely(handling: Handling, run_id: RunId, jobs: list[JobReading], marker: Marker | None = None) -> None:
    """Repair a marked run, or only sweep its jobs. One run's trouble must not keep the others from being looked at."""
    try:
        if marker:
            _repair(handling, marker, jobs)
        elif run := handling.ledger.load(run_id):
            _sweep(handling, run, jobs)
    except (Unavailable, NewerVersion) as error:
        logs.warning("Reconcile could not look at a run", run=run_id, reason=error.sentence)


def _repair(handling: Handling, marker: Marker, jobs: list[JobReading]) -> None:
    services, settings = handling.services, handling.services.settings
    run = handling.ledger.load(marker.run)
    now = services.now()
    if run is None:
        if now - marker.created > ABANDONED_AFTER:
            _close_abandoned(handling, marker.run)
        return
    _sweep(handling, run, jobs)
    step = next_step(run, now, settings)
    if isinstance(step, Closed):
        _close(handling, run, now)
    elif isinstance(step, Observe):
        if observe(handling, run, step):
            logs.info("Reconcile found a job's end", run=run.id, attempt=step.attempt.ref)
            advance(handling, run.id, topic=None)
        elif tell(handling, run.id) and not may_thaw(run, now, settings):
            handling.ledger.unmark_look(run.id)
    elif not isinstance(step, Launch) or _is_due(run, now, settings.republish_after_s, settings.claim_hold_s):
        logs.info("Reconcile goes on with a run", run=run.id)
        advance(handling, run.id, topic=None)


def _is_due(run: Run, now: datetime, republish_after_s: float, claim_hold_s: float) -> bool:
    """Whether a launch that nobody made needs its event again: a retry or a wait whose time has come, a claim that
    ran out, or a run that has been silent for longer than Pub/Sub's longest gap between two deliveries."""
    if now - run.last_fact_at > timedelta(seconds=republish_after_s):
        return True
    for attempt in (attempts[-1] for attempts in run.attempts.values()):
        claim = attempt.claims[-1] if attempt.claims else None
        if attempt.launched is None and claim is not None and claim.refused is None:
            if now - claim.at > timedelta(seconds=claim_hold_s):
                return True
        elif claim is not None and claim.refused and claim.refused.not_before and claim.refused.not_before <= now:
            return True
        if attempt.ended and attempt.ended.not_before and attempt.ended.not_before <= now:
            return True
    return False


def _close(handling: Handling, run: Run, now: datetime) -> None:
    """The last things done for a finished run; its marker goes only after a late look at what Labelbox shows."""
    assert run.finished_at
    if not tell(handling, run.id):
        return
    settings = handling.services.settings
    freeze_s = LONGEST_FREEZE_HOLDS * settings.claim_hold_s + settings.function_timeout_s + settings.call_deadline_s
    if now - run.finished_at > timedelta(seconds=freeze_s) and told_last(handling, run):
        handling.ledger.unmark_active(run.id)
        logs.info("Closed a run", run=run.id)


def _close_abandoned(handling: Handling, run_id: RunId) -> None:
    """A coordinator died between marker and `accepted`: take its place, so that a late one gets a sure no."""
    accepted = Accepted(
        model_run_id=run_id.slug,
        model_id="",
        model_type="",
        run_key=handling.services.new_writer(),
        pipeline={},
        image_repository="",
        image_tag="",
        body_sha256="",
        abandoned=True,
    )
    if handling.ledger.record(run_id, accepted):
        logs.warning("Closed a request that was never accepted", run=run_id)
        advance(handling, run_id, topic=None)


def _sweep(handling: Handling, run: Run, jobs: Iterable[JobReading]) -> None:
    """Cancel running jobs that should not run: doubles of a launched attempt, and jobs of a finished run.

    A job whose attempt has no `launched` yet is left to takeover. Safe to repeat: a cancel repeated is a cancel.
    """
    for job in jobs:
        attempt = run.attempt_by_id(job.labels.get("lb_attempt", ""))
        is_double = attempt is not None and attempt.launched is not None and attempt.launched.name != job.name
        if run.finished or is_double:
            logs.warning("Cancelled a job that should not run", run=run.id, name=job.name)
            handling.services.jobs.cancel(job.name)
