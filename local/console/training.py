"""Asking for a training as a person does in Labelbox: set the model run's config, then press the button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from local.console.data_sets import DataSet
from local.console.desk import Desk
from local.console.parameter_form import Field, changed, fields, read, sort_problems
from local.labelbox_side import RequestRefused
from ops.errors import OpsError
from ops.training_request import ask_models, ask_training
from orchestrator.errors import ServiceError
from orchestrator.limits import limit_problems
from orchestrator.pipelines import Pipeline


@dataclass(frozen=True)
class Offered:
    """A model type of GET /models. `pipeline` is None where this checkout has no file of it."""

    name: str
    pipeline: Pipeline | None
    fits: bool

    @property
    def title(self) -> str:
        """For a list to choose from."""
        return f"{self.name}: {self.pipeline.description}" if self.pipeline else self.name


@dataclass(frozen=True)
class Problem:
    """Something that went wrong, and what to do about it."""

    text: str
    hint: str = ""


@dataclass(frozen=True)
class TrainingForm:
    """The form as it is shown: types to choose from, the fields of the chosen one, and what is wrong."""

    offered: tuple[Offered, ...]
    chosen: Offered | None
    fields: tuple[Field, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def wrong_fields(self) -> list[Field]:
        """Those with a problem."""
        return [item for item in self.fields if item.problem]


@dataclass(frozen=True)
class Started:
    """The coordinator's answer: the run, and whether it is a new one or one that was under way."""

    run: str
    is_new: bool


@dataclass(frozen=True)
class _Offer:
    types: tuple[Offered, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def _offer(desk: Desk, data_set: DataSet) -> _Offer:
    """What the coordinator offers now: those that this data suits come first."""
    deployment = desk.deployment
    try:
        answer = ask_models(deployment, deployment.services.signing_secret.current())
    except (OpsError, ServiceError) as error:
        return _Offer(problems=(Problem(str(error), "Is the cloud still running? Start it again with make up."),))
    if answer.status != 200:
        text = f"The coordinator answered {answer.status} to GET /models: {answer.content.get('error', '')}"
        return _Offer(problems=(Problem(text, str(answer.content.get("hint", ""))),))
    pipelines = deployment.services.pipelines
    types = [Offered(name, pipelines.get(name), name in data_set.model_types) for name in answer.content]
    return _Offer(tuple(sorted(types, key=lambda item: (not item.fits, item.name))))


def training_form(desk: Desk, data_set: DataSet, wanted: str = "") -> TrainingForm:
    """The empty form of a model type, the first that fits if none is named."""
    offer = _offer(desk, data_set)
    chosen = next((item for item in offer.types if item.name == wanted), None)
    problems = offer.problems
    if wanted and not chosen and offer.types:
        problems = (*problems, Problem(f"GET /models offers no {wanted[:60]!r}.", "Choose one of the list."))
    chosen = chosen or next(iter(offer.types), None)
    declared = chosen.pipeline.parameters if chosen and chosen.pipeline else {}
    return TrainingForm(offer.types, chosen, tuple(fields(declared, {})), problems)


def train(desk: Desk, data_set: DataSet, form: Mapping[str, str]) -> Started | TrainingForm:
    """Press the button: the form again, with every problem in its place, if the training cannot begin.

    What was typed is settled first as the engine will settle it, so that all is told at once and before anything is
    sent. Safe to repeat: while a run of the model run is under way, the same run answers.
    """
    shown = training_form(desk, data_set, form.get("type", ""))
    if shown.problems or shown.chosen is None:
        return shown
    pipeline = shown.chosen.pipeline
    declared = pipeline.parameters if pipeline else {}
    sent = read(declared, form)
    others = list(sent.others)
    by_name = dict(sent.by_name)
    if pipeline and sent.is_valid:
        settled = {**{name: item.default for name, item in declared.items()}, **sent.values}
        named, unnamed = sort_problems(limit_problems(pipeline, settled, desk.deployment.settings), declared)
        by_name.update(named)
        others += unnamed
    problems = [Problem(text) for text in others]
    if not by_name and not problems:
        config = changed(declared, sent.values, {})
        outcome = _send(desk, data_set, shown.chosen.name, config)
        if isinstance(outcome, Started):
            return outcome
        problems.append(outcome)
    values = {**sent.values, **sent.typed}
    return TrainingForm(shown.offered, shown.chosen, tuple(fields(declared, values, by_name)), tuple(problems))


def _send(desk: Desk, data_set: DataSet, model_type: str, config: Mapping[str, object]) -> Started | Problem:
    try:
        desk.labelbox.set_config(data_set.id, config)
        answer = ask_training(desk.deployment, data_set.id, model_type, data_set.run.model_id)
    except OpsError as error:
        return Problem(str(error), error.hint)
    except (RequestRefused, ServiceError) as error:
        return Problem(str(error), getattr(error, "hint", ""))
    except OSError as error:
        return Problem(f"Labelbox's stand-in does not answer: {error}", "Start the cloud again with make up.")
    return Started(str(answer.content.get("runId", "")), answer.status == 202)
