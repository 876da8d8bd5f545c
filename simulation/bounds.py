"""What must hold at rest of what bounds a run: bad configs, limits and caps of the deployment, deleted model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from orchestrator.pipelines import AutoMLImageTraining, JobSpec
from orchestrator.run import Attempt, Run
from simulation.world import BAD_CONFIGS, World

_HOUR_S = 3600.0
_ROUNDING_S = 1.0
_CANCEL_S = 120.0


def of_bounds(world: World, run: Run) -> Iterator[str]:
    """What is broken in one run that was accepted and not abandoned."""
    yield from _of_problems(world, run)
    if run.cancel and run.cancel.gone and run.accepted.model_run_id not in world.labelbox.deleted:
        yield "it was cancelled as deleted, and Labelbox has its model run"
    yield from _of_deletion(world, run)
    if world.settings.max_run_hours is not None:
        yield from _of_cap(world, run, world.settings.max_run_hours)


def of_limits(world: World, runs: list[Run]) -> Iterator[str]:
    """No more runs were admitted than the deployment allows, at once and on a day."""
    admitted = [run for run in runs if run.configured and not run.configured.problems]
    at = {run.id: run.stamps[run.configured.path].created for run in admitted if run.configured}
    for run in admitted:
        under_way = [
            other
            for other in admitted
            if other is run
            or (at[other.id] <= at[run.id] and not (other.finished_at and other.finished_at <= at[run.id]))
        ]
        if len(under_way) > world.settings.max_active_runs:
            yield f"{len(under_way)} runs were under way at once, and {world.settings.max_active_runs} are allowed"
    for day, number in Counter(run.accepted_at.date() for run in admitted).items():
        if number > world.settings.max_runs_per_day:
            yield f"{number} runs were admitted on {day}, and {world.settings.max_runs_per_day} are allowed"


def has_bound(world: World, run: Run) -> bool:
    """Whether one of the bounds is why a run failed; each is judged by what really was."""
    if run.configured and run.configured.problems:
        return True  # `_of_problems` judges them
    cap = world.settings.max_run_hours
    if cap is None or run.finished is None or "MAX_RUN_HOURS" not in run.finished.sentence:
        return False
    ended = run.ended_jobs()
    following = next(
        ((stage.name, job) for stage, job in run.pipeline.jobs() if (stage.name, job.name) not in ended), None
    )
    if following is None:
        return False
    used_s = sum(_recorded_s(run, attempt) for attempts in run.attempts.values() for attempt in attempts)
    return used_s + _bound_s(following[1]) > cap * _HOUR_S - _ROUNDING_S


def _of_problems(world: World, run: Run) -> Iterator[str]:
    problems = run.configured.problems if run.configured else ()
    if problems and run.attempts:
        yield "it has problems and was launched all the same"
    slug, settings = run.accepted.model_run_id, world.settings
    for problem in problems:
        true = (
            world.labelbox.configs.get(slug) in BAD_CONFIGS
            or slug in world.labelbox.deleted
            or ("MAX_RUNS_PER_DAY" in problem and world.accepted_runs > settings.max_runs_per_day)
            or ("MAX_ACTIVE_RUNS" in problem and world.accepted_runs > settings.max_active_runs)
            or ("MAX_RUN_HOURS" in problem and settings.max_run_hours is not None)
        )
        if not true:
            yield f"it failed of a problem that it did not have: {problem}"


def _of_deletion(world: World, run: Run) -> Iterator[str]:
    """Soon after a model run was deleted (or a later run of it began), and once faults are off, nothing of it is
    launched any more and nothing runs: told or looked up, it is known to be gone."""
    deleted_s = world.labelbox.deleted.get(run.accepted.model_run_id)
    if deleted_s is None:
        return
    settings = world.settings
    # A turn can be missed by a tick that is a second late, and a claim is waited for.
    launch_s = 2 * settings.deleted_check_s + settings.reconcile_period_s + _CANCEL_S
    end_s = launch_s + 2 * (settings.claim_hold_s + settings.reconcile_period_s)
    latest = max(world.timeline.when(deleted_s), run.accepted_at, world.timeline.when(world.calm_since_s or 0.0))
    for attempt in _launched(run):
        job = world.vertex.by_name.get(attempt.launched.name) if attempt.launched else None
        if job and job.history[0][1].created > latest + timedelta(seconds=launch_s):
            yield f"{attempt.ref} was launched long after its model run had been deleted"
        if job and world.timeline.when(job.history[-1][0]) > latest + timedelta(seconds=end_s):
            yield f"{attempt.ref} ran on long after its model run had been deleted"


def _of_cap(world: World, run: Run, cap_hours: float) -> Iterator[str]:
    """No launch that could pass the cap, by the jobs' true times. What a job ran before its launch was recorded cannot
    be known to the engine, and is allowed on top."""
    used_s = unseen_s = 0.0
    for attempt in _launched(run):
        assert attempt.launched
        job = world.vertex.by_name.get(attempt.launched.name)
        if job is None:
            continue
        spec = run.pipeline.find(attempt.ref.stage, attempt.ref.job)[1]
        if used_s + _bound_s(spec) > cap_hours * _HOUR_S + unseen_s + _ROUNDING_S:
            yield f"{attempt.ref} was launched beyond the cap of {cap_hours} machine hours"
        began_s, ended_s = job.history[0][0], job.history[-1][0]
        used_s += _bound_s(spec) if isinstance(spec, AutoMLImageTraining) else ended_s - began_s
        assert attempt.launched_at
        unseen_s += max(0.0, (attempt.launched_at - job.history[0][1].created).total_seconds())


def _launched(run: Run) -> list[Attempt]:
    found = [attempt for attempts in run.attempts.values() for attempt in attempts if attempt.launched]
    never = datetime.max.replace(tzinfo=run.accepted_at.tzinfo)
    return sorted(found, key=lambda attempt: attempt.launched_at or never)


def _bound_s(job: JobSpec) -> float:
    if isinstance(job, AutoMLImageTraining):
        return float(str(job.budget_milli_node_hours)) / 1000 * _HOUR_S
    return float(job.timeout_s)


def _recorded_s(run: Run, attempt: Attempt) -> float:
    spec = run.pipeline.find(attempt.ref.stage, attempt.ref.job)[1]
    if attempt.launched_at is None:
        return 0.0
    if attempt.ended is None or isinstance(spec, AutoMLImageTraining):
        return _bound_s(spec)
    return (run.stamps[attempt.ended.path].created - attempt.launched_at).total_seconds()
