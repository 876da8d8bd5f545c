"""What a run may spend: hours and cost of each launch at most, and whether the next would pass the deployment's caps.

Pure, so that the workflow can refuse a launch and the simulation can try it. A launch is counted at its time limit
before it is made, because nothing else bounds it, and at the time it took once it has ended; AutoML counts its budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob
from orchestrator.run import Attempt, Run
from orchestrator.settings import Settings
from orchestrator.templates import Scalar, render

AUTOML_NODE = "automl_image_training_node"
BATCH_NODE = "batch_prediction_node"
SPOT = "/spot"
_HOUR_S = 3600.0
Job = CustomJob | AutoMLImageTraining | BatchPrediction


@dataclass(frozen=True)
class Use:
    """One launch at most: hours of its machine (or node of a managed service), and what else is billed by the hour.

    `resources` are the names that prices go by, each with how many of them the launch holds for all its hours.
    """

    hours: float
    resources: tuple[tuple[str, int], ...]

    def cost(self, prices: Mapping[str, float]) -> float:
        """At prices by the hour; raises KeyError of a resource that has none."""
        return sum(self.hours * number * prices[resource] for resource, number in self.resources)


def use_of(job: Job, parameters: Mapping[str, Scalar], hours: float) -> Use:
    """What one launch of a job holds if it runs for `hours`. AutoML's hours are its budget, of which less may be
    billed; a batch prediction without a machine of its own is counted as one node."""
    values = {f"parameters.{name}": value for name, value in parameters.items()}
    if isinstance(job, AutoMLImageTraining):
        return Use(int(render(job.budget_milli_node_hours, values)) / 1000, ((AUTOML_NODE, 1),))
    if isinstance(job, BatchPrediction):
        machine = str(render(job.machine, values)) if job.machine is not None else BATCH_NODE
        return Use(hours, ((machine, 1),))
    tail = SPOT if render(job.spot, values) in (True, "true") else ""
    accelerator, count = job.accelerators(values)
    resources = [(str(render(job.machine, values)) + tail, 1)]
    if accelerator and count:
        resources.append((accelerator + tail, count))
    return Use(hours, tuple(resources))


def job_problem(name: str, job: Job, parameters: Mapping[str, Scalar], settings: Settings) -> str | None:
    """Why one launch of a job is more than this deployment allows a job, or a whole run; None if it is not."""
    use = use_of(job, parameters, job.timeout_s / _HOUR_S)
    return _hours_problem(name, use, 0.0, settings) or _cost_problem(name, use, [], settings)


def launch_problem(run: Run, stage: str, job: Job, settings: Settings) -> str | None:
    """Why the next launch of a job would pass a cap, after what the run has used so far; None if it would not.

    Repeating it on the same facts gives the same answer, as long as the deployment's caps stay what they are.
    """
    if settings.max_run_hours is settings.max_job_hours is settings.max_run_cost is settings.max_job_cost is None:
        return None
    parameters = run.configured.parameters if run.configured else {}
    name, use = f"{stage}/{job.name}", use_of(job, parameters, job.timeout_s / _HOUR_S)
    used = list(_used(run, parameters))
    return _hours_problem(name, use, sum(item.hours for item in used), settings) or _cost_problem(
        name, use, used, settings
    )


def _used(run: Run, parameters: Mapping[str, Scalar]) -> Iterator[Use]:
    for (stage, name), attempts in run.attempts.items():
        job = run.pipeline.find(stage, name)[1]
        for attempt in attempts:
            if attempt.launched:
                yield use_of(job, parameters, _seconds(run, attempt, job) / _HOUR_S)


def _seconds(run: Run, attempt: Attempt, job: Job) -> float:
    """From the recorded launch to the recorded end; the time limit as long as there is no end."""
    end = ended_at(run, attempt)
    if end is None or attempt.launched_at is None:
        return float(job.timeout_s)
    return max(0.0, (end - attempt.launched_at).total_seconds())


def ended_at(run: Run, attempt: Attempt) -> datetime | None:
    """When an attempt's end was recorded; None as long as it is not."""
    return run.stamps[attempt.ended.path].created if attempt.ended else None


def _hours_problem(name: str, use: Use, used_hours: float, settings: Settings) -> str | None:
    if settings.max_job_hours is not None and use.hours > settings.max_job_hours:
        return (
            f"{name} may take {use.hours:.4g} machine hours, and this deployment allows a job "
            f"{settings.max_job_hours:.4g} (MAX_JOB_HOURS)"
        )
    if settings.max_run_hours is not None and used_hours + use.hours > settings.max_run_hours:
        return (
            f"{name} may take {use.hours:.4g} machine hours, which after the {used_hours:.4g} used so far would pass "
            f"the {settings.max_run_hours:.4g} that this deployment allows a run (MAX_RUN_HOURS)"
        )
    return None


def _cost_problem(name: str, use: Use, used: list[Use], settings: Settings) -> str | None:
    if settings.max_job_cost is None and settings.max_run_cost is None:
        return None
    prices = dict(settings.hourly_prices)
    try:
        cost, used_cost = use.cost(prices), sum(item.cost(prices) for item in used)
    except KeyError as error:
        return f"{name}: {error.args[0]} has no price here, and this deployment caps costs (HOURLY_PRICES)"
    if settings.max_job_cost is not None and cost > settings.max_job_cost:
        return (
            f"{name} may cost {cost:.2f}, and this deployment allows a job {settings.max_job_cost:.2f} (MAX_JOB_COST)"
        )
    if settings.max_run_cost is not None and used_cost + cost > settings.max_run_cost:
        return (
            f"{name} may cost {cost:.2f}, which after the {used_cost:.2f} used so far would pass the "
            f"{settings.max_run_cost:.2f} that this deployment allows a run (MAX_RUN_COST)"
        )
    return None
