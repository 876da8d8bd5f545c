"""Vertex AI as the orchestrator needs it: create a job, find it by label, read it, cancel it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestrator.errors import LaunchRefused, LaunchUnsure, Unavailable
from orchestrator.job_requests import JobRequest
from orchestrator.settings import Settings

KINDS = ("CustomJob", "TrainingPipeline", "BatchPredictionJob")
# PAUSED is not an end. PARTIALLY_SUCCEEDED is one, and usable.
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/JobState
TERMINAL = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
_COLLECTION = {
    "customJobs": "CustomJob",
    "trainingPipelines": "TrainingPipeline",
    "batchPredictionJobs": "BatchPredictionJob",
}
_STATE_PREFIX = {"CustomJob": "JOB_STATE_", "BatchPredictionJob": "JOB_STATE_", "TrainingPipeline": "PIPELINE_STATE_"}


@dataclass(frozen=True)
class JobReading:
    """What Vertex says of a job now. `state` is without its enum's prefix."""

    name: str
    state: str
    created: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    error_code: int = 0
    error_message: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def terminal(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.state in TERMINAL

    @property
    def number(self) -> str:
        """The job's own number: what a container sees as CLOUD_ML_JOB_ID."""
        return self.name.rsplit("/", 1)[1]


class Jobs(Protocol):
    """What the handlers need of Vertex. Every call may raise Unavailable."""

    def create(self, request: JobRequest) -> JobReading:
        """Create a job. Raises LaunchRefused for a sure no and LaunchUnsure if a job may exist all the same."""

    def find(self, kind: str, attempt_id: str) -> list[JobReading]:
        """Every job of this kind that carries the attempt's label, in every state, oldest first. May lag."""

    def get(self, name: str) -> JobReading | None:
        """The job as it is now, or None if Vertex knows no such job."""

    def cancel(self, name: str) -> None:
        """Ask a job to stop; it ends some time later."""

    def running(self, deployment: str) -> list[JobReading]:
        """The deployment's unfinished jobs of every kind, one list call a kind. May lag."""


def _ends(kind: str) -> list[str]:
    # A TrainingPipeline's states lack these two, and a filter on an unknown state is refused.
    absent = {"EXPIRED", "PARTIALLY_SUCCEEDED"} if kind == "TrainingPipeline" else set()
    return sorted(TERMINAL - absent)


def kind_of(name: str) -> str:
    """The kind of the resource that a full name names."""
    return _COLLECTION[name.split("/")[-2]]


class VertexJobs:
    """Vertex's job and pipeline services, through the generated clients.

    The clients' default has no deadline, so each call states one, and no create is ever retried: Vertex's creates
    carry no request id. Vertex has no emulator variable; an endpoint `http://host:port` means an insecure channel.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cached: tuple[Any, Any] | None = None

    def _clients(self) -> tuple[Any, Any]:
        if self._cached is None:
            from google.cloud import aiplatform_v1

            endpoint = self._settings.vertex_endpoint
            if endpoint.startswith("http://"):
                import grpc
                from google.cloud.aiplatform_v1.services.job_service.transports import JobServiceGrpcTransport
                from google.cloud.aiplatform_v1.services.pipeline_service.transports import (
                    PipelineServiceGrpcTransport,
                )

                options = [("grpc.max_reconnect_backoff_ms", 1000)]
                channel = grpc.insecure_channel(endpoint.removeprefix("http://"), options=options)
                self._cached = (
                    aiplatform_v1.JobServiceClient(transport=JobServiceGrpcTransport(channel=channel)),
                    aiplatform_v1.PipelineServiceClient(transport=PipelineServiceGrpcTransport(channel=channel)),
                )
            else:
                target = {"api_endpoint": endpoint or f"{self._settings.region}-aiplatform.googleapis.com"}
                self._cached = (
                    aiplatform_v1.JobServiceClient(client_options=target),
                    aiplatform_v1.PipelineServiceClient(client_options=target),
                )
        return self._cached

    def _method(self, verb: str, kind: str) -> Any:
        jobs, pipelines = self._clients()
        name = {"CustomJob": "custom_job", "BatchPredictionJob": "batch_prediction_job"}.get(kind, "training_pipeline")
        client = pipelines if kind == "TrainingPipeline" else jobs
        return getattr(client, f"{verb}_{name}{'s' if verb == 'list' else ''}")

    def close(self) -> None:
        """Close the connections, if there are any."""
        for client in self._cached or ():
            client.transport.close()

    def create(self, request: JobRequest) -> JobReading:
        """See Jobs. NOT safe to repeat; the caller holds a claim and looks by label first."""
        from google.api_core import exceptions
        from google.cloud import aiplatform_v1

        body = dict(request.body)
        if request.kind == "TrainingPipeline":
            body["training_task_inputs"] = _proto_value(body["training_task_inputs"])
        if request.kind == "BatchPredictionJob":
            body["model_parameters"] = _proto_value(body["model_parameters"])
        resource = getattr(aiplatform_v1, request.kind)(body)
        argument = {
            "CustomJob": "custom_job",
            "TrainingPipeline": "training_pipeline",
            "BatchPredictionJob": "batch_prediction_job",
        }[request.kind]
        try:
            created = self._method("create", request.kind)(
                request={"parent": self._settings.parent, argument: resource},
                timeout=self._settings.call_deadline_s,
                retry=None,
            )
        except exceptions.ResourceExhausted as error:
            raise LaunchRefused(str(error.message), quota=True) from error
        except (
            exceptions.InvalidArgument,
            exceptions.FailedPrecondition,
            exceptions.NotFound,
            exceptions.Forbidden,
            exceptions.Unauthorized,
            exceptions.AlreadyExists,
        ) as error:
            raise LaunchRefused(str(error.message), quota=False) from error
        except (exceptions.GoogleAPIError, ConnectionError) as error:
            raise LaunchUnsure(f"Vertex did not answer a create: {type(error).__name__}") from error
        return _reading(request.kind, created)

    def find(self, kind: str, attempt_id: str) -> list[JobReading]:
        """See Jobs."""
        return sorted(self._list(kind, f"labels.lb_attempt={attempt_id}"), key=lambda item: (item.created, item.name))

    def running(self, deployment: str) -> list[JobReading]:
        """See Jobs."""
        found: list[JobReading] = []
        for kind in KINDS:
            ended = (f'state!="{_STATE_PREFIX[kind]}{state}"' for state in _ends(kind))
            found += self._list(kind, " AND ".join((f"labels.lb_deployment={deployment}", *ended)))
        return found

    def _list(self, kind: str, query: str) -> Iterator[JobReading]:
        request = {"parent": self._settings.parent, "filter": query, "page_size": 100}
        items: Iterable[Any] = self._guarded(
            f"list {kind}s",
            lambda: list(
                self._method("list", kind)(request=request, timeout=self._settings.call_deadline_s, retry=None)
            ),
        )
        return (_reading(kind, item) for item in items)

    def get(self, name: str) -> JobReading | None:
        """See Jobs."""
        from google.api_core import exceptions

        kind = kind_of(name)
        try:
            item = self._guarded(
                "read a job",
                lambda: self._method("get", kind)(name=name, timeout=self._settings.call_deadline_s, retry=None),
            )
        except exceptions.NotFound:
            return None
        return _reading(kind, item)

    def cancel(self, name: str) -> None:
        """See Jobs. Safe to repeat: a job that has ended, or is gone, cannot be cancelled, and that is fine."""
        from google.api_core import exceptions

        try:
            self._guarded(
                "cancel a job",
                lambda: self._method("cancel", kind_of(name))(
                    name=name, timeout=self._settings.call_deadline_s, retry=None
                ),
            )
        except (exceptions.NotFound, exceptions.FailedPrecondition, exceptions.InvalidArgument):
            return

    def _guarded(self, what: str, call: Any) -> Any:
        from google.api_core import exceptions

        try:
            return call()
        except (exceptions.NotFound, exceptions.FailedPrecondition, exceptions.InvalidArgument):
            raise
        except (exceptions.GoogleAPIError, ConnectionError) as error:
            raise Unavailable(f"Vertex did not {what}: {type(error).__name__}") from error


def _proto_value(content: Mapping[str, Any]) -> Any:
    from google.protobuf import json_format, struct_pb2

    return json_format.ParseDict(dict(content), struct_pb2.Value())


def _reading(kind: str, item: Any) -> JobReading:
    outputs: dict[str, str] = {}
    counts: dict[str, int] = {}
    if kind == "TrainingPipeline" and item.model_to_upload.name:
        outputs["model"] = item.model_to_upload.name
    if kind == "BatchPredictionJob":
        if item.output_info.gcs_output_directory:
            outputs["predictions"] = item.output_info.gcs_output_directory.rstrip("/") + "/"
        stats = item.completion_stats
        # -1 stands for "not known": https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CompletionStats
        counts = {
            name: int(value)
            for name, value in (("predicted", stats.successful_count), ("failed", stats.failed_count))
            if int(value) >= 0
        }
    return JobReading(
        name=item.name,
        state=item.state.name.removeprefix("JOB_STATE_").removeprefix("PIPELINE_STATE_"),
        created=item.create_time,
        labels=dict(item.labels),
        error_code=int(item.error.code),
        error_message=str(item.error.message),
        outputs=outputs,
        counts=counts,
    )
