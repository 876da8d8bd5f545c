"""Commands that only look: runs, show, watch, logs, report."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from ops.deployment import Deployment
from ops.errors import Misuse, NotFound, OpsError
from ops.names import pipeline_option, run_argument
from ops.operator import Operator, OpsCommand, pass_operator
from ops.run_lookup import find_run, load_runs, run_ids
from ops.run_view import JobRow, RunRow, counts_of, job_rows, metrics_of, outputs_of, run_row
from ops.screen import duration, figure, state_text, table
from ops.timeline import timeline
from ops.watching import COMPLETE, jobs_table
from ops.watching import watch as watch_run
from orchestrator.run import Run

EVERY_S, WATCH_LIMIT_S = 2.0, 172800.0
_SHOWN_LOG_LINES = 100


@click.command(cls=OpsCommand)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10000), help="Newest runs to show.")
@click.option("--state", help="Only runs in this state: COMPLETE, FAILED, RUNNING, active, ...")
@pipeline_option(help="Only runs of this pipeline.")
@pass_operator
def runs(operator: Operator, limit: int, state: str | None, pipeline: str | None) -> int:
    """The newest runs, one a line."""
    deployment, now = operator.deployment, operator.deployment.services.now()
    rows: list[RunRow] = []
    ids = run_ids(deployment)
    # A filter has to read on until enough were found; without one only the newest are read.
    for start in range(0, len(ids), limit):
        for run in load_runs(deployment, ids[start : start + limit]):
            row = run_row(run, now, operator.prices)
            if _fits(row, state) and pipeline in (None, row.pipeline):
                rows.append(row)
        if len(rows) >= limit:
            break
    rows = rows[:limit]
    columns = ("run", "pipeline", "state", "at", "age", "took", "hours", "cost")
    shown = table(deployment.title, columns, map(_cells, rows), frozenset({"age", "took", "hours", "cost"}))
    operator.screen.show([row.shown() for row in rows], shown if rows else f"{deployment.title}: no runs")
    return 0


def _fits(row: RunRow, state: str | None) -> bool:
    if state == "active":
        return row.state not in ("COMPLETE", "FAILED", "abandoned")
    return state is None or row.state.lower() == state.lower()


def _cells(row: RunRow) -> tuple[Any, ...]:
    at_most = "at most " if any(use.at_most for use in row.uses) else ""
    hours = f"{at_most}{row.hours:.2f}" if row.uses else ""
    return (
        *(row.run, row.pipeline, state_text(row.state), row.at, duration(row.age_s), duration(row.seconds)),
        *(hours, str(row.cost)),
    )


@click.command(cls=OpsCommand)
@run_argument
@pass_operator
def show(operator: Operator, run: str) -> int:
    """One run whole: its jobs with links, its outputs and figures, its facts in their order."""
    deployment = operator.deployment
    found, now = find_run(deployment, run), deployment.services.now()
    row, jobs = run_row(found, now, operator.prices), list(job_rows(deployment, found, now))
    moments = list(timeline(found))
    content = {
        **row.shown(),
        "jobs": [{**asdict(job), "number": job.number} for job in jobs],
        "parameters": found.configured.parameters if found.configured else {},
        "outputs": outputs_of(found),
        "counts": counts_of(found),
        "metrics": metrics_of(found),
        "timeline": [asdict(moment) for moment in moments],
    }
    operator.screen.show(content, *_whole(row, jobs, found))
    if not operator.as_json:
        columns = ("time (UTC)", "what happened")
        facts = ((f"{moment.at:%Y-%m-%d %H:%M:%S}", moment.text) for moment in moments)
        operator.screen.show(None, "", table("timeline", columns, facts))
    return 0


def _whole(row: RunRow, jobs: list[JobRow], run: Run) -> list[RenderableType]:
    facts: list[tuple[str, str | Text]] = [
        ("run", row.run),
        ("model run", row.model_run_id),
        ("pipeline", row.pipeline),
        ("state", state_text(row.state)),
        ("accepted", f"{row.accepted:%Y-%m-%d %H:%M:%S} UTC, {duration(row.age_s)} ago"),
        ("took", duration(row.seconds)),
        *((f"hours of {use.resource}", f"{'at most ' if use.at_most else ''}{use.hours:.4f}") for use in row.uses),
        ("cost", str(row.cost)),
        *([("reason", row.sentence)] if row.sentence else []),
        *([("what to do", row.hint)] if row.hint else []),
    ]
    parts: list[RenderableType] = [table("", ("", ""), facts), "", jobs_table("jobs", jobs)]
    links = [(f"{job.stage}/{job.job}/{job.attempt}", job.console or job.log) for job in jobs if job.log]
    links += [("", job.log) for job in jobs if job.console]
    for title, values in (
        ("logs and pages", links),
        ("outputs", list(outputs_of(run).items())),
        ("figures", [(name, figure(value)) for name, value in {**counts_of(run), **metrics_of(run)}.items()]),
    ):
        if values:
            parts += ["", table(title, ("", ""), values)]
    return parts


@click.command(cls=OpsCommand)
@run_argument
@click.option("--every", "every_s", default=EVERY_S, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--timeout", "limit_s", default=WATCH_LIMIT_S, type=click.FloatRange(0), help="Give up after so many s.")
@pass_operator
def watch(operator: Operator, run: str, every_s: float, limit_s: float) -> int:
    """Follow a run until it ends. Exit code 0 only for COMPLETE."""
    found = find_run(operator.deployment, run)
    return follow(operator, found, every_s, limit_s)


def follow(operator: Operator, run: Run, every_s: float = EVERY_S, limit_s: float = WATCH_LIMIT_S) -> int:
    """Watch a run to its end, and say how it ended."""
    deployment = operator.deployment
    ended = watch_run(deployment, operator.screen, run.id, every_s, limit_s)
    row = run_row(ended, deployment.services.now(), operator.prices)
    content = {"run": row.run, "state": row.state, "seconds": row.seconds, "sentence": row.sentence, "hint": row.hint}
    reason = f": {row.sentence}" if row.sentence else ""
    operator.screen.line(content, f"{row.state} after {duration(row.seconds)}{reason}")
    if row.hint:
        operator.screen.note(f"What to do: {row.hint}")
    return 0 if row.state == COMPLETE else 1


@click.command(cls=OpsCommand)
@run_argument
@click.option("--stage", help="Only jobs of this stage.")
@click.option(
    "--lines", default=_SHOWN_LOG_LINES, show_default=True, type=click.IntRange(1), help="Newest lines a job."
)
@pass_operator
def logs(operator: Operator, run: str, stage: str | None, lines: int) -> int:
    """The newest log lines of a run's jobs."""
    deployment = operator.deployment
    found = find_run(deployment, run)
    if stage and stage not in (names := [item.name for item in found.pipeline.stages]):
        raise Misuse(f"{found.id} has no stage {stage!r}", f"its stages are {', '.join(names)}")
    rows = [row for row in job_rows(deployment, found, deployment.services.now()) if stage in (None, row.stage)]
    launched = [row for row in rows if row.number]
    if not launched:
        raise NotFound(f"No job of {found.id}{f' in stage {stage}' if stage else ''} was launched", _show_hint(found))
    content = []
    for row in launched:
        name = f"{row.stage}/{row.job}/{row.attempt}"
        try:
            text = deployment.job_logs.lines(row.number, lines)
        except NotFound as error:
            text = [f"({error}; {error.hint})"]
        content.append({"stage": row.stage, "job": row.job, "attempt": row.attempt, "log": row.log, "lines": text})
        if not operator.as_json:
            operator.screen.note(f"--- {name}  {row.log}")
            operator.screen.show(None, *text)
    if operator.as_json:
        operator.screen.show(content)
    return 0


