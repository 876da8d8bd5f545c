"""What must hold at rest of what steers a run: a cancel, parameters, and the waits for quota and before a retry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

from orchestrator.job_requests import job_request
from orchestrator.run import Attempt, Run
from simulation.faults import Fault
from simulation.gate import CALL_DEADLINE_S
from simulation.world import LONGEST_STALL_HOLDS, World


def of_steering(world: World, run: Run) -> Iterator[str]:
    """What is broken in one run that was accepted and not abandoned."""
    yield from _of_cancel(world, run)
    for attempts in run.attempts.values():
        for number, attempt in enumerate(attempts):
            yield from _of_waits(world, attempt, attempts[number - 1] if number else None)
            yield from _of_request(world, run, attempt)
    changes = world.changes.get(run.id, {})
    if run.configured and not run.configured.problems:
        for name, value in changes.items():
            if run.configured.parameters[name] != value:
                yield f"it was asked for with {name} {value}, and has {run.configured.parameters[name]}"


def _of_cancel(world: World, run: Run) -> Iterator[str]:
    """Who cancelled a run is what it ends with, unless it had ended before, as a handler sees it that may be frozen;
    and from the cancel on nothing is launched by handlers that are in time."""
    if run.cancel is None or run.cancelled_at is None:
        return
    settings = world.settings
    in_time_s = settings.function_timeout_s + CALL_DEADLINE_S
    frozen_s = in_time_s + LONGEST_STALL_HOLDS * settings.claim_hold_s
    if run.finished and run.finished_at and not run.finished.sentence.startswith(f"Cancelled by {run.cancel.by}"):
        late = run.finished_at - run.cancelled_at > timedelta(seconds=frozen_s)
        if late:
            yield f"{run.cancel.by} cancelled it, and it ended with {run.finished.outcome} {run.finished.sentence}"
    for attempts in run.attempts.values():
        for attempt in attempts:
            for job in world.vertex.by_attempt.get(run.identity(attempt.ref).id, ()):
                after = job.history[0][1].created - run.cancelled_at
                if after > timedelta(seconds=in_time_s) and not job.creator_outlived:
                    yield f"{attempt.ref} was launched {after.total_seconds():.0f} s after the run had been cancelled"


def _of_waits(world: World, attempt: Attempt, before: Attempt | None) -> Iterator[str]:
    ended = before.ended if before else None
    if attempt.claims and ended and ended.not_before and attempt.claims[0].at < ended.not_before:
        yield f"{attempt.ref} did not wait as long as a retry waits"
    # A frozen handler may be refused long after another has gone on.
    if Fault.STALL in world.dice.happened:
        return
    for claim, following in pairwise(attempt.claims):
        if (refused := claim.refused) is None:
            continue
        if refused.not_before and following.at < refused.not_before:
            yield f"{attempt.ref} did not wait for quota"
        if not refused.quota:
            yield f"{attempt.ref} was claimed again after a sure refusal"


def _of_request(world: World, run: Run, attempt: Attempt) -> Iterator[str]:
    """The job was asked for with what the run's facts say: its pipeline, images, parameters, and ended jobs."""
    job = world.vertex.by_name.get(attempt.launched.name) if attempt.launched else None
    if job is None:
        return
    asked = job_request(run, attempt.ref, world.settings).body
    if _comparable(job.body) != _comparable(asked):
        yield f"{attempt.ref} was asked for with {job.body}, and the facts say {asked}"


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    """A request without the container's environment, which describes the run as it was when the job was launched, and
    with its arguments, whose order says nothing, sorted."""
    if "job_spec" not in body:
        return body
    pool = body["job_spec"]["worker_pool_specs"][0]
    container = {"image_uri": pool["container_spec"]["image_uri"], "args": sorted(pool["container_spec"]["args"])}
    return {**body, "job_spec": {**body["job_spec"], "worker_pool_specs": [{**pool, "container_spec": container}]}}
