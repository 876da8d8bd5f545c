"""The decisions: from the facts of a run and the time, what to do next. Pure, so that a simulation can try them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.errors import sentence
from orchestrator.facts import Ended, Finished
from orchestrator.identities import AttemptRef
from orchestrator.pipelines import CustomJob, JobSpec
from orchestrator.run import Attempt, Run
from orchestrator.settings import Settings
from orchestrator.spending import Job, launch_problem
from orchestrator.vertex import JobReading

CANCEL_BOUND = timedelta(minutes=15)
MOST_CLAIMS = 30
# How long a frozen handler may sleep and still be put right.
LONGEST_FREEZE_HOLDS = 3


@dataclass(frozen=True)
class Closed:
    """The run has finished."""


@dataclass(frozen=True)
class Configure:
    """Settle the run's parameters."""


@dataclass(frozen=True)
class Launch:
    """Claim and launch an attempt. With `may_create` false, only look for a job that an older claim left behind."""

    ref: AttemptRef
    claim: int
    topic: str
    may_create: bool = True


@dataclass(frozen=True)
class Hold:
    """Another handler's claim is alive: come back."""

    until: datetime


@dataclass(frozen=True)
class Wait:
    """Nothing to do before a time; reconcile comes back then."""

    until: datetime
    reason: str


@dataclass(frozen=True)
class Observe:
    """A job is under way: only its own state says more. `stop` says why it should be cancelled."""

    attempt: Attempt
    stop: str = ""


@dataclass(frozen=True)
class Finish:
    """The run ends."""

    finished: Finished


Step = Closed | Configure | Launch | Hold | Wait | Observe | Finish


def next_step(run: Run, now: datetime, settings: Settings) -> Step:
    """What the facts ask for now. Repeating it on the same facts gives the same step."""
    if run.finished:
        return Closed()
    if run.accepted.abandoned:
        return Finish(Finished("FAILED", "The request was never accepted; press Train model again."))
    if run.cancel:
        return _cancelled(run, now, settings)
    if run.configured is None:
        return Configure()
    if run.configured.problems:
        return Finish(_failed_of_problems(run, run.configured.problems))
    for stage, job in run.pipeline.jobs():
        step = _step_of_job(run, stage.name, stage.topic, job, now, settings)
        if isinstance(step, Launch) and (passed := _passed_cap(run, step, job, settings)):
            return passed
        if step is not None:
            return step
    return Finish(Finished("COMPLETE"))


_CAP_HINT = "ask whoever runs this deployment to raise the cap, or train with a smaller machine, budget or time limit"


def _passed_cap(run: Run, step: Launch, job: Job, settings: Settings) -> Finish | None:
    """The end of a run whose next launch would pass a cap. An attempt whose claim ran out may have a job already, so
    it is taken over first; nothing else of the run has been used since it was first claimed."""
    attempt = run.attempt(step.ref)
    if attempt and attempt.claims and not attempt.claims[-1].refused:
        return None
    problem = launch_problem(run, step.ref.stage, job, settings)
    return Finish(Finished("FAILED", sentence(problem), _CAP_HINT)) if problem else None


def _failed_of_problems(run: Run, problems: tuple[str, ...]) -> Finished:
    known = ", ".join(sorted(run.pipeline.parameters)) or "none"
    hint = f"correct the model run's config, then press Train model again; its parameters are: {known}"
    return Finished("FAILED", sentence("; ".join(problems)), hint)


def _step_of_job(run: Run, stage: str, topic: str, job: JobSpec, now: datetime, settings: Settings) -> Step | None:
    attempts = run.attempts_of(stage, job.name)
    if (stage, job.name) in run.accepted.reused_ends:
        return None
    if not attempts:
        return Launch(AttemptRef(stage, job.name, 1), 1, topic)
    attempt = attempts[-1]
    if attempt.ended:
        return _after_end(attempt, attempt.ended, job, topic, now)
    if attempt.launched and attempt.launched_at:
        late = now - attempt.launched_at > timedelta(seconds=job.timeout_s)
        return Observe(attempt, f"{stage}/{job.name} ran longer than its limit of {job.timeout_s} s" if late else "")
    return _step_of_claims(attempt, topic, now, settings)


def _after_end(attempt: Attempt, ended: Ended, job: JobSpec, topic: str, now: datetime) -> Step | None:
    if ended.usable:
        return None
    ref = attempt.ref
    if ended.retry and ref.number < job.attempts:
        if ended.not_before and now < ended.not_before:
            return Wait(ended.not_before, f"{ref.stage}/{ref.job} is tried again: {ended.sentence}")
        return Launch(AttemptRef(ref.stage, ref.job, ref.number + 1), 1, topic)
    tries = f" (after {ref.number} attempts)" if ref.number > 1 else ""
    return Finish(Finished("FAILED", sentence(ended.sentence + tries), ended.hint))


def _step_of_claims(attempt: Attempt, topic: str, now: datetime, settings: Settings) -> Step:
    ref = attempt.ref
    if not attempt.claims:
        return Launch(ref, 1, topic)
    newest = attempt.claims[-1]
    following = Launch(ref, newest.number + 1, topic)
    if newest.refused:
        refused = newest.refused
        if not refused.quota:
            return Finish(
                Finished("FAILED", refused.sentence, "see the pipeline's definition and the job account's rights")
            )
        began = attempt.first_refusal_at or newest.at
        if now - began > timedelta(seconds=settings.quota_limit_s):
            hours = settings.quota_limit_s / 3600
            text = f"No quota for {ref.stage}/{ref.job} within {hours:g} h: {refused.sentence}"
            return Finish(Finished("FAILED", sentence(text), "ask for more Vertex AI quota, or train at another time"))
        if refused.not_before and now < refused.not_before:
            return Wait(refused.not_before, f"waits for quota: {refused.sentence}")
        return following
    expires = newest.at + timedelta(seconds=settings.claim_hold_s)
    if now < expires:
        return Hold(expires)
    if newest.number >= MOST_CLAIMS:
        text = f"{ref.stage}/{ref.job} could not be launched in {newest.number} tries"
        return Finish(Finished("FAILED", text, "see the functions' logs, then press Train model again"))
    return following


