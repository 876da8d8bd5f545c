"""What must hold when a world is at rest, whatever went wrong before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.facts import Claimed, decode
from orchestrator.identities import RunId
from orchestrator.run import Attempt, Run, fold
from simulation.bounds import has_bound, of_bounds, of_limits
from simulation.steered import of_steering
from simulation.vertex import SimulatedJob
from simulation.world import World

CALLS_A_JOB, CALLS_A_TICK, CALLS_A_MESSAGE = 40, 4, 10
CALLS_A_LOOK = 2  # at whether a model run was deleted: the facts' listing, and Labelbox
_MOST_CLAIMS = 30


@dataclass(frozen=True)
class Findings:
    """What a schedule came to, and the rules it broke, each as a sentence."""

    launches: int
    doubles: int  # created besides the first of their attempt, running or not
    doubles_at_rest: int  # of those, still running
    stuck: int
    broken: tuple[str, ...]


def check(world: World, rested: bool) -> Findings:
    """Look at a world at rest."""
    runs = list(_runs(world))
    strays = [job for job in world.vertex.live() if world.is_stray(job)]
    stuck = [run for run in runs if run.finished is None]
    broken = [] if rested else ["the world does not come to rest"]
    broken += (f"run {run.id} never ended" for run in stuck)
    broken += (f"job {job.reading.number} of {job.run} still runs" for job in world.vertex.live())
    by_id = {run.id: run for run in runs}
    for run in runs:
        broken += _of_run(world, run)
        broken += _of_reuse(run, by_id.get(RunId(run.id.slug, run.id.number - 1)))
    broken += _of_world(world, runs)
    doubles = sum(len(jobs) - 1 for jobs in world.vertex.by_attempt.values())
    return Findings(len(world.vertex.by_name), doubles, len(strays), len(stuck), tuple(broken))


def _runs(world: World) -> Iterator[Run]:
    for folder, stored in world.bucket.run_folders():
        slug, number = folder.removeprefix("facts/runs/").rstrip("/").split("/")
        run = fold(RunId(slug, int(number)), (decode(data, item.created) for item, data in stored))
        if run is not None:
            yield run


def _of_world(world: World, runs: list[Run]) -> Iterator[str]:
    for name in world.bucket.names("active/"):
        yield f"{name} was left behind"
    yield from world.pubsub.counts.late_refusals
    if world.pubsub.counts.answered_500:
        yield f"{world.pubsub.counts.answered_500} handlers failed with an error that nobody foresaw"
    for message in world.pubsub.counts.dead:
        if not message.trouble:
            yield f"message {message.number} to {message.topic} became a dead letter without any fault"
    kept = len(world.bucket.names("dead/"))
    if kept > len(world.pubsub.counts.dead):
        yield f"{kept} messages were kept under dead/, and {len(world.pubsub.counts.dead)} were dead letters"
    yield from _of_calls(world, runs)
    yield from of_limits(world, runs)
    newest = {run.id.slug: run for run in sorted(runs, key=lambda run: run.id) if not run.accepted.abandoned}
    for slug, run in newest.items():
        if slug in world.labelbox.deleted:
            continue  # there is nothing left to show it
        shown = world.labelbox.shown.get(slug)
        if run.finished and (shown is None or shown.status != run.finished.outcome):
            yield f"Labelbox shows {shown.status if shown else None} of {run.id}, which ended {run.finished.outcome}"
        elif run.finished and shown and shown.error_message != run.finished.sentence:
            yield f"Labelbox says {shown.error_message!r} of {run.id}, which ended with {run.finished.sentence!r}"
    names = [attempt.launched.name for run in runs for _, attempt in _attempts(run) if attempt.launched]
    if len(set(names)) < len(names):
        yield "one job was launched for two attempts"
    for attempt_id, jobs in world.vertex.by_attempt.items():
        if len(jobs) > 1 and not any(job.creator_outlived for job in jobs):
            yield f"{attempt_id} was doubled by handlers that were in time"


def _of_calls(world: World, runs: list[Run]) -> Iterator[str]:
    """A job is a create that was asked for, or a run that came to none; a message is a push, repeated ones too.

    Besides, each instance reads each fact once, and again after it died; one instance's reads are within the bounds.
    """
    counts = world.pubsub.counts
    jobs = world.vertex.asked + sum(1 for run in runs if not run.attempts)
    facts = sum(len(run.stamps) for run in runs)
    allowed = (
        facts * (world.instances + world.gate.crashes - 1)
        + CALLS_A_LOOK * world.labelbox.look_ups
        + CALLS_A_JOB * jobs
        + CALLS_A_TICK * counts.ticks
        + CALLS_A_MESSAGE * (counts.deliveries + world.posts)
    )
    if world.gate.calls > allowed:
        yield f"{world.gate.calls} calls are over the {allowed} that are allowed"


def _attempts(run: Run) -> Iterator[tuple[tuple[str, str], Attempt]]:
    for key, attempts in run.attempts.items():
        for attempt in attempts:
            yield key, attempt


def _of_run(world: World, run: Run) -> Iterator[str]:
    if run.accepted.abandoned:
        if run.attempts:
            yield f"{run.id} was abandoned and has attempts"
        return
    for key, attempt in _attempts(run):
        yield from (f"{run.id} {'/'.join(key)}: {text}" for text in _of_attempt(world, run, attempt))
    yield from (f"{run.id}: {text}" for text in _of_order(run))
    yield from (f"{run.id}: {text}" for text in of_bounds(world, run))
    yield from (f"{run.id}: {text}" for text in of_steering(world, run))
    if not world.dice.happened:
        yield from (f"{run.id}: {text}" for text in _of_haste(run, world.settings.claim_hold_s))
    if run.finished:
        yield from (f"{run.id}: {text}" for text in _of_outcome(world, run))


def _of_attempt(world: World, run: Run, attempt: Attempt) -> Iterator[str]:
    numbers = [claim.number for claim in attempt.claims]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"claims are numbered {numbers}"
    if attempt.launched is None:
        if attempt.ended:
            yield "it ended without being launched"
        return
    if not attempt.claims:
        yield "it was launched without a claim"
    job = world.vertex.by_name.get(attempt.launched.name)
    if job is None or job.attempt_id != run.identity(attempt.ref).id:
        yield "`launched` names a job that is not its own"
        return
    if attempt.ended:
        yield from _of_end(attempt, job)
    yield from _of_cancel(world, run, attempt, job)


def _of_end(attempt: Attempt, job: SimulatedJob) -> Iterator[str]:
    assert attempt.ended
    true = job.reading
    if attempt.ended.state != true.state and not (true.state == "SUCCEEDED" and job.failure == "no result"):
        yield f"`ended` says {attempt.ended.state}, and the job is {true.state}"
    if attempt.ended.usable and job.kind == "CustomJob" and not attempt.ended.outputs:
        yield "`ended` is usable and has no outputs"


def _of_cancel(world: World, run: Run, attempt: Attempt, job: SimulatedJob) -> Iterator[str]:
    """The launched job may be cancelled only for the run's end, a user's cancel or its time limit."""
    if not job.cancels_s or run.cancel:
        return
    first = world.timeline.when(job.cancels_s[0])
    if run.finished_at and run.finished_at <= first:
        return
    spec = run.pipeline.find(attempt.ref.stage, attempt.ref.job)[1]
    assert attempt.launched_at
    if (first - attempt.launched_at).total_seconds() <= spec.timeout_s:
        yield "its one job was cancelled without a reason"


def _of_order(run: Run) -> Iterator[str]:
    """Stages in their order, none skipped; an attempt only after the one before ended with a retry."""
    ready = True
    for stage, job in run.pipeline.jobs():
        attempts = run.attempts_of(stage.name, job.name)
        if (stage.name, job.name) in run.accepted.reused_ends:
            if attempts or not ready:
                yield f"{stage.name}/{job.name} was taken over, and run or not reached all the same"
            continue
        if attempts and not ready:
            yield f"{stage.name}/{job.name} began before the job before it had ended well"
        for number, attempt in enumerate(attempts, start=1):
            if attempt.ref.number != number:
                yield f"{stage.name}/{job.name} has attempt {attempt.ref.number} in the place of {number}"
            if number > 1 and not (attempts[number - 2].ended and attempts[number - 2].ended.retry):  # type: ignore[union-attr]
                yield f"{attempt.ref} follows an attempt that was not to be repeated"
        last = attempts[-1] if attempts else None
        ready = ready and last is not None and last.ended is not None and last.ended.usable
    known = {(stage.name, job.name) for stage, job in run.pipeline.jobs()}
    for key in run.attempts.keys() - known:
        yield f"{'/'.join(key)} is no job of the accepted pipeline"
    if run.finished and run.finished.outcome == "COMPLETE" and not ready:
        yield "it is COMPLETE, and not all of its jobs ended well"


def _of_reuse(run: Run, older: Run | None) -> Iterator[str]:
    """What a run takes over is what the run before it ended with, and that run had ended."""
    for key, ended in run.accepted.reused_ends.items():
        source = older.ended_jobs().get(key) if older else None
        if source is None or source.outputs != ended.outputs:
            yield f"{run.id} takes over {'/'.join(key)}, which the run before it did not end with"
        if older and older.finished_at and older.finished_at > run.accepted_at:
            yield f"{run.id} goes on from a run that was still under way"


def _of_haste(run: Run, hold_s: float) -> Iterator[str]:
    """Where nothing went wrong, each job is claimed soon after what it waited for: nothing leans on reconcile."""
    before = run.accepted_at
    for stage, job in run.pipeline.jobs():
        for attempt in run.attempts_of(stage.name, job.name):
            first = attempt.claims[0].at
            if (first - before).total_seconds() > hold_s:
                yield f"{attempt.ref} was claimed {(first - before).total_seconds():.0f} s late, and nothing was wrong"
            before = run.stamps[attempt.ended.path].created if attempt.ended else first


def _of_outcome(world: World, run: Run) -> Iterator[str]:
    assert run.finished and run.finished_at
    for path, stored in run.stamps.items():
        if isinstance(stored.fact, Claimed) and (stored.created - run.finished_at).total_seconds() > 1000:
            yield f"{path} was written long after the end"
    if run.finished.outcome == "FAILED" and not _has_reason(world, run):
        yield f"it FAILED without a reason: {run.finished.sentence}"
    told = run.told.get("finished")
    if told and not told.refused and told.status != run.finished.outcome:
        yield f"Labelbox was told {told.status}, and it ended {run.finished.outcome}"


def _has_reason(world: World, run: Run) -> bool:
    assert run.finished
    if run.cancel and run.finished.sentence.startswith(f"Cancelled by {run.cancel.by}"):
        return True
    if run.id in world.vertex.refused_for_good or has_bound(world, run):
        return True
    if any(f'"{run.id}"'.encode() in message.data for message in world.pubsub.counts.dead):
        return True
    for key, attempt in _attempts(run):
        if len(attempt.claims) >= _MOST_CLAIMS:
            return True
        job = world.vertex.by_name.get(attempt.launched.name) if attempt.launched else None
        if job is None or attempt.ended is None:
            continue
        spec = run.pipeline.find(*key)[1]
        late = attempt.launched_at and any(
            (world.timeline.when(at) - attempt.launched_at).total_seconds() > spec.timeout_s for at in job.cancels_s
        )
        if job.failure or late:
            return True
    return False
