"""Launching an attempt: claim, look, create, record, settle. The order is what makes one surviving job per attempt."""

from __future__ import annotations

from datetime import timedelta

from orchestrator import logs
from orchestrator.errors import LaunchRefused, Unavailable, sentence
from orchestrator.facts import Claimed, Launched, Refused
from orchestrator.identities import AttemptRef, RunId
from orchestrator.job_requests import MissingOutput, job_request
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.vertex import JobReading
from orchestrator.workflow import Launch, may_create


def launch(handling: Handling, run: Run, step: Launch) -> None:
    """Bring about the one job of this attempt, or record why Vertex refused it.

    Safe to repeat: a second handler loses the claim and leaves; a later one (after the claim's hold) finds the job by
    its label and adopts it. A create whose answer was lost raises LaunchUnsure and is never sent again under this
    claim, because lists by label lag behind.
    """
    services, ledger, ref = handling.services, handling.ledger, step.ref
    about = (ref.stage, ref.job, ref.number)
    handling.check_time()
    services.reached("before-claim")
    if not ledger.record(run.id, Claimed(*about, claim=step.claim)):
        logs.info("Another handler holds the claim", run=run.id, attempt=ref, claim=step.claim)
        return
    services.reached("claimed")
    if (attempt := run.attempt(ref)) and attempt.unanswered:
        # Whoever made an older claim may thaw and make a double: reconcile must not take it for the run's own job.
        ledger.mark_look(run.id)
    kind = run.pipeline.find(ref.stage, ref.job)[1].kind
    found = services.jobs.find(kind, run.identity(ref).id)
    if found:
        _record_launched(handling, run, ref, found[0], adopted=True)
    elif not step.may_create:
        ledger.record(
            run.id, Refused(*about, claim=step.claim, quota=False, sentence="Cancelled before it was launched")
        )
    else:
        _create(handling, run.id, step)


def _create(handling: Handling, run_id: RunId, step: Launch) -> None:
    services, ledger, ref = handling.services, handling.ledger, step.ref
    about = (ref.stage, ref.job, ref.number)
    fresh = ledger.load(run_id)
    if fresh is None or not may_create(fresh, ref, step.claim, services.now(), services.settings):
        raise Unavailable("The claim ran out, or the run was cancelled, before the job was created")
    handling.check_time()
    try:
        request = job_request(fresh, ref, services.settings)
        services.reached("before-create")
        job = services.jobs.create(request)
    except MissingOutput as error:
        text = f"{ref.stage}/{ref.job} needs ${{{error}}}, which the earlier job's result does not have"
        ledger.record(run_id, Refused(*about, claim=step.claim, quota=False, sentence=sentence(text)))
        return
    except LaunchRefused as refused:
        wait = timedelta(seconds=services.settings.quota_backoff_s)
        ledger.record(
            run_id,
            Refused(
                *about,
                claim=step.claim,
                quota=refused.quota,
                sentence=sentence(f"Vertex AI refused {ref.stage}/{ref.job}: {refused}"),
                not_before=services.now() + wait if refused.quota else None,
            ),
        )
        logs.warning("Vertex refused a job", run=run_id, attempt=ref, claim=step.claim, reason=refused.sentence)
        return
    services.reached("created")
    _record_launched(handling, fresh, ref, job, adopted=False)


def _record_launched(handling: Handling, run: Run, ref: AttemptRef, job: JobReading, *, adopted: bool) -> None:
    about = (ref.stage, ref.job, ref.number)
    handling.ledger.record(run.id, Launched(*about, name=job.name, adopted=adopted))
    handling.services.reached("launched")
    logs.info("Adopted a job" if adopted else "Launched a job", run=run.id, attempt=ref, name=job.name)
    settle(handling, run.id, ref, job)


def settle(handling: Handling, run_id: RunId, ref: AttemptRef, seen: JobReading | None = None) -> None:
    """Cancel every running job of this attempt but the one that `launched` names. Lists lag, so the caller names the
    job that it has `seen` itself.

    Safe to repeat: cancelling twice is cancelling. With no `launched` it does nothing and leaves the job to takeover.
    """
    run = handling.ledger.load(run_id)
    attempt = run.attempt(ref) if run else None
    if run is None or attempt is None or attempt.launched is None:
        return
    kind = run.pipeline.find(ref.stage, ref.job)[1].kind
    found = {job.name: job for job in (seen, *handling.services.jobs.find(kind, run.identity(ref).id)) if job}
    for job in found.values():
        if job.name != attempt.launched.name and not job.terminal:
            logs.warning("Cancelled a double", run=run_id, attempt=ref, name=job.name)
            handling.services.jobs.cancel(job.name)
    handling.services.reached("settled")
