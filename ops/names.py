"""Names on the command line that the shell can complete: runs, pipelines, and NAME=VALUE."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ops.errors import Misuse, NotFound, OpsError
from ops.operator import Operator
from orchestrator.errors import ServiceError
from orchestrator.pipelines import SHIPPED, Pipeline, read_pipelines

_MOST_COMPLETED = 200
Made = TypeVar("Made", bound=Callable[..., Any])


def known_pipelines() -> Mapping[str, Pipeline]:
    """The pipelines of this checkout, or of PIPELINES_DIR."""
    folder = os.environ.get("PIPELINES_DIR", "")
    return read_pipelines(Path(folder) if folder else SHIPPED)


def pipeline_named(name: str) -> Pipeline:
    """One pipeline; NotFound that lists those there are."""
    known = known_pipelines()
    if name not in known:
        raise NotFound(f"There is no pipeline {name!r}", f"there are {', '.join(sorted(known))}")
    return known[name]


def _complete_runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Never an error: a shell that waits for completions cannot show one."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    from ops.run_lookup import run_ids

    operator = context.find_object(Operator)
    if operator is None:
        return []
    operator.take(context.find_root().params)
    try:
        names = [str(run) for run in run_ids(operator.deployment)[:_MOST_COMPLETED]]
    except (OpsError, ServiceError, GoogleAPIError, GoogleAuthError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def _complete_pipelines(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    try:
        return sorted(name for name in known_pipelines() if name.startswith(incomplete))
    except ServiceError:
        return []


def run_argument(command: Made) -> Made:
    """The argument RUN."""
    return click.argument("run", metavar="RUN", shell_complete=_complete_runs)(command)


def pipeline_argument(command: Made) -> Made:
    """The argument PIPELINE."""
    return click.argument("pipeline", metavar="PIPELINE", shell_complete=_complete_pipelines)(command)


def pipeline_option(**options: Any) -> Callable[[Made], Made]:
    """The option --pipeline."""
    return click.option("--pipeline", shell_complete=_complete_pipelines, metavar="PIPELINE", **options)


def pairs(texts: tuple[str, ...], what: str) -> dict[str, Any]:
    """`NAME=VALUE` each, values read as JSON where they are JSON; Misuse for anything else."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Misuse(f"{text!r} is not {what}", f"write {what}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
