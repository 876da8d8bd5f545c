"""Long-running operations: google.longrunning.Operations for what Vertex does not answer at once."""

import time
from datetime import UTC, datetime
from typing import Any

from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from local.vertex.names import OPERATIONS, new_id
from local.vertex.refusal import JobFailed
from local.vertex.settings import SettingsFile
from local.vertex.store import Codec, Store, Table

Operation = operations_pb2.Operation
CODEC: Codec[Any] = Codec(to_bytes=Operation.SerializeToString, from_bytes=Operation.FromString)
LONGEST_WAIT_S = 60.0
POLL_S = 0.02
MOST_PARTIAL_FAILURES = 20


def packed(message: Any) -> any_pb2.Any:
    """Return a message (proto-plus or plain) wrapped as an Any."""
    wrapped = any_pb2.Any()
    wrapped.Pack(getattr(type(message), "pb", lambda plain: plain)(message))
    return wrapped


def generic_metadata(created: datetime, partial_failures: Any = ()) -> Any:
    """Return the common part of an operation's metadata, with the first twenty failures."""
    return aiplatform_v1.GenericOperationMetadata(
        create_time=created,
        update_time=datetime.now(UTC),
        partial_failures=list(partial_failures)[:MOST_PARTIAL_FAILURES],
    )


class Operations:
    """Operations on record. An effect comes first and its operation is done later, when it was asked to be slow."""

    def __init__(self, store: Store, settings: SettingsFile) -> None:
        self.table = Table(store, OPERATIONS, CODEC)
        self._settings = settings

    def done(self, resource: str, metadata: Any, response: Any) -> Any:
        """Return a new operation on `resource` whose work is done; it reads as done after `operation_delay_s`."""
        delay_s = self._settings.current.operation_delay_s
        operation = self._new(resource, metadata)
        operation.done = True
        operation.response.CopyFrom(packed(response))
        self.table.add(operation.name, operation, {"ready_at": time.time() + delay_s})
        return self.get(operation.name)

    def pending(self, resource: str, metadata: Any, notes: dict[str, Any]) -> Any:
        """Return a new operation that `finish` or `fail` ends; `notes` let a restart take the work up again."""
        operation = self._new(resource, metadata)
        self.table.add(operation.name, operation, notes)
        return operation

    def finish(self, name: str, metadata: Any, response: Any) -> None:
        """Note an operation's success."""
        self.table.note(name, ready_at=time.time() + self._settings.current.operation_delay_s)

        def update(operation: Any) -> None:
            operation.done = True
            operation.metadata.CopyFrom(packed(metadata))
            operation.response.CopyFrom(packed(response))

        self.table.change(name, update)

    def fail(self, name: str, metadata: Any, failure: JobFailed) -> None:
        """Note an operation's failure."""

        def update(operation: Any) -> None:
            operation.done = True
            operation.metadata.CopyFrom(packed(metadata))
            operation.error.code = failure.code
            operation.error.message = failure.message

        self.table.change(name, update)

    def get(self, name: str) -> Any:
        """Return an operation as it reads now."""
        operation = self.table.get(name)
        if time.time() < self.table.notes(name).get("ready_at", 0.0):
            operation.done = False
            operation.ClearField("result")
        return operation

    def wait(self, name: str, timeout_s: float) -> Any:
        """Return an operation once it is done, or as it reads when the time is over."""
        deadline = time.monotonic() + min(timeout_s or LONGEST_WAIT_S, LONGEST_WAIT_S)
        while not (operation := self.get(name)).done and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return operation

    def _new(self, resource: str, metadata: Any) -> Any:
        return Operation(name=f"{resource}/{OPERATIONS}/{new_id()}", metadata=packed(metadata))
