"""What a run of a pipeline will take: machine hours a job, from what this deployment's own runs took.

Nothing is assumed that was not measured here or given by the operator: without either, a job's time is unknown and
only its time limit bounds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from ops.usage import Cost, Prices, Use, attempt_seconds, summed, uses_of_job
from orchestrator.pipelines import AutoMLImageTraining, Pipeline
from orchestrator.run import Run
from orchestrator.templates import Scalar

MOST_RUNS = 50
_ASSUMPTIONS = (
    "Each job is launched once; a retry adds its time again.",
    "A job's time counts from its launch to its recorded end, waiting for a machine included.",
)
_AUTOML = "AutoML's node hours are its budget: early stopping can end it sooner, and less is billed then."
_LOCAL = "Times of earlier runs are those of this machine and its stand-ins, not of Google's."
_AUTOMATIC = "Nodes of a batch prediction on automatic resources are counted as one node for the job's time."


@dataclass(frozen=True)
class Point:
    """One job of an earlier run: how many rows the run had, and how long the job took."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class JobEstimate:
    """A job's time and use. `seconds` is None if nothing is known; `basis` says where the figure comes from."""

    stage: str
    job: str
    kind: str
    seconds: float | None
    limit_s: int
    basis: str
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Estimate:
    """The whole run."""

    pipeline: str
    rows: int
    jobs: tuple[JobEstimate, ...]
    uses: tuple[Use, ...]
    cost: Cost
    assumptions: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every job's use is known."""
        return all(job.uses for job in self.jobs)

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pipeline": self.pipeline,
            "rows": self.rows,
            "complete": self.complete,
            "jobs": [
                {
                    "stage": job.stage,
                    "job": job.job,
                    "kind": job.kind,
                    "seconds": None if job.seconds is None else round(job.seconds, 1),
                    "limit_s": job.limit_s,
                    "basis": job.basis,
                    "uses": [use.shown() for use in job.uses],
                }
                for job in self.jobs
            ],
            "uses": [use.shown() for use in self.uses],
            "cost": self.cost.shown(),
            "assumptions": list(self.assumptions),
        }


def points_of(runs: Iterable[Run], model_type: str, now: datetime) -> dict[tuple[str, str], list[Point]]:
    """What the jobs of completed runs of a pipeline took, by stage and job."""
    found: dict[tuple[str, str], list[Point]] = {}
    for run in runs:
        if run.accepted.model_type != model_type or not run.finished or run.finished.outcome != "COMPLETE":
            continue
        rows = max((ended.counts.get("rows", 0) for ended in run.ended_jobs().values()), default=0)
        for key, attempts in run.attempts.items():
            seconds = attempt_seconds(run, attempts[-1], now)
            if rows and seconds is not None and attempts[-1].ended:
                found.setdefault(key, []).append(Point(rows, seconds))
    return found


def seconds_for(points: list[Point], rows: int) -> tuple[float, str]:
    """A job's time for so many rows, and how it was found: on a line through runs of different sizes, else in
    proportion to the rows and never shorter than what was measured."""
    sizes = sorted({point.rows for point in points})
    measured = f"{len(points)} earlier run{'s' if len(points) > 1 else ''} of {_range(sizes)} rows"
    mean_s = fmean(point.seconds for point in points)
    if len(sizes) == 1:
        return mean_s * max(1.0, rows / sizes[0]), f"in proportion to {measured}, and no less"
    mean_rows = fmean(point.rows for point in points)
    spread = sum((point.rows - mean_rows) ** 2 for point in points)
    slope = sum((point.rows - mean_rows) * (point.seconds - mean_s) for point in points) / spread
    if slope <= 0:
        return mean_s, f"mean of {measured}, which did not take longer with more rows"
    return max(mean_s + slope * (rows - mean_rows), 0.0), f"line through {measured}"


def _range(sizes: list[int]) -> str:
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def estimate(
    pipeline: Pipeline,
    rows: int,
    parameters: Mapping[str, Scalar],
    points: Mapping[tuple[str, str], list[Point]],
    given_s: Mapping[str, float],
    prices: Prices,
    *,
    is_local: bool = False,
) -> Estimate:
    """The estimate of a run. `given_s`: seconds that the operator says a job takes, by `stage/job`. `is_local`: the
    points come from the embedded cloud."""
    jobs = tuple(_estimates(pipeline, rows, parameters, points, given_s))
    uses = tuple(summed(use for job in jobs for use in job.uses))
    cost = prices.cost(uses)
    unknown = [f"{job.stage}/{job.job}" for job in jobs if not job.uses]
    if unknown:
        cost = Cost(None, cost.currency, cost.at_most, cost.missing)
    assumptions = [*_assumptions(jobs, unknown, cost), *([_LOCAL] if is_local else [])]
    return Estimate(pipeline.model_type, rows, jobs, uses, cost, tuple(assumptions))


def _estimates(
    pipeline: Pipeline,
    rows: int,
    parameters: Mapping[str, Scalar],
    points: Mapping[tuple[str, str], list[Point]],
    given_s: Mapping[str, float],
) -> Iterator[JobEstimate]:
    for stage, job in pipeline.jobs():
        name = f"{stage.name}/{job.name}"
        seconds: float | None
        if name in given_s:
            seconds, basis = given_s[name], "given by --seconds"
        elif known := points.get((stage.name, job.name)):
            seconds, basis = seconds_for(known, rows)
        else:
            seconds, basis = None, "no completed run of this pipeline here yet"
        by_budget = isinstance(job, AutoMLImageTraining)
        uses = uses_of_job(job, parameters, (seconds or 0.0) / 3600) if seconds is not None or by_budget else []
        yield JobEstimate(stage.name, job.name, job.kind, seconds, job.timeout_s, basis, tuple(uses))


def _assumptions(jobs: Iterable[JobEstimate], unknown: list[str], cost: Cost) -> Iterator[str]:
    yield from _ASSUMPTIONS
    kinds = {job.kind for job in jobs}
    if "TrainingPipeline" in kinds:
        yield _AUTOML
    if "BatchPredictionJob" in kinds:
        yield _AUTOMATIC
    if unknown:
        yield f"Unknown: {', '.join(unknown)}. Say how long with --seconds STAGE/JOB=S, or run the pipeline once."
    if cost.missing:
        yield f"No price is given for: {', '.join(cost.missing)} (--prices FILE)."
