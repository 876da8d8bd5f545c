"""What a deployment lets a run spend, whatever the model run's config asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.automl import budget_problem
from orchestrator.machines import fit_problem
from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob, Pipeline
from orchestrator.settings import Settings
from orchestrator.spending import job_problem
from orchestrator.templates import Scalar, render


def limit_problems(pipeline: Pipeline, parameters: Mapping[str, Scalar], settings: Settings) -> list[str]:
    """Every way in which these parameters pass the deployment's limits, as sentences for the user."""
    values = {f"parameters.{name}": value for name, value in parameters.items()}
    problems: list[str] = []
    for stage, job in pipeline.jobs():
        name = f"{stage.name}/{job.name}"
        problems += (f"{name}: {problem}" for problem in _of_job(job, values, settings))
        if too_much := job_problem(name, job, parameters, settings):
            problems.append(too_much)
    return problems


def _of_job(
    job: CustomJob | AutoMLImageTraining | BatchPrediction, values: Mapping[str, Scalar], settings: Settings
) -> Iterator[str]:
    if isinstance(job, AutoMLImageTraining):
        budget = int(render(job.budget_milli_node_hours, values))
        if budget > settings.max_automl_milli_node_hours:
            yield (
                f"a budget of {budget} milli node hours is over this deployment's limit of "
                f"{settings.max_automl_milli_node_hours}"
            )
        if problem := budget_problem(job.objective, str(render(job.model_type, values)), budget):
            yield problem
        return
    machine = str(render(job.machine, values)) if job.machine is not None else ""
    if machine and machine not in settings.allowed_machines:
        yield f"machine {machine} is not allowed here (allowed: {', '.join(settings.allowed_machines)})"
    if isinstance(job, CustomJob):
        accelerator, count = job.accelerators(values)
        if accelerator and accelerator not in settings.allowed_accelerators:
            allowed = ", ".join(settings.allowed_accelerators) or "none"
            yield f"accelerator {accelerator} is not allowed here (allowed: {allowed})"
        if count > settings.max_accelerators:
            yield f"{count} accelerators are over this deployment's limit of {settings.max_accelerators}"
        if problem := fit_problem(machine, accelerator, count):
            yield problem
