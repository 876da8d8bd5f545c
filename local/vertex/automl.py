"""TrainingPipeline: AutoML's requests and file formats, with the project's own image trainers behind them.

Its figures are the local trainer's, and say so wherever they stand ("local stand-in"); they are never AutoML's.
"""

import json
from collections.abc import Sequence
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.protobuf import json_format, struct_pb2

from local.vertex import automl_rules, items, kinds
from local.vertex.automl_rules import CLASSIFICATION, DETECTION
from local.vertex.bucket import Buckets
from local.vertex.datasets import Datasets
from local.vertex.import_lines import Item
from local.vertex.kinds import Outcome, proto_codec
from local.vertex.models import Models
from local.vertex.names import DATASETS, TRAINING_PIPELINES, Place, last_part
from local.vertex.processes import Command, JobProcess
from local.vertex.refusal import INTERNAL, INVALID_ARGUMENT, JobFailed, Refused
from local.vertex.rules import DEFAULT_TIMEOUT_S
from local.vertex.store import Store, Table
from local.vertex.workshop import Workshop

# What trains and predicts in AutoML's place: a folder of jobs/ for each task.
TRAINERS = {CLASSIFICATION: "train/image_classification", DETECTION: "train/bounding_boxes"}
STAND_IN = "local stand-in"


def image(objective: str) -> str:
    """Return the name of the image that trains for an objective."""
    return TRAINERS[objective].replace("/", "-").replace("_", "-")


def module(objective: str) -> str:
    """Return the package whose `main` trains and whose `predict` predicts for an objective."""
    return TRAINERS[objective].replace("/", ".")


class TrainingPipelines:
    """How a training pipeline runs."""

    announces_end = False
    codec = proto_codec(aiplatform_v1.TrainingPipeline)

    def __init__(
        self, place: Place, store: Store, workshop: Workshop, buckets: Buckets, datasets: Datasets, models: Models
    ) -> None:
        self.table: Table[Any] = Table(store, TRAINING_PIPELINES, self.codec)
        self._place = place
        self._workshop = workshop
        self._buckets = buckets
        self._datasets = datasets
        self._models = models

    def checked(self, given: Any) -> None:
        """Refuse a bad request, an unknown data set, and a model id that is taken."""
        automl_rules.training_pipeline(given)
        self._datasets.table.get(self._dataset(given))
        if given.model_id and self._models.table.exists(self._models.name(given.model_id)):
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The model {given.model_id} already exists.")

    def timeout_s(self, resource: Any) -> float:
        """Return a bound; AutoML's own is the budget, which the local trainer never reaches."""
        return DEFAULT_TIMEOUT_S

    def prepare(self, resource: Any) -> Command:
        """Export the data set in Vertex's import format to a bucket of the stand-in's own, and return the trainer."""
        multi_label = bool(automl_rules.task_inputs(resource).get("multiLabel", False))
        held = self._datasets.items.of(self._dataset(resource))
        placed = _placed(held, resource.input_data_config)
        problem = items.training_problem([item for _, item in held], placed)
        if problem:
            raise JobFailed(INVALID_ARGUMENT, problem)
        objective = resource.training_task_definition
        folder, job_id = self._folder(resource), last_part(resource.name)
        lines = [
            items.training_line(item, objective, multi_label)
            for item in placed
            if item.labels or objective == DETECTION
        ]
        self._buckets.write_text(f"{folder}training.jsonl", "\n".join(lines) + "\n")
        words = [
            "python", "-m", f"{module(objective)}.main", f"--training-file={folder}training.jsonl",
            f"--output-uri={folder}model/", f"--ending-uri={folder}ending/", "--seed=0",
        ]  # fmt: skip
        if objective == CLASSIFICATION:
            words.append(f"--multi-label={'true' if multi_label else 'false'}")
        return self._workshop.command(self._workshop.own_image(image(objective)), job_id, words, {})

    def finish(self, resource: Any, process: JobProcess, code: int) -> Outcome:
        """Read the trainer's ending; on success the model exists, with its labels and its way back to the pipeline."""
        folder = f"{self._folder(resource)}ending/{last_part(resource.name)}/"
        if code != 0:
            error = json.loads(self._buckets.read_text(f"{folder}error.json") or "{}")
            raise JobFailed(INTERNAL, error.get("sentence") or f"Training failed: the trainer's exit code was {code}.")
        text = self._buckets.read_text(f"{folder}result.json")
        if text is None:
            raise JobFailed(INTERNAL, "Training failed: the trainer ended without a result.")
        result = json.loads(text)
        resource.model_to_upload.name = self._model(resource, result["outputs"]["model"])
        resource.training_task_metadata = _metadata(result.get("metrics", {}))
        return Outcome(kinds.SUCCEEDED, resource)

    def _model(self, resource: Any, model_uri: str) -> str:
        """Create the pipeline's model. Safe to repeat because its id is the caller's or the pipeline's own."""
        model_id = resource.model_id or last_part(resource.name)
        given = aiplatform_v1.Model.from_json(aiplatform_v1.Model.to_json(resource.model_to_upload))
        given.training_pipeline = resource.name
        given.description = given.description or f"Trained by the {STAND_IN}, not by AutoML."
        try:
            self._models.add(model_id, given, model_uri=model_uri, objective=resource.training_task_definition)
        except Refused as refused:
            own = self._models.table.get(self._models.name(model_id)).training_pipeline == resource.name
            if refused.code is not grpc.StatusCode.ALREADY_EXISTS or not own:
                raise JobFailed(INVALID_ARGUMENT, refused.message) from refused
        return self._models.name(model_id)

    def _dataset(self, resource: Any) -> str:
        return self._place.name(DATASETS, resource.input_data_config.dataset_id)

    def _folder(self, resource: Any) -> str:
        return self._buckets.internal(f"training-pipelines/{last_part(resource.name)}/")


def _placed(held: Sequence[tuple[str, Item]], config: Any) -> list[Item]:
    """Return the data items that take part, each in its split."""
    filters: tuple[str, ...] | None = None
    if "filter_split" in config:
        split = config.filter_split
        filters = (split.training_filter, split.validation_filter, split.test_filter)
    fractions = _fractions(config)
    placed = (
        items.split_by_filters(item, filters) if filters else items.split_by_fractions(item, digest, fractions)
        for digest, item in held
    )
    return [item for item in placed if item is not None]


def _fractions(config: Any) -> tuple[float, float, float]:
    split = config.fraction_split
    fractions = (split.training_fraction, split.validation_fraction, split.test_fraction)
    return fractions if any(fractions) else items.DEFAULT_FRACTIONS


def _metadata(metrics: dict[str, Any]) -> Any:
    """Return the task's metadata; AutoML's own figures (cost, stop reason) are not made up."""
    return json_format.ParseDict({"source": STAND_IN, "localStandInMetrics": metrics}, struct_pb2.Value())
