"""One run as its page shows it: the stages as steps, the jobs in them, what happened, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from local.console.desk import Desk
from local.labelbox_side import ModelRunState
from local.run_view import RunView, in_words, view_of
from ops.errors import NotFound
from ops.run_view import JobRow, job_rows
from ops.timeline import Moment, timeline
from orchestrator.run import Run

DONE, ACTIVE, WAITING, FAILED, REUSED = "done", "active", "waiting", "failed", "reused"
COMPLETE = "COMPLETE"
LOG_LINES = 12
_TOLD_AT_LAST = "finished"
_USABLE = ("SUCCEEDED", "PARTIALLY_SUCCEEDED")
# Figures worth a tile, the most telling first; the others stand in the table below.
HEADLINES = {
    "accuracy": "Accuracy",
    "map_50": "mAP@.5",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "f1": "F1",
    "map_50_95": "mAP@[.5:.95]",
    "row_accuracy": "Rows wholly right",
    "subset_accuracy": "Rows wholly right",
    "precision": "Precision",
    "recall": "Recall",
}
BASELINE = "majority_baseline"
_TILES = 4
_SAID = frozenset(("message", "severity", "done", "total"))


@dataclass(frozen=True)
class Step:
    """A stage and its jobs. `state` is one of DONE, ACTIVE, WAITING, FAILED, REUSED."""

    name: str
    state: str
    jobs: tuple[JobRow, ...]

    @property
    def seconds(self) -> float | None:
        """The time of its jobs together; None before the first launch."""
        known = [job.seconds for job in self.jobs if job.seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Figure:
    """A headline figure between 0 and 1, beside the majority baseline where that is comparable."""

    name: str
    label: str
    value: float
    baseline: float | None = None


@dataclass(frozen=True)
class RunProgress:
    """One moment of a run."""

    run: Run
    now: datetime
    steps: tuple[Step, ...]
    moments: tuple[Moment, ...]
    labelbox: ModelRunState | None
    log_name: str
    log: tuple[str, ...]
    metrics: dict[str, float]
    counts: dict[str, int]

    @property
    def state(self) -> str:
        """COMPLETE or FAILED, or what it does now."""
        if self.run.accepted.abandoned:
            return "abandoned"
        if self.run.finished:
            return self.run.finished.outcome
        return "cancelling" if self.run.cancel else "running"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more: it has ended, and Labelbox was told."""
        return self.run.accepted.abandoned or (self.run.finished is not None and _TOLD_AT_LAST in self.run.told)

    @property
    def is_by_stand_in(self) -> bool:
        """Whether a stand-in trains in AutoML's place, so that the figures are its own."""
        jobs = (job for step in self.steps for job in step.jobs)
        return any(job.kind == "TrainingPipeline" for job in jobs)

    @property
    def seconds(self) -> float:
        """From the request to the end, or to now."""
        return max(0.0, ((self.run.finished_at or self.now) - self.run.accepted_at).total_seconds())

    @property
    def sentence(self) -> str:
        """What it does now, for somebody who only listens; changes only when the state does."""
        if self.run.finished:
            return f"{self.state}{': ' + self.run.finished.sentence if self.run.finished.sentence else ''}"
        active = next((step for step in self.steps if step.state == ACTIVE), None)
        jobs = [job for job in active.jobs if job.attempt and job.state not in _USABLE] if active else []
        if active and jobs:
            return f"{active.name}/{jobs[-1].job}: {jobs[-1].state.lower()}"
        return f"{active.name}: about to be launched" if active else self.state

    @property
    def figures(self) -> list[Figure]:
        """The headline figures, the majority baseline beside the accuracy, or beside the first if there is none."""
        chosen = [(name, label) for name, label in HEADLINES.items() if 0 <= self.metrics.get(name, -1.0) <= 1]
        compared = "accuracy" if "accuracy" in self.metrics else chosen[0][0] if chosen else ""
        baseline = self.metrics.get(BASELINE) or None
        return [
            Figure(name, label, self.metrics[name], baseline if name == compared else None)
            for name, label in chosen[:_TILES]
        ]


def progress_of(desk: Desk, run: Run) -> RunProgress:
    """The run as it stands now."""
    now = desk.deployment.services.now()
    rows = list(job_rows(desk.deployment, run, now))
    # A run that was never accepted has no pipeline to look at.
    view = RunView(()) if run.accepted.abandoned else view_of(run, run.pipeline, now, {})
    name, log = _log(desk, rows)
    return RunProgress(
        run=run,
        now=now,
        steps=tuple(_steps(run, rows)),
        moments=tuple(reversed(list(timeline(run)))),
        labelbox=desk.in_labelbox(run.accepted.model_run_id),
        log_name=name,
        log=log,
        metrics=view.metrics(),
        counts=view.counts(),
    )


def _steps(run: Run, rows: Sequence[JobRow]) -> list[Step]:
    steps: list[Step] = []
    for stage in () if run.accepted.abandoned else run.pipeline.stages:
        jobs = tuple(row for row in rows if row.stage == stage.name)
        reused = all((stage.name, job.name) in run.accepted.reused_ends for job in stage.jobs)
        earlier_done = all(step.state in (DONE, REUSED) for step in steps)
        steps.append(Step(stage.name, REUSED if reused else _step_state(run, jobs, earlier_done), jobs))
    return steps


def _step_state(run: Run, jobs: Sequence[JobRow], earlier_done: bool) -> str:
    newest = {job.job: job for job in jobs}.values()
    if all(job.state in _USABLE for job in newest):
        return DONE
    if run.finished:
        return FAILED if earlier_done else WAITING
    return ACTIVE if earlier_done else WAITING


def _log(desk: Desk, rows: Sequence[JobRow]) -> tuple[str, tuple[str, ...]]:
    """The job that was launched last (of a failed run: the one that failed), and the end of its log."""
    launched = [row for row in rows if row.number]
    if not launched:
        return "", ()
    row = launched[-1]
    name = f"{row.stage}/{row.job}/{row.attempt}"
    try:
        lines = desk.deployment.job_logs.lines(row.number, LOG_LINES)
    except NotFound:
        return name, ()
    return name, tuple(in_words(line.strip()) + _figures_of(line) for line in lines if line.strip())


def _figures_of(line: str) -> str:
    """What a line of structured logging measured beside its message and its count: ` (epoch 3, loss 0.41)`."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    known = entry.items() if isinstance(entry, dict) else ()
    found = [f"{name.replace('_', ' ')} {value:g}" for name, value in known if name not in _SAID and _is_number(value)]
    return f" ({', '.join(found)})" if found else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
