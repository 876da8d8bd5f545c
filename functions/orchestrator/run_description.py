"""What a job may know of the run that it belongs to: its pipeline, parameters, and the jobs before it. Pure.

Every custom job finds it as JSON in the environment variable RUN_DESCRIPTION; the report shows it. Who ignores it
misses nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob
from orchestrator.run import Attempt, Run
from orchestrator.settings import Settings
from orchestrator.spending import ended_at, use_of
from orchestrator.templates import Scalar, render

VARIABLE = "RUN_DESCRIPTION"


def describe(run: Run, settings: Settings) -> str:
    """The run as JSON; the same facts and prices give the same text."""
    parameters = run.configured.parameters if run.configured else {}
    jobs = [*_attempts(run, parameters)]
    held = {name for job in jobs for name, _ in job["resources"]}
    body = {
        "version": 1,
        "run": str(run.id),
        "model_run_id": run.accepted.model_run_id,
        "pipeline": run.accepted.model_type,
        "accepted": _moment(run.accepted_at),
        "parameters": parameters,
        "jobs": jobs,
        "prices": {name: price for name, price in settings.hourly_prices if name in held},
        "model_version": _model_version(run),
        "reused_jobs": sorted(f"{stage}/{job}" for stage, job in run.accepted.reused_ends),
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _model_version(run: Run) -> str:
    """The resource name of the model that the run has in the Model Registry so far; "" for none."""
    for ended in run.ended_jobs().values():
        # A trainer of ours says so; AutoML's output `model` is its model's name.
        name = ended.outputs.get("model_version") or ended.outputs.get("model", "")
        if name.startswith("projects/"):
            return name
    return ""


def _attempts(run: Run, parameters: Mapping[str, Scalar]) -> Iterator[dict[str, Any]]:
    """Every attempt so far, in the pipeline's order."""
    values = {f"parameters.{name}": value for name, value in parameters.items()}
    images = run.configured.images if run.configured else {}
    for stage, job in run.pipeline.jobs():
        for attempt in run.attempts_of(stage.name, job.name):
            found: dict[str, Any] = {
                "stage": stage.name,
                "job": job.name,
                "attempt": attempt.ref.number,
                "kind": job.kind,
                "state": _state(attempt),
                "launched": _moment(attempt.launched_at),
                "ended": _moment(ended_at(run, attempt)),
                "resources": use_of(job, parameters, 0.0).resources,
            }
            if isinstance(job, CustomJob):
                image = job.image_for(parameters)
                pinned = next((uri for name, uri in images.items() if _names(name, image)), "")
                found |= {"machine": str(render(job.machine, values)), "image": pinned or image}
                found["spot"] = render(job.spot, values) in (True, "true")
            elif isinstance(job, AutoMLImageTraining):
                found["budget_milli_node_hours"] = int(render(job.budget_milli_node_hours, values))
            elif isinstance(job, BatchPrediction):
                found["machine"] = str(render(job.machine, values)) if job.machine else ""
            yield found


def _names(uri: str, image: str) -> bool:
    """Whether the URI of a run's images is that of this folder below jobs/."""
    return uri.rpartition("/")[2].partition(":")[0] == image.replace("/", "-").replace("_", "-")


def _state(attempt: Attempt) -> str:
    return attempt.ended.state if attempt.ended else "RUNNING" if attempt.launched else "launching"


def _moment(value: datetime | None) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value else ""
