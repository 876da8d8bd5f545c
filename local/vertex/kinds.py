"""What the three kinds of work have in common, and what each must tell the one who runs it (a port)."""

from dataclasses import dataclass
from typing import Any, Protocol

from google.cloud import aiplatform_v1

from local.vertex.processes import Command, JobProcess
from local.vertex.store import Codec, Table

# JobState and PipelineState number their common states alike, so one set of numbers serves all three kinds.
STATE = aiplatform_v1.JobState
QUEUED = int(STATE.JOB_STATE_QUEUED)
PENDING = int(STATE.JOB_STATE_PENDING)
RUNNING = int(STATE.JOB_STATE_RUNNING)
SUCCEEDED = int(STATE.JOB_STATE_SUCCEEDED)
FAILED = int(STATE.JOB_STATE_FAILED)
CANCELLING = int(STATE.JOB_STATE_CANCELLING)
CANCELLED = int(STATE.JOB_STATE_CANCELLED)
PARTIALLY_SUCCEEDED = int(STATE.JOB_STATE_PARTIALLY_SUCCEEDED)
WAITING = frozenset({QUEUED, PENDING})
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED, PARTIALLY_SUCCEEDED})

JOB_STATES = frozenset(str(name) for name in aiplatform_v1.JobState.__members__)
PIPELINE_STATES = frozenset(str(name) for name in aiplatform_v1.PipelineState.__members__)


@dataclass(frozen=True)
class Outcome:
    """How a job ends: its state, its error if any, and the resource as it will read (outputs filled in)."""

    state: int
    resource: Any
    code: int = 0
    message: str = ""


class Kind(Protocol):
    """One kind of work: custom job, training pipeline or batch prediction."""

    @property
    def table(self) -> Table[Any]:
        """Where its resources are."""

    @property
    def codec(self) -> Codec[Any]:
        """How its resources become bytes."""

    @property
    def announces_end(self) -> bool:
        """Whether Vertex writes a log line at its end (custom jobs only)."""

    def timeout_s(self, resource: Any) -> float:
        """Return how long it may run."""

    def prepare(self, resource: Any) -> Command:
        """Do what comes before the process, and return what to run. May be repeated; raises JobFailed."""

    def finish(self, resource: Any, process: JobProcess, code: int) -> Outcome:
        """Read what the ended process left, and complete the resource. May be repeated; raises JobFailed."""


def proto_codec(message: Any) -> Codec[Any]:
    """Return the codec of a proto-plus message type."""
    return Codec(to_bytes=message.serialize, from_bytes=message.deserialize)
