"""Retry from a stage: a new run that goes on where an older one's finished stages ended, with other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator import logs
from orchestrator.errors import BadRequest, Unavailable
from orchestrator.facts import Accepted
from orchestrator.identities import RunId
from orchestrator.messages import StageRequested
from orchestrator.parameters import settle
from orchestrator.pipelines import Pipeline, dump
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.templates import references


def retry_from(handling: Handling, run_id: RunId, stage: str, changes: Mapping[str, Any]) -> RunId:
    """Begin the next run of the model run at a stage, and return its id. The jobs of earlier stages are not run again:
    their outputs are copied into the new run, which keeps the older one's parameters but for `changes`.

    The pipeline and the images are this deployment's, so that a corrected job can be tried on what is there already.
    Raises BadRequest with every reason why that cannot be. NOT safe to repeat while the new run is unfinished: a
    second call is refused then, since its number is taken; a lost first event is published by reconcile.
    """
    older = handling.ledger.load(run_id)
    if older is None or older.accepted.abandoned:
        raise BadRequest([f"there is no run {run_id} that got as far as a stage"], http_status=404)
    pipeline = handling.services.pipelines.get(older.accepted.model_type)
    if pipeline is None:
        raise BadRequest([f"this deployment has no pipeline {older.accepted.model_type}"])
    problems = _problems(handling, older, pipeline, stage, changes)
    if problems:
        raise BadRequest(problems, "retry from an earlier stage, or press Train model again")
    following = RunId(run_id.slug, run_id.number + 1)
    if not handling.ledger.accept(following, _accepted(handling, older, pipeline, stage, changes)):
        raise BadRequest([f"{following} began at the same time"], http_status=409)
    logs.info("Accepted a run", run=following, pipeline=pipeline.model_type, stage=stage)
    handling.services.reached("accepted")
    topic = next(item.topic for item in pipeline.stages if item.name == stage)
    try:
        handling.publish_stage(StageRequested(following, stage), topic)
    except Unavailable as error:
        logs.error("The first event was not published; reconcile will", run=following, reason=error.sentence)
    return following


def stage_to_go_on_from(run: Run) -> str:
    """The first stage of a run that did not end well: where a new run can go on with what this one finished."""
    ended = run.ended_jobs()
    stages = run.pipeline.stages
    return next(
        (stage.name for stage in stages if any((stage.name, job.name) not in ended for job in stage.jobs)),
        stages[-1].name,
    )


def _problems(handling: Handling, older: Run, pipeline: Pipeline, stage: str, changes: Mapping[str, Any]) -> list[str]:
    if older.finished is None:
        return [f"{older.id} is still under way"]
    if handling.ledger.newest_number(older.id.slug) > older.id.number:
        return [f"{older.id} was followed by another run"]
    names = [item.name for item in pipeline.stages]
    if stage not in names:
        return [f"{pipeline.model_type} has no stage {stage!r}; its stages are {', '.join(names)}"]
    problems = settle(pipeline.parameters, _config(older, pipeline, changes) or {})[1]
    ended = older.ended_jobs()
    for item in pipeline.stages[: names.index(stage)]:
        for job in item.jobs:
            where = f"{item.name}/{job.name}"
            found = ended.get((item.name, job.name))
            if found is None:
                problems.append(f"{where} did not end well in {older.id}")
                continue
            missing = sorted(set(job.output_names) - found.outputs.keys())
            problems += (f"{where} of {older.id} has no output {name}" for name in missing)
            used = {*references(list(job.templates())), *references(list(job.spending()))}
            problems += (
                f"{name} is used by {where}, which would not run again"
                for name in changes
                if f"parameters.{name}" in used
            )
    return problems


def _still_known(parameters: Mapping[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in pipeline.parameters}


def _config(older: Run, pipeline: Pipeline, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The older run's parameters with the changes. A run that was lost before its parameters were settled has only its
    config, and none if Labelbox did not answer."""
    config = older.accepted.config if older.configured is None else _still_known(older.configured.parameters, pipeline)
    return None if config is None and not changes else {**(config or {}), **changes}


def _accepted(handling: Handling, older: Run, pipeline: Pipeline, stage: str, changes: Mapping[str, Any]) -> Accepted:
    services, before = handling.services, older.accepted
    names = [item.name for item in pipeline.stages]
    kept = {(item.name, job.name) for item in pipeline.stages[: names.index(stage)] for job in item.jobs}
    return Accepted(
        model_run_id=before.model_run_id,
        model_id=before.model_id,
        model_type=before.model_type,
        run_key=services.new_run_key(),
        pipeline=dump(pipeline),
        image_repository=services.settings.image_repository,
        image_tag=services.settings.image_tag,
        body_sha256=before.body_sha256,
        config=_config(older, pipeline, changes),
        clears=tuple(sorted({key for told in older.told.values() for key in told.metadata_keys})),
        reused={
            f"{name}/{job}": {
                "state": ended.state,
                "outputs": ended.outputs,
                "counts": ended.counts,
                "metrics": ended.metrics,
                "metadata": ended.metadata,
            }
            for (name, job), ended in older.ended_jobs().items()
            if (name, job) in kept
        },
    )
