"""Facts: what happened to a run, each written once and never changed. The state of a run is a fold over them.

The dataclasses below are the whole vocabulary; each docstring is its documentation. A fact's `path` is where it lies
below the run's folder, and since every object is created only if it does not exist, each path has exactly one winner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from orchestrator.errors import NewerVersion
from orchestrator.identities import AttemptRef
from orchestrator.pipelines import Pipeline

VERSION = 1


@dataclass(frozen=True)
class Accepted:
    """A request of Labelbox became a run. Holds all that the run will ever need of this deployment's configuration,
    so that a deploy never changes a run under way. `config` is the model run's config if Labelbox answered in time."""

    path: ClassVar[str] = "accepted.json"
    model_run_id: str
    model_id: str
    model_type: str
    run_key: str
    pipeline: dict[str, Any]
    image_repository: str
    image_tag: str
    body_sha256: str
    config: dict[str, Any] | None = None
    clears: tuple[str, ...] = ()  # metadata keys that an older run of this model run left in Labelbox
    abandoned: bool = False  # written by reconcile in the place of a coordinator that never came back
    # STAGE/JOB of an older run whose end this run takes over (retry from a stage): fields of Ended.
    reused: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def reused_ends(self) -> dict[tuple[str, str], Ended]:
        """The ends that this run takes over, by stage and job; they count as attempt 0."""
        ends = {}
        for name, values in self.reused.items():
            stage, job = name.split("/", 1)
            ends[stage, job] = Ended(stage, job, 0, **values)
        return ends

    @cached_property
    def definition(self) -> Pipeline:
        """The pipeline as it was when the run was accepted."""
        return _definition_of(self.pipeline)


# The newest definition of each model type. Most runs are of these, and checking one costs more than the whole fold.
_DEFINITIONS: dict[object, tuple[dict[str, Any], Pipeline]] = {}


def _definition_of(pipeline: dict[str, Any]) -> Pipeline:
    model_type = pipeline.get("model_type")
    known = _DEFINITIONS.get(model_type)
    if known and known[0] == pipeline:
        return known[1]
    definition = Pipeline.model_validate(pipeline)
    _DEFINITIONS[model_type] = pipeline, definition
    return definition


@dataclass(frozen=True)
class Configured:
    """The run's parameters were settled against the pipeline's declarations and the deployment's limits, and its
    images pinned: `images` maps each as named to the same by digest. With `problems` the run fails before anything is
    launched."""

    path: ClassVar[str] = "configured.json"
    parameters: dict[str, Any]
    problems: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AttemptFact:
    """Base of facts about one attempt of one job."""

    stage: str
    job: str
    attempt: int

    @cached_property
    def ref(self) -> AttemptRef:
        """The attempt this fact is about."""
        return AttemptRef(self.stage, self.job, self.attempt)


@dataclass(frozen=True)
class Claimed(AttemptFact):
    """A handler holds the right to launch this attempt, for as long as the claim is young (server time).
    `claim` counts up: a claim that ran out, or was refused, is followed by the next."""

    claim: int

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"{self.ref.facts}claimed-{self.claim}.json"


@dataclass(frozen=True)
class Refused(AttemptFact):
    """Vertex surely did not create the job under this claim. For quota, `not_before` says when to try again."""

    claim: int
    quota: bool
    sentence: str
    not_before: datetime | None = None

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"{self.ref.facts}refused-{self.claim}.json"


@dataclass(frozen=True)
class Launched(AttemptFact):
    """The one Vertex resource of this attempt. Any other with the same labels is a double and gets cancelled."""

    name: str
    adopted: bool = False

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"{self.ref.facts}launched.json"


@dataclass(frozen=True)
class Phase(AttemptFact):
    """The job said that it got further; raises the status told to Labelbox, never lowers it."""

    status: str

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"{self.ref.facts}phase-{self.status}.json"


