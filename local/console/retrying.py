"""Retrying a run that has ended: from a stage, with other parameters where no earlier stage used them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local.console.desk import Desk
from local.console.parameter_form import Field, changed, fields, free_from, read, sort_problems
from local.console.training import Problem
from orchestrator.errors import BadRequest, ServiceError
from orchestrator.pipelines import Pipeline
from orchestrator.retrying import retry_from
from orchestrator.run import Run


@dataclass(frozen=True)
class RetryForm:
    """The stages to go on from, the chosen one's parameters, and what is wrong. Without stages it cannot be retried."""

    stages: tuple[str, ...]
    stage: str
    fields: tuple[Field, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def wrong_fields(self) -> list[Field]:
        """Those with a problem."""
        return [item for item in self.fields if item.problem]


def retry_form(desk: Desk, run: Run, wanted: str = "") -> RetryForm:
    """The form for a run: every stage before the chosen one is taken over as it ended."""
    pipeline = desk.deployment.services.pipelines.get(run.accepted.model_type)
    if reason := _hindrance(desk, run, pipeline):
        return RetryForm((), "", problems=(reason,))
    assert pipeline is not None
    stages = _stages(run, pipeline)
    # The usual wish: the same data, trained otherwise.
    stage = wanted if wanted in stages else stages[1] if len(stages) > 1 else stages[0]
    return RetryForm(tuple(stages), stage, tuple(fields(free_from(pipeline, stage), _parameters(run))))


def retry(desk: Desk, run: Run, form: Mapping[str, str]) -> str | RetryForm:
    """Begin the new run and return its id; or the form again with every problem in its place.

    NOT safe to repeat: a second one is refused while the first is under way, as the engine's retry is.
    """
    shown = retry_form(desk, run, form.get("stage", ""))
    if shown.problems:
        return shown
    pipeline = desk.deployment.services.pipelines[run.accepted.model_type]
    declared = free_from(pipeline, shown.stage)
    sent = read(declared, form)
    by_name, problems = dict(sent.by_name), [Problem(text) for text in sent.others]
    if sent.is_valid:
        changes = changed(declared, sent.values, _parameters(run))
        try:
            return str(retry_from(desk.deployment.services.begin(), run.id, shown.stage, changes))
        except BadRequest as error:
            named, others = sort_problems(error.problems, declared)
            by_name.update(named)
            problems += [Problem(text, error.hint) for text in others]
        except ServiceError as error:
            problems.append(Problem(error.sentence, error.hint))
    values = {**_parameters(run), **sent.values, **sent.typed}
    return RetryForm(shown.stages, shown.stage, tuple(fields(declared, values, by_name)), tuple(problems))


def _parameters(run: Run) -> dict[str, object]:
    return dict(run.configured.parameters) if run.configured else {}


def _stages(run: Run, pipeline: Pipeline) -> list[str]:
    """The stages that can be begun: the first, and each one that only ended ones stand before."""
    ended, found = run.ended_jobs(), []
    for stage in pipeline.stages:
        found.append(stage.name)
        if any((stage.name, job.name) not in ended for job in stage.jobs):
            break
    return found


def _hindrance(desk: Desk, run: Run, pipeline: Pipeline | None) -> Problem | None:
    if run.finished is None:
        return Problem("The run is still under way.", "Cancel it first, or wait for its end.")
    newest = desk.deployment.ledger.newest_number(run.id.slug)
    if newest > run.id.number:
        return Problem(f"The run was followed by {run.id.slug}.{newest}.", "Retry that one.")
    if run.accepted.abandoned or run.configured is None:
        return Problem("The run never got as far as a stage.", "Press Train model on its data.")
    if pipeline is None:
        return Problem(f"Nothing here is called {run.accepted.model_type} any more.", "Put its pipeline file back.")
    return None
