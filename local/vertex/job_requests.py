"""What requests about jobs have in common: create (with refusals on demand), get, list, cancel, delete."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local.vertex import kinds
from local.vertex.filters import Field, needed_texts, parse
from local.vertex.kinds import Kind
from local.vertex.lifecycle import Lifecycle
from local.vertex.names import Place, new_id
from local.vertex.operations import Operations, generic_metadata
from local.vertex.pages import page
from local.vertex.refusal import Refused
from local.vertex.settings import SettingsFile

QUOTA = "The following quota metrics exceed quota limits: aiplatform.googleapis.com/job_or_lro_submission_requests"


@dataclass(frozen=True)
class JobRequests:
    """The requests about one kind of job. `checked` refuses a bad resource; `response` makes a list's answer."""

    place: Place
    settings: SettingsFile
    operations: Operations
    life: Lifecycle
    kind: Kind
    collection: str
    fields: Mapping[str, Field]
    checked: Callable[[Any], None]
    response: Callable[..., Any]

    def create(self, parent: str, given: Any) -> Any:
        """Create a job from what the caller gave, without what only the service may set; it starts queued."""
        self.place.check_parent(parent)
        if self.settings.take("create_refusals"):
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, QUOTA)
        self.checked(given)
        job = _without_outputs(given)
        job.name = self.place.name(self.collection, new_id())
        job.state = kinds.QUEUED
        job.create_time = job.update_time = datetime.now(UTC)
        self.kind.table.add(job.name, job)
        self.life.begin(self.kind, job.name)
        if self.settings.take("lost_answers"):
            raise Refused(grpc.StatusCode.UNAVAILABLE, "The answer was lost on demand; the job was created.")
        return job

    def get(self, request: Any) -> Any:
        """Return a job as it is now."""
        return self.kind.table.get(self.place.check_name(request.name, self.collection))

    def list(self, request: Any) -> Any:
        """Return a page of jobs, newest first, as old as the lists' lag."""
        self.place.check_parent(request.parent)
        accepted = parse(request.filter, dict(self.fields))
        listed = self.kind.table.listed(self.settings.current.list_lag_s, needed_texts(request.filter))
        found = [job for job in listed if accepted(job)]
        chosen, token = page(found, request.page_size, request.page_token)
        return self.response(chosen, token)

    def cancel(self, request: Any) -> Any:
        """Ask for a job's end; it comes later, or not at all when the job ends first."""
        name = self.place.check_name(request.name, self.collection)
        self.kind.table.get(name)
        self.life.cancel(self.kind, name)
        return empty_pb2.Empty()

    def delete(self, request: Any) -> Any:
        """Delete an ended job (LRO); refuse one that has not ended."""
        name = self.place.check_name(request.name, self.collection)
        if self.kind.table.get(name).state not in kinds.ENDED:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"{name} has not ended: cancel it first.")
        self.kind.table.delete(name)
        metadata = aiplatform_v1.DeleteOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self.operations.done(name, metadata, empty_pb2.Empty())


OUTPUT_FIELDS = (
    "name", "state", "error", "create_time", "start_time", "end_time", "update_time", "output_info",
    "partial_failures", "completion_stats", "training_task_metadata",
)  # fmt: skip


def _without_outputs(given: Any) -> Any:
    """Return a copy without the fields that are output only, which Vertex ignores in a request."""
    message = type(given).pb(given)
    copied = type(message)()
    copied.CopyFrom(message)
    for name in OUTPUT_FIELDS:
        if name in copied.DESCRIPTOR.fields_by_name:
            copied.ClearField(name)
    return type(given).wrap(copied)
