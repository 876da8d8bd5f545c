"""Pipelines as data: what a file in functions/pipelines/ may say, and reading them all.

A pipeline is one YAML file: a model type, its parameters, and an ordered list of stages of ordered jobs. The file's
name is the model type. Files of your own live in functions/pipelines/custom/ and win over none: two files of one
model type are an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestrator.errors import BadDefinition
from orchestrator.parameters import Parameter
from orchestrator.templates import Scalar, references, render

SHIPPED = Path(__file__).resolve().parent.parent / "pipelines"
STAGES_WITH_TOPICS = ("etl", "train", "inference")
Status = Literal["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,19}$")]
ImageName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)*$|^\S+/\S+:\S+$", description="Folder below jobs/, or a full image URI."),
]
Template = Scalar
RUN_VALUES = tuple(f"run.{name}" for name in ("model_run_id", "model_id", "model_type", "id", "number", "labels"))
JOB_VALUES = ("job.data_uri", "job.batch_uri", "job.attempt_id")
_OUTPUT_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Strict(BaseModel):
    """Our own files are ours to get right: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobSpec(Strict):
    """What every kind of job declares."""

    name: Name
    status: Status = Field(description="Told to Labelbox when the job is launched.")
    timeout_s: int = Field(default=14400, ge=60, le=604800, description="Cancelled after this long; the run fails.")
    attempts: int = Field(default=3, ge=1, le=10, description="Launches at most, retries included.")
    metadata: dict[str, str] = Field(
        default_factory=dict,
        description="Shown in Labelbox once the job has ended; `${output.NAME}` is its own output.",
    )

    @property
    def output_names(self) -> tuple[str, ...]:
        """Outputs that later jobs may refer to."""
        raise NotImplementedError

    def templates(self) -> Iterator[object]:
        """Every value in which a placeholder may stand, those of `spending` aside."""
        raise NotImplementedError

    def spending(self) -> Iterator[object]:
        """Values that decide what the job costs: only parameters may stand here, so that limits hold before launch."""
        return iter(())


class Accelerator(Strict):
    """GPUs of a machine. A type of "none" or "", or a count of 0, is no accelerator."""

    type: Template
    count: Template = 1


class OtherImage(Strict):
    """An image in place of a job's usual one, where a parameter has this value. The file names every image that may
    run: a model run's config chooses among them and brings none of its own."""

    parameter: str
    value: Scalar
    image: ImageName


class CustomJob(JobSpec):
    """One of our containers (or yours) as a Vertex CustomJob."""

    kind: Literal["CustomJob"]
    image: ImageName
    other_images: tuple[OtherImage, ...] = Field(default=(), description="The first whose parameter fits is run.")
    machine: Template = "n1-standard-4"
    accelerator: Accelerator | None = None
    disk_gb: int = Field(default=100, ge=100, le=64000)
    spot: Template = False
    args: dict[str, Template] = Field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @field_validator("outputs")
    @classmethod
    def _output_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _OUTPUT_NAME.fullmatch(name):
                raise ValueError(f"output {name!r} must be lowercase letters, digits and _")
        return value

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.outputs

    def image_for(self, parameters: Mapping[str, Scalar]) -> str:
        """The image that the job runs under these parameters."""
        return next(
            (other.image for other in self.other_images if parameters.get(other.parameter) == other.value), self.image
        )

    def accelerators(self, values: Mapping[str, Scalar]) -> tuple[str, int]:
        """(type, count) of the machine's GPUs with placeholders' values put in; ("", 0) for none."""
        if self.accelerator is None:
            return "", 0
        kind, count = str(render(self.accelerator.type, values)), int(render(self.accelerator.count, values))
        return (kind, count) if kind not in ("", "none") and count else ("", 0)

    def templates(self) -> Iterator[object]:
        yield from (self.spot, self.args)
        yield from (f"${{parameters.{other.parameter}}}" for other in self.other_images)

    def spending(self) -> Iterator[object]:
        yield self.machine
        if self.accelerator:
            yield from (self.accelerator.type, self.accelerator.count)


class AutoMLImageTraining(JobSpec):
    """An AutoML image model, as a Vertex TrainingPipeline. Its output is `model`, a model's resource name."""

    kind: Literal["TrainingPipeline"]
    objective: Literal["single_label_classification", "multi_label_classification", "object_detection"]
    dataset: Template
    model_type: Template
    budget_milli_node_hours: Template
    disable_early_stopping: bool = False

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("model",)

    def templates(self) -> Iterator[object]:
        yield from (self.dataset, self.model_type)

    def spending(self) -> Iterator[object]:
        yield self.budget_milli_node_hours


class BatchPrediction(JobSpec):
    """Predictions of a Vertex model over a file of instances. Its output is `predictions`, a gs:// folder."""

    kind: Literal["BatchPredictionJob"]
    model: Template
    instances: Template
    model_parameters: dict[str, Template] = Field(default_factory=dict)
    machine: Template | None = None

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("predictions",)

    def templates(self) -> Iterator[object]:
        yield from (self.model, self.instances, self.model_parameters)

    def spending(self) -> Iterator[object]:
        yield self.machine or ""


Job = Annotated[CustomJob | AutoMLImageTraining | BatchPrediction, Field(discriminator="kind")]