@dataclass(frozen=True)
class Ended(AttemptFact):
    """The job's true end as Vertex and the job's own last file tell it. `retry` says that another attempt can help,
    from `not_before` on."""

    state: str
    outputs: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    sentence: str = ""
    hint: str = ""
    retry: bool = False
    not_before: datetime | None = None

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"{self.ref.facts}ended.json"

    @property
    def usable(self) -> bool:
        """Whether the next job can work with what this one left."""
        return self.state in ("SUCCEEDED", "PARTIALLY_SUCCEEDED")


@dataclass(frozen=True)
class Told:
    """Labelbox took this status, or refused it for good (`refused`)."""

    key: str
    status: str
    metadata_keys: tuple[str, ...] = ()
    refused: bool = False

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"told/{self.key}.json"


@dataclass(frozen=True)
class CancelRequested:
    """Someone asked to stop the run. Stops new claims; the run finishes once its job reads terminal. `gone`: Labelbox
    has no such model run any more, so nothing more is told."""

    path: ClassVar[str] = "cancel_requested.json"
    by: str
    reason: str = ""
    gone: bool = False


@dataclass(frozen=True)
class Trouble:
    """A message was refused because of an error; the dead-letter function tells the reason from these."""

    message_id: str
    delivery: int
    topic: str
    sentence: str

    @cached_property
    def path(self) -> str:
        """Where this fact lies below the run's folder."""
        return f"trouble/{self.message_id}-{self.delivery}.json"


@dataclass(frozen=True)
class Finished:
    """The end of the run, with one winner. `outcome` is the status Labelbox ends with: COMPLETE or FAILED."""

    path: ClassVar[str] = "finished.json"
    outcome: str
    sentence: str = ""
    hint: str = ""


Fact = (
    Accepted | Configured | Claimed | Refused | Launched | Phase | Ended | Told | CancelRequested | Trouble | Finished
)
KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Accepted,
        Configured,
        Claimed,
        Refused,
        Launched,
        Phase,
        Ended,
        Told,
        CancelRequested,
        Trouble,
        Finished,
    )
}
_FIELDS: Mapping[type[Any], tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind)) for kind in KINDS.values()
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
_TIMES = frozenset({"not_before"})
_TUPLES = frozenset({"problems", "clears", "metadata_keys"})


@dataclass(frozen=True)
class Stored:
    """A fact as it lies in the ledger: who wrote it, and when by the storage server's clock."""

    fact: Fact
    writer: str
    created: datetime


def encode(fact: Fact, writer: str) -> bytes:
    """The fact as JSON, with its kind, its version and its writer."""
    body = {name: getattr(fact, name) for name in _FIELDS[type(fact)]}
    for key in _TIMES & body.keys():
        body[key] = body[key].isoformat() if body[key] else None
    envelope = {"version": VERSION, "kind": type(fact).__name__, "writer": writer, "fact": body}
    return _ENCODER.encode(envelope).encode()


def writer_of(data: bytes) -> str:
    """Who wrote an encoded fact."""
    return str(json.loads(data)["writer"])


def decode(data: bytes, created: datetime) -> Stored:
    """The fact that `encode` wrote, by this version or the one before.

    Raises NewerVersion for a fact of a later version: a rolling deploy may have both at work.
    """
    envelope = json.loads(data.decode())
    if envelope["version"] > VERSION or envelope["kind"] not in KINDS:
        raise NewerVersion(f"A fact of version {envelope['version']} is newer than this code (version {VERSION})")
    kind = KINDS[envelope["kind"]]
    given = envelope["fact"]
    body = {name: given[name] for name in _FIELDS[kind] if name in given}
    for key in _TIMES & body.keys():
        body[key] = datetime.fromisoformat(body[key]) if body[key] else None
    for key in _TUPLES & body.keys():
        body[key] = tuple(body[key])
    return Stored(kind(**body), envelope["writer"], created)