def _show_hint(run: Run) -> str:
    return f"python -m ops show {run.id}"


@click.command(cls=OpsCommand)
@run_argument
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it.")
@click.option("--open/--no-open", "opens", default=None, help="Open it in the browser; by default on a terminal.")
@pass_operator
def report(operator: Operator, run: str, output: Path | None, opens: bool | None) -> int:
    """Fetch the report of a run, and open it."""
    deployment = operator.deployment
    found = find_run(deployment, run)
    content, uri = _report_of(deployment, found)
    path = output or Path(f"{found.id}-report.html")
    path.write_bytes(content)
    operator.screen.show({"run": str(found.id), "report": uri, "file": str(path)}, str(path))
    if sys.stdout.isatty() and not operator.as_json if opens is None else opens:
        webbrowser.open(path.absolute().as_uri())
    return 0


def _report_of(deployment: Deployment, run: Run) -> tuple[bytes, str]:
    uris = [ended.outputs["report"] for ended in run.ended_jobs().values() if "report" in ended.outputs]
    if not uris:
        raise NotFound(f"{run.id} has no report", "it is made by the last stage: " + _show_hint(run))
    prefix = f"gs://{deployment.settings.bucket}/"
    if not uris[-1].startswith(prefix):
        raise OpsError(f"The report is in another bucket: {uris[-1]}", f"gcloud storage cp {uris[-1]} .")
    content = deployment.services.store.read(uris[-1].removeprefix(prefix))
    if content is None:
        raise NotFound(f"The report {uris[-1]} is gone", "old runs are cleaned; their figures stay: " + _show_hint(run))
    return content, uris[-1]
