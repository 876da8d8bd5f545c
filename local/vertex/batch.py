"""BatchPredictionJob: AutoML image models' files and folders, with the project's own predictor behind them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import aiplatform_v1
from google.rpc import status_pb2

from local.vertex import automl, automl_rules, kinds
from local.vertex.bucket import Buckets, ObjectFacts
from local.vertex.kinds import Outcome, proto_codec
from local.vertex.models import Models
from local.vertex.names import BATCH_PREDICTION_JOBS, MODELS, Place, last_part
from local.vertex.operations import MOST_PARTIAL_FAILURES
from local.vertex.processes import Command, JobProcess
from local.vertex.refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, JobFailed
from local.vertex.rules import DEFAULT_TIMEOUT_S
from local.vertex.settings import SettingsFile
from local.vertex.store import Store, Table
from local.vertex.workshop import Workshop

DEFAULT_MAX_PREDICTIONS = 10
DEFAULT_CONFIDENCE_THRESHOLD = 0.0
LARGEST_PREDICTION_FILE_BYTES = 1_572_864  # 1.5 MB
MIME_TYPES = frozenset(f"image/{name}" for name in ("jpeg", "gif", "png", "webp", "bmp", "tiff", "vnd.microsoft.icon"))


@dataclass(frozen=True)
class Instances:
    """The instances of a job, told apart: `good` are lines for the predictor, `bad` are lines of the errors file."""

    good: list[str]
    bad: list[str]


class BatchPredictionJobs:
    """How a batch prediction runs."""

    announces_end = False
    codec = proto_codec(aiplatform_v1.BatchPredictionJob)

    def __init__(
        self,
        place: Place,
        store: Store,
        settings: SettingsFile,
        workshop: Workshop,
        buckets: Buckets,
        models: Models,
    ) -> None:
        self.table: Table[Any] = Table(store, BATCH_PREDICTION_JOBS, self.codec)
        self._place = place
        self._settings = settings
        self._workshop = workshop
        self._buckets = buckets
        self._models = models

    def checked(self, given: Any) -> None:
        """Refuse a bad request and an unknown model."""
        automl_rules.batch_prediction_job(given)
        self._models.table.get(self._place.check_name(given.model, MODELS))

    def timeout_s(self, resource: Any) -> float:
        """Return a bound; the request has none."""
        return DEFAULT_TIMEOUT_S

    def prepare(self, resource: Any) -> Command:
        """Sort the instances and return the predictor's command. Raises JobFailed when none can be predicted."""
        notes = self._models.notes(resource.model.split("@")[0])
        model_uri, objective = notes.get("model_uri"), notes.get("objective", automl_rules.CLASSIFICATION)
        if not model_uri:
            raise JobFailed(INTERNAL, "The local stand-in predicts only with models that its own training made.")
        instances = self._instances(resource)
        if not instances.good:
            first = instances.bad[0] if instances.bad else "the files hold no line"
            raise JobFailed(INVALID_ARGUMENT, f"All instances failed. First: {first}")
        folder, job_id = self._folder(resource), last_part(resource.name)
        self._buckets.write_text(f"{folder}instances.jsonl", _lines(instances.good))
        self._buckets.write_text(f"{folder}refused.jsonl", _lines(instances.bad))
        parameters = automl_rules.model_parameters(resource)
        words = [
            "python", "-m", f"{automl.module(objective)}.predict", f"--model={model_uri}",
            f"--instances={folder}instances.jsonl", f"--output-uri={folder}output/",
            f"--confidence-threshold={parameters.get('confidenceThreshold', DEFAULT_CONFIDENCE_THRESHOLD)}",
            f"--max-predictions={int(parameters.get('maxPredictions', DEFAULT_MAX_PREDICTIONS))}",
        ]  # fmt: skip
        return self._workshop.command(self._workshop.own_image(automl.image(objective)), job_id, words, {})

    def finish(self, resource: Any, process: JobProcess, code: int) -> Outcome:
        """Write predictions and errors where the caller wants them, in Vertex's folder and shards, and count them."""
        if code != 0:
            raise JobFailed(INTERNAL, f"Batch prediction failed: the predictor's exit code was {code}.")
        folder = self._folder(resource)
        predictions = self._written(f"{folder}output/predictions_")
        errors = [*self._written(f"{folder}refused.jsonl"), *self._written(f"{folder}output/errors_")]
        directory = self._directory(resource)
        for number, shard in enumerate(_shards(predictions, self._settings.current.batch_shards), 1):
            self._buckets.write_text(f"{directory}/predictions_{number:05d}.jsonl", _lines(shard))
        if errors:
            self._buckets.write_text(f"{directory}/errors_00001.jsonl", _lines(errors))
        resource.output_info.gcs_output_directory = directory
        resource.completion_stats.successful_count = len(predictions)
        resource.completion_stats.failed_count = len(errors)
        resource.partial_failures = [_status(line) for line in errors[:MOST_PARTIAL_FAILURES]]
        if not predictions:
            return Outcome(kinds.FAILED, resource, INVALID_ARGUMENT, "All instances failed; see the errors files.")
        partial = errors and self._settings.current.partial_batch
        return Outcome(kinds.PARTIALLY_SUCCEEDED if partial else kinds.SUCCEEDED, resource)

    def _instances(self, resource: Any) -> Instances:
        """Read the instance files and tell apart what can be predicted. Raises JobFailed for a missing file."""
        lines: list[str] = []
        for uri in resource.input_config.gcs_source.uris:
            text = self._buckets.read_text(uri)
            if text is None:
                raise JobFailed(NOT_FOUND, f"The instance file {uri} is not found.")
            lines += [line for line in text.split("\n") if line.strip()]
        problems = [_instance_problem(line) for line in lines]
        wanted = [json.loads(line)["content"] for line, problem in zip(lines, problems, strict=True) if not problem]
        facts = self._buckets.facts_of(sorted(set(wanted)))
        good, bad = [], []
        for line, problem in zip(lines, problems, strict=True):
            reason = problem or _image_problem(facts[json.loads(line)["content"]])
            if reason:
                bad.append(_error_line(line, reason))
            else:
                good.append(line)
        return Instances(good, bad)

    def _written(self, prefix_uri: str) -> list[str]:
        texts = (self._buckets.read_text(uri) or "" for uri in self._buckets.under(prefix_uri))
        return [line for text in texts for line in text.split("\n") if line.strip()]

    def _directory(self, resource: Any) -> str:
        """Return `<prefix>/prediction-<model's display name>-<YYYY-MM-DDThh:mm:ss.sssZ>`."""
        prefix = resource.output_config.gcs_destination.output_uri_prefix.rstrip("/")
        name = self._models.table.get(resource.model.split("@")[0]).display_name
        created = resource.create_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        return f"{prefix}/prediction-{name}-{created}Z"

    def _folder(self, resource: Any) -> str:
        return self._buckets.internal(f"batch-prediction-jobs/{last_part(resource.name)}/")


