"""The job-state function: whatever hints that something changed, the job itself is read and its true state decides."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator import logs
from orchestrator.advancing import advance
from orchestrator.facts import Phase
from orchestrator.identities import RunId, run_of_labels
from orchestrator.messages import Delivery, JobEndHint, LastWord, ObjectHint, Tick, read_hint
from orchestrator.observing import observe
from orchestrator.reconcile import reconcile
from orchestrator.reply import DONE, Reply, again
from orchestrator.run import Attempt, Run
from orchestrator.services import Handling
from orchestrator.telling import tell
from orchestrator.tellings import KNOWN_STATUSES
from orchestrator.workflow import Hold, Observe, next_step


def on_hint(handling: Handling, delivery: Delivery) -> Reply:
    """Serve one delivery of the job-state topic.

    Safe to repeat: what is recorded is write-once, and a hint for what is known already goes on from the facts.
    """
    hint = read_hint(delivery)
    if isinstance(hint, Tick):
        return reconcile(handling, delivery.published)
    if isinstance(hint, JobEndHint):
        return _on_job_end(handling, hint, delivery.published)
    if isinstance(hint, LastWord):
        return look(handling, hint.run, delivery.published, claims_an_end=True)
    if isinstance(hint, ObjectHint):
        return _on_object(handling, hint, delivery.published)
    return DONE


def _on_job_end(handling: Handling, hint: JobEndHint, published: datetime) -> Reply:
    """A log line names a CustomJob by number only; its labels say whose it is."""
    settings = handling.services.settings
    name = f"{settings.parent}/customJobs/{hint.job_number}"
    reading = handling.services.jobs.get(name)
    run_id = run_of_labels(dict(reading.labels)) if reading else None
    if reading is None or run_id is None or reading.labels.get("lb_deployment") != settings.deployment_name:
        return DONE
    if not reading.terminal:
        return _early(handling, published)
    return look(handling, run_id, published, claims_an_end=True, job_name=name)


def _on_object(handling: Handling, hint: ObjectHint, published: datetime) -> Reply:
    if hint.phase:
        return _on_phase(handling, hint)
    where = hint.object
    return look(handling, where.run, published, claims_an_end=hint.claims_an_end, attempt_id=where.attempt_id)


def _on_phase(handling: Handling, hint: ObjectHint) -> Reply:
    run = handling.ledger.load(hint.object.run)
    attempt = run.attempt_by_id(hint.object.attempt_id) if run else None
    if run is None or attempt is None or hint.phase not in KNOWN_STATUSES or run.finished or attempt.ended:
        return DONE
    ref = attempt.ref
    handling.ledger.record(run.id, Phase(ref.stage, ref.job, ref.number, status=hint.phase))
    tell(handling, run.id)
    return DONE


def look(
    handling: Handling,
    run_id: RunId,
    published: datetime,
    *,
    claims_an_end: bool,
    job_name: str = "",
    attempt_id: str = "",
) -> Reply:
    """Read the run's open job, record its end if it has one, and go on. A hint about an attempt whose end is known
    only goes on from there, and one about a job that `launched` does not name changes nothing."""
    run = handling.ledger.load(run_id)
    if run is None:
        logs.warning("A hint for an unknown run", run=run_id)
        return DONE
    hinted = _attempt_of_job(run, job_name) if job_name else run.attempt_by_id(attempt_id)
    step = next_step(run, handling.services.now(), handling.services.settings)
    if hinted is None or not hinted.ended:
        if isinstance(step, Hold) and claims_an_end:
            # A fast job ends before its launch is recorded.
            return _early(handling, published)
        if isinstance(step, Observe):
            if job_name and hinted is None:
                return DONE
            if not observe(handling, run, step):
                return _early(handling, published) if claims_an_end else DONE
    reply = advance(handling, run_id, topic=None)
    # A live claim of the next job is no reason to refuse an old hint for ever: its own message waits for that.
    return _early(handling, published) if reply.again else reply


def _attempt_of_job(run: Run, job_name: str) -> Attempt | None:
    every = (attempt for attempts in run.attempts.values() for attempt in attempts)
    return next((attempt for attempt in every if attempt.launched and attempt.launched.name == job_name), None)


def _early(handling: Handling, published: datetime) -> Reply:
    """A hint can run ahead of Vertex's state, or be wrong: ask again while it is young, then leave it to reconcile."""
    age = handling.services.now() - published
    if age < timedelta(seconds=handling.services.settings.early_hint_s):
        return again("the job has not ended yet, or another handler is at work")
    return DONE
