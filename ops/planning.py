"""Commands about what could run: pipelines, estimate, doctor, completion."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial

import click
from click.shell_completion import get_completion_class
from rich.console import RenderableType

from ops.check import UNSEEN, Check, Finding, examine
from ops.diagnosis import CHECKS
from ops.errors import Misuse
from ops.estimate import MOST_RUNS, Estimate, points_of
from ops.estimate import estimate as estimate_run
from ops.names import known_pipelines, pairs, pipeline_argument, pipeline_named
from ops.operator import Operator, OpsCommand, pass_operator
from ops.published import published
from ops.row_reading import row_is_readable
from ops.run_lookup import load_runs, run_ids
from ops.screen import duration, state_text, table
from ops.usage import Use
from orchestrator.parameters import Parameter, settle
from orchestrator.pipelines import Pipeline

_LOOKING = 6


@click.command(cls=OpsCommand)
@click.argument("name", metavar="[PIPELINE]", required=False)
@pass_operator
def pipelines(operator: Operator, name: str | None) -> int:
    """What is offered: each pipeline with its jobs, its parameters and their defaults."""
    chosen = [pipeline_named(name)] if name else [known_pipelines()[key] for key in sorted(known_pipelines())]
    content = [
        {
            "pipeline": pipeline.model_type,
            "description": pipeline.description,
            "jobs": [
                {"stage": stage.name, "job": job.name, "kind": job.kind, "limit_s": job.timeout_s}
                for stage, job in pipeline.jobs()
            ],
            "parameters": {key: item.model_dump(exclude_none=True) for key, item in pipeline.parameters.items()},
        }
        for pipeline in chosen
    ]
    operator.screen.show(content, *(part for pipeline in chosen for part in _described(pipeline)))
    return 0


def _described(pipeline: Pipeline) -> list[RenderableType]:
    jobs = " > ".join(f"{stage.name}/{job.name}" for stage, job in pipeline.jobs())
    rows = [(name, _type(item), _default(item), item.help) for name, item in pipeline.parameters.items()]
    parameters = table("", ("parameter", "type", "default", "meaning"), rows)
    return [f"{pipeline.model_type}: {pipeline.description}", f"  {jobs}", parameters, ""]


def _type(parameter: Parameter) -> str:
    if parameter.choices:
        return "one of " + ", ".join(map(str, parameter.choices))
    if parameter.minimum is not None and parameter.maximum is not None:
        return f"{parameter.type} {parameter.minimum:,.10g} to {parameter.maximum:,.10g}"
    return parameter.type


def _default(parameter: Parameter) -> str:
    if isinstance(parameter.default, bool):
        return str(parameter.default).lower()
    return "empty" if parameter.default == "" else str(parameter.default)


@click.command(cls=OpsCommand)
@pipeline_argument
@click.option("--rows", required=True, type=click.IntRange(1), help="Data rows of the model run.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of the run.")
@click.option("--seconds", multiple=True, metavar="STAGE/JOB=S", help="How long a job takes, where you know better.")
@pass_operator
def estimate(operator: Operator, pipeline: str, rows: int, settings: tuple[str, ...], seconds: tuple[str, ...]) -> int:
    """Machine hours of a run, from what earlier runs here took; and money, at published prices or yours."""
    chosen = pipeline_named(pipeline)
    parameters, problems = settle(chosen.parameters, pairs(settings, "NAME=VALUE"))
    if problems:
        raise Misuse("; ".join(problems), f"python -m ops pipelines {pipeline} lists the parameters")
    given = pairs(seconds, "STAGE/JOB=S")
    names = {f"{stage.name}/{job.name}" for stage, job in chosen.jobs()}
    for name, value in given.items():
        if name not in names or isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise Misuse(f"{name}={value} is no job's time", f"jobs are {', '.join(sorted(names))}")
    deployment = operator.deployment
    now = deployment.services.now()
    points = points_of(load_runs(deployment, run_ids(deployment)[:MOST_RUNS]), pipeline, now)
    public = None if operator.prices_file else published()
    prices = public.prices(deployment.settings.region) if public else operator.prices
    made = estimate_run(chosen, rows, parameters, points, given, prices, is_local=deployment.is_local)
    if public and prices.per_hour:
        made = replace(made, assumptions=(*made.assumptions, public.assumption))
    operator.screen.show(made.shown(), *_estimated(made))
    return 0


def _estimated(made: Estimate) -> list[RenderableType]:
    rows = [
        (
            f"{job.stage}/{job.job}",
            "unknown" if job.seconds is None else duration(job.seconds),
            duration(job.limit_s),
            ", ".join(f"{'≤ ' if use.at_most else ''}{use.hours:.4f} h {use.resource}" for use in job.uses)
            or "unknown",
            job.basis,
        )
        for job in made.jobs
    ]
    title = f"{made.pipeline}, {made.rows:,} rows"
    totals = map(_use, made.uses)
    known = "" if made.complete else " (of the jobs that are known)"
    return [
        table(title, ("job", "time", "limit", "machine hours", "basis"), rows, frozenset({"time", "limit"})),
        "",
        f"machine hours{known}: {', '.join(totals) or 'unknown'}",
        f"cost: {made.cost}",
        "assumptions:",
        *(f"- {text}" for text in made.assumptions),
    ]


def _use(use: Use) -> str:
    return f"{'at most ' if use.at_most else ''}{use.hours:.4f} h {use.resource}{' (spot)' if use.spot else ''}"


@click.command(cls=OpsCommand)
@click.option("--model-run", default="", metavar="MODEL_RUN", help="Read the first data row of this model run, too.")
@pass_operator
def doctor(operator: Operator, model_run: str) -> int:
    """Check a deployment. Exit code 0 only if nothing failed."""
    deployment = operator.deployment
    row = Check("data row", partial(row_is_readable, model_run=model_run), UNSEEN)
    with ThreadPoolExecutor(_LOOKING) as pool:
        findings = list(pool.map(partial(examine, deployment), (*CHECKS, row)))
    failed = [finding for finding in findings if finding.state == "failed"]
    content = {"healthy": not failed, "checks": [asdict(finding) for finding in findings]}
    operator.screen.show(content, *_diagnosis(deployment.title, findings, failed))
    return 1 if failed else 0


def _diagnosis(title: str, findings: list[Finding], failed: list[Finding]) -> list[RenderableType]:
    rows = [(finding.check, state_text(finding.state), finding.detail, finding.seen) for finding in findings]
    parts: list[RenderableType] = [table(title, ("check", "state", "found", "this check is"), rows), ""]
    for finding in failed:
        parts += [f"{finding.check}: {finding.detail}", f"  What to do: {finding.remedy or 'see the log'}"]
    return [*parts, f"{len(failed)} of {len(findings)} checks failed" if failed else "nothing failed"]


@click.command(cls=OpsCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what makes a shell complete the commands, runs and pipelines of `ops` (ops/bin on your PATH)."""
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "ops", "_OPS_COMPLETE").source())
    return 0