def _cancelled(run: Run, now: datetime, settings: Settings) -> Step:
    assert run.cancel and run.cancelled_at
    reason = f": {run.cancel.reason}" if run.cancel.reason else ""
    end = Finish(Finished("FAILED", sentence(f"Cancelled by {run.cancel.by}{reason}")))
    open_attempt = next(
        (item for items in run.attempts.values() for item in items if not item.ended and item.claims), None
    )
    if open_attempt is None or now - run.cancelled_at > CANCEL_BOUND:
        return end
    if open_attempt.launched:
        return Observe(open_attempt, end.finished.sentence)
    newest = open_attempt.claims[-1]
    if newest.refused:
        return end
    # A create may be in flight under the claim: only after the hold does a look by label show all there is.
    expires = newest.at + timedelta(seconds=settings.claim_hold_s)
    if now < expires:
        return Hold(expires)
    stage = next(item for item in run.pipeline.stages if item.name == open_attempt.ref.stage)
    return Launch(open_attempt.ref, newest.number + 1, stage.topic, may_create=False)


def may_create(run: Run, ref: AttemptRef, claim: int, now: datetime, settings: Settings) -> bool:
    """Looked at once more right before the create, on fresh facts: the claim is the newest, it is young enough for
    the create's answer to arrive under it, and neither a cancel nor the run's end came in between."""
    attempt = run.attempt(ref)
    if run.finished or run.cancel or attempt is None or attempt.launched or not attempt.claims:
        return False
    newest = attempt.claims[-1]
    left_s = settings.claim_hold_s - (now - newest.at).total_seconds()
    return newest.number == claim and left_s > settings.call_deadline_s


def may_thaw(run: Run, now: datetime, settings: Settings) -> bool:
    """Whether a handler that lost its claim to a later one may still be frozen right before its create: the job that it
    makes then would be all of the run that seems to run, if the launched one has ended meanwhile."""
    holds_s = (1 + LONGEST_FREEZE_HOLDS) * settings.claim_hold_s
    window = timedelta(seconds=holds_s + settings.function_timeout_s + settings.call_deadline_s)
    return any(
        now - claim.at < window
        for attempts in run.attempts.values()
        for attempt in attempts
        for claim in attempt.unanswered[:-1]
    )


def ended_of(
    attempt: Attempt,
    job: JobSpec,
    reading: JobReading | None,
    result: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
    now: datetime,
    settings: Settings,
    stop: str = "",
) -> Ended:
    """The `ended` fact of a job that reads terminal (or is gone: None). Vertex's state decides; the job's own files
    only add what happened. `stop` is why we cancelled it, if we did."""
    ref = attempt.ref
    about = (ref.stage, ref.job, ref.number)
    if reading is None:
        return Ended(*about, state="GONE", sentence=f"{ref.stage}/{ref.job}: the Vertex job no longer exists")
    if reading.state in ("SUCCEEDED", "PARTIALLY_SUCCEEDED"):
        if isinstance(job, CustomJob) and result is None:
            text = f"{ref.stage}/{ref.job} ended without a result file"
            return Ended(*about, state="FAILED", sentence=text, hint="see the job's log in Vertex AI")
        found = result or {}
        return Ended(
            *about,
            state=reading.state,
            outputs={**reading.outputs, **_strings(found.get("outputs"))},
            counts={**reading.counts, **_numbers(found.get("counts"), int)},
            metrics=_numbers(found.get("metrics"), float),
            metadata=_strings(found.get("metadata")),
        )
    if stop:
        return Ended(*about, state=reading.state, sentence=sentence(stop))
    text, hint, retry = _failure(ref, reading, error)
    backoff = timedelta(seconds=settings.retry_backoff_s * 2 ** (ref.number - 1))
    return Ended(
        *about,
        state=reading.state,
        sentence=sentence(text),
        hint=hint,
        retry=retry,
        not_before=now + backoff if retry else None,
    )


# google.rpc.Code: ABORTED, INTERNAL, UNAVAILABLE, RESOURCE_EXHAUSTED
# (https://cloud.google.com/apis/design/errors#error_codes)
_HELPED_BY_RETRY = frozenset({8, 10, 13, 14})
_PREEMPTED = ("preempt", "internal error", "quota", "resource exhausted", "stockout", "unavailable")


def _failure(ref: AttemptRef, reading: JobReading, error: Mapping[str, Any] | None) -> tuple[str, str, bool]:
    where = f"{ref.stage}/{ref.job}"
    if reading.state == "CANCELLED":
        return f"{where} was cancelled in Vertex AI", "press Train model again", False
    if reading.state == "EXPIRED":
        return f"{where} ran into Vertex AI's time limit", "raise the job's timeout_s in the pipeline file", False
    if error and isinstance(error.get("sentence"), str):
        return str(error["sentence"]), str(error.get("hint") or ""), error.get("kind") == "transient"
    text = reading.error_message or "no reason given"
    helped = reading.error_code in _HELPED_BY_RETRY or any(word in text.lower() for word in _PREEMPTED)
    return f"{where} failed: {text}", "see the job's log in Vertex AI", helped


def _strings(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in found.items() if isinstance(value, str | int | float)}


def _numbers(found: object, kind: type) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {}
    return {
        str(key): kind(value)
        for key, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
