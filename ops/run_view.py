"""A run as an operator reads it: one row among others, its jobs with their links, its facts as a timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ops.deployment import Deployment
from ops.usage import Cost, Prices, Use, attempt_seconds, uses_of_run
from orchestrator.run import Attempt, Run
from orchestrator.tellings import job_link

ABANDONED = "abandoned"
FAILED = "FAILED"


@dataclass(frozen=True)
class JobRow:
    """One attempt of one job; a job without any has number 0. `seconds`: from its launch to its end, or to now."""

    stage: str
    job: str
    kind: str
    attempt: int
    state: str
    seconds: float | None = None
    vertex_name: str = ""
    console: str = ""
    log: str = ""
    sentence: str = ""
    hint: str = ""

    @property
    def number(self) -> str:
        """The Vertex job's own number; empty before it is launched."""
        return self.vertex_name.rpartition("/")[2]


@dataclass(frozen=True)
class RunRow:
    """A run in one line. `state` is COMPLETE or FAILED, or what it does now; `at` the job that it is at."""

    run: str
    model_run_id: str
    pipeline: str
    state: str
    at: str
    accepted: datetime
    age_s: float
    seconds: float
    sentence: str = ""
    hint: str = ""
    uses: tuple[Use, ...] = ()
    cost: Cost = field(default_factory=lambda: Cost(None, ""))

    @property
    def hours(self) -> float:
        """Machine and node hours together; budgets count as if they were used up."""
        return sum(use.hours for use in self.uses)

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "uses": [use.shown() for use in self.uses], "cost": self.cost.shown()}


def run_row(run: Run, now: datetime, prices: Prices) -> RunRow:
    """The row of a run at a moment."""
    uses = () if run.accepted.abandoned else tuple(uses_of_run(run, now))
    state, at = _state(run)
    finished = run.finished
    return RunRow(
        run=str(run.id),
        model_run_id=run.accepted.model_run_id,
        pipeline=run.accepted.model_type,
        state=state,
        at=at,
        accepted=run.accepted_at,
        age_s=max(0.0, (now - run.accepted_at).total_seconds()),
        seconds=max(0.0, ((run.finished_at or now) - run.accepted_at).total_seconds()),
        sentence=finished.sentence if finished else "",
        hint=finished.hint if finished else "",
        uses=uses,
        cost=prices.cost(uses),
    )


def _state(run: Run) -> tuple[str, str]:
    if run.accepted.abandoned:
        return ABANDONED, ""
    at, state = "", "waiting"
    for stage, job in run.pipeline.jobs():
        attempts = run.attempts_of(stage.name, job.name)
        if attempts:
            at, state = f"{stage.name}/{job.name}", attempt_state(attempts[-1])
    if run.finished:
        return run.finished.outcome, at if run.finished.outcome == FAILED else ""
    return ("cancelling" if run.cancel else state), at


def attempt_state(attempt: Attempt) -> str:
    """What an attempt does now, or how it ended."""
    if attempt.ended:
        return attempt.ended.state
    if attempt.launched:
        return "RUNNING"
    refused = attempt.claims[-1].refused if attempt.claims else None
    return "waits for quota" if refused and refused.quota else "refused" if refused else "launching"


def job_rows(deployment: Deployment, run: Run, now: datetime) -> Iterator[JobRow]:
    """Every attempt of every job in the pipeline's order."""
    if run.accepted.abandoned:
        return
    for stage, job in run.pipeline.jobs():
        attempts = run.attempts_of(stage.name, job.name)
        if not attempts:
            yield JobRow(stage.name, job.name, job.kind, 0, _state_without_attempt(run, stage.name, job.name))
        for attempt in attempts:
            launched, ended = attempt.launched, attempt.ended
            refused = attempt.claims[-1].refused if attempt.claims else None
            yield JobRow(
                stage=stage.name,
                job=job.name,
                kind=job.kind,
                attempt=attempt.ref.number,
                state=attempt_state(attempt),
                seconds=attempt_seconds(run, attempt, now),
                vertex_name=launched.name if launched else "",
                console="" if not launched or deployment.is_local else job_link(launched.name, deployment.settings),
                log=deployment.job_logs.place(launched.name.rpartition("/")[2]) if launched else "",
                sentence=ended.sentence if ended else refused.sentence if refused and not launched else "",
                hint=ended.hint if ended else "",
            )


def _state_without_attempt(run: Run, stage: str, job: str) -> str:
    """Of a job that this run launched nothing for (yet)."""
    if (stage, job) in run.accepted.reused_ends:
        return "reused"
    return "not run" if run.finished else "waiting"


def outputs_of(run: Run) -> dict[str, str]:
    """What the jobs left, as `stage.job.name`."""
    return _of_ended(run, "outputs")


def counts_of(run: Run) -> dict[str, int]:
    """What the jobs counted, as `stage.job.name`."""
    return _of_ended(run, "counts")


def metrics_of(run: Run) -> dict[str, float]:
    """What the jobs measured, as `stage.job.name`."""
    return _of_ended(run, "metrics")


def _of_ended(run: Run, what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (stage, job), ended in run.ended_jobs().items():
        values: Mapping[str, Any] = getattr(ended, what)
        found.update({f"{stage}.{job}.{name}": value for name, value in values.items()})
    return found