def _instance_problem(line: str) -> str | None:
    try:
        instance = json.loads(line)
    except json.JSONDecodeError as error:
        return f"the line is not valid JSON: {error.msg}"
    if not isinstance(instance, dict):
        return "the line is not a JSON object"
    content = instance.get("content")
    if not isinstance(content, str) or not content.startswith("gs://") or content.count("/") < 3:
        return f"content must be gs://bucket/object: {content!r}"
    if instance.get("mimeType") not in MIME_TYPES:
        return f"mimeType {instance.get('mimeType')!r} is not supported; known are {', '.join(sorted(MIME_TYPES))}"
    return None


def _image_problem(image: ObjectFacts | None) -> str | None:
    if image is None:
        return "the image is not found"
    if image.size_bytes > LARGEST_PREDICTION_FILE_BYTES:
        return f"the image is larger than 1.5 MB ({image.size_bytes:,} bytes)"
    return None


def _error_line(line: str, message: str) -> str:
    """Return the line of an errors file: the instance and a google.rpc.Status."""
    try:
        instance = json.loads(line)
    except json.JSONDecodeError:
        instance = line
    return json.dumps({"instance": instance, "error": {"code": INVALID_ARGUMENT, "message": message}})


def _status(error_line: str) -> Any:
    error = json.loads(error_line).get("error", {})
    return status_pb2.Status(code=error.get("code", INVALID_ARGUMENT), message=error.get("message", ""))


def _shards(lines: list[str], most: int) -> Iterable[list[str]]:
    """Deal the lines out to files, as workers would: nobody may rely on the instances' order."""
    number = min(max(1, most), len(lines))
    return (lines[start::number] for start in range(number))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