class Stage(Strict):
    """An ordered list of jobs. A stage that is none of etl, train, inference runs on the generic topic `custom`."""

    name: Name
    jobs: tuple[Job, ...] = Field(min_length=1)

    @property
    def topic(self) -> str:
        """The topic (and the function) that launches this stage's jobs."""
        return self.name if self.name in STAGES_WITH_TOPICS else "custom"


class Pipeline(Strict):
    """A model type that GET /models offers."""

    version: Literal[1]
    model_type: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: str
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Parameter] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Pipeline:
        problems = [*_repeated_names(self), *_unknown_references(self), *_unknown_choices(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def jobs(self) -> Iterator[tuple[Stage, CustomJob | AutoMLImageTraining | BatchPrediction]]:
        """Every job in the order in which they run, with its stage."""
        return iter(self._jobs)

    @cached_property
    def _jobs(self) -> tuple[tuple[Stage, CustomJob | AutoMLImageTraining | BatchPrediction], ...]:
        return tuple((stage, job) for stage in self.stages for job in stage.jobs)

    def images(self) -> Iterator[tuple[str, CustomJob]]:
        """Every job of a container with the placeholder of the image that it runs, `image.STAGE.JOB`."""
        yield from ((f"image.{stage.name}.{job.name}", job) for stage, job in self.jobs() if isinstance(job, CustomJob))

    def find(self, stage: str, job: str) -> tuple[Stage, CustomJob | AutoMLImageTraining | BatchPrediction]:
        """One job by name; raises KeyError."""
        for found_stage, found in self.jobs():
            if (found_stage.name, found.name) == (stage, job):
                return found_stage, found
        raise KeyError(f"{stage}/{job}")


def _repeated_names(pipeline: Pipeline) -> Iterator[str]:
    seen: set[str] = set()
    for stage in pipeline.stages:
        if stage.name in ("run", "job", "parameters", "output") or stage.name in seen:
            yield f"stage {stage.name!r} needs a name of its own"
        seen.add(stage.name)
        names = [job.name for job in stage.jobs]
        yield from (
            f"stage {stage.name!r} has two jobs {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
        )


def _unknown_references(pipeline: Pipeline) -> Iterator[str]:
    known = {*RUN_VALUES, *JOB_VALUES, *(f"parameters.{name}" for name in pipeline.parameters)}
    images = {name for name, _ in pipeline.images()}
    for stage, job in pipeline.jobs():
        where = f"job {stage.name}/{job.name}"
        for value in job.templates():
            for name in references(value):
                if name not in known | images:
                    yield f"{where}: ${{{name}}} is no parameter, run value, output of an earlier job or job's image"
        for name in references(list(job.spending())):
            if name not in known or not name.startswith("parameters."):
                yield f"{where}: ${{{name}}} decides what the job costs, so it must be a declared parameter"
        known_here = known | {f"output.{name}" for name in job.output_names}
        for name in references(job.metadata):
            if name not in known_here:
                yield f"{where}: metadata uses ${{{name}}}, which is none of its outputs or earlier ones"
        known |= {f"{stage.name}.{job.name}.{name}" for name in job.output_names}


def _unknown_choices(pipeline: Pipeline) -> Iterator[str]:
    for name, parameter in pipeline.parameters.items():
        for need in parameter.needs:
            other = pipeline.parameters.get(need.parameter)
            if other is None or other.problem(need.value):
                yield f"parameter {name} needs {need.parameter} to be {need.value!r}, which it never is"
    for stage, job in pipeline.jobs():
        for choice in job.other_images if isinstance(job, CustomJob) else ():
            declared = pipeline.parameters.get(choice.parameter)
            if declared is not None and declared.problem(choice.value):
                where = f"job {stage.name}/{job.name}"
                yield f"{where}: {choice.parameter} never has the value {choice.value!r} that other_images names"


def read_pipeline(path: Path) -> Pipeline:
    """One pipeline file; raises BadDefinition that names the file and every problem in it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        pipeline = Pipeline.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadDefinition(f"{path.name} is not readable as YAML: {error}") from error
    except ValidationError as error:
        raise BadDefinition(f"{path.name}: {_in_words(error)}") from error
    if pipeline.model_type != path.stem:
        raise BadDefinition(
            f"{path.name} defines model_type {pipeline.model_type!r}; name the file after its model type"
        )
    return pipeline


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'pipeline'}: {item['msg']}" for item in error.errors()
    )


def read_pipelines(folder: Path = SHIPPED) -> Mapping[str, Pipeline]:
    """Every pipeline of a folder and its `custom/`, by model type; raises BadDefinition with all problems at once."""
    found: dict[str, Pipeline] = {}
    problems: list[str] = []
    for path in [*sorted(folder.glob("*.yaml")), *sorted((folder / "custom").glob("*.yaml"))]:
        try:
            pipeline = read_pipeline(path)
        except BadDefinition as error:
            problems.append(str(error))
            continue
        if pipeline.model_type in found:
            problems.append(f"two files define the model type {pipeline.model_type!r}")
        found[pipeline.model_type] = pipeline
    if problems:
        raise BadDefinition("Pipelines: " + " | ".join(problems))
    return found


def dump(pipeline: Pipeline) -> dict[str, Any]:
    """The definition as JSON-ready data, as `accepted` keeps it."""
    return pipeline.model_dump(mode="json", exclude_defaults=False)
