"""Names of things: runs, attempts, and the labels and paths made of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_LABEL_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HASHED = "sha256-"
# On every job, so that a list of running jobs shows which of them are over their time.
TIME_LIMIT_LABEL = "lb_time_limit_s"
_RUN_ID = re.compile(r"(?P<slug>[a-z0-9][a-z0-9_-]{0,62})\.(?P<number>[1-9][0-9]{0,8})")


def slug_of(model_run_id: str) -> str:
    """A model run's id as it stands in object names and labels: itself where it is safe there, else its hash.

    Vertex labels allow lowercase letters, digits, `_` and `-`, at most 64 characters
    (https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs).
    """
    if _LABEL_SAFE.fullmatch(model_run_id) and not model_run_id.startswith(_HASHED):
        return model_run_id
    return _HASHED + hashlib.sha256(model_run_id.encode()).hexdigest()[:40]


# Named tuples, not dataclasses: they are keys of nearly every table here, and a tuple is compared and hashed in C.
class RunId(NamedTuple):
    """One execution of a pipeline for a model run. Numbers start at 1 and are never reused."""

    slug: str
    number: int

    def __str__(self) -> str:
        return f"{self.slug}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> RunId | None:
        """The run that `str(run_id)` named, or None."""
        match = _RUN_ID.fullmatch(text)
        return cls(match["slug"], int(match["number"])) if match else None

    @property
    def facts(self) -> str:
        """Folder of the run's facts."""
        return f"facts/runs/{self.slug}/{self.number}/"

    @property
    def marker(self) -> str:
        """The object that makes reconcile look at this run."""
        return f"active/{self}.json"

    @property
    def look_marker(self) -> str:
        """Stands while reconcile must read the run's facts even though a job of it runs: something is untold, a job
        has just ended, or the run has, or a claim was taken over from a handler that may thaw."""
        return f"active/{self}.look"


class AttemptRef(NamedTuple):
    """One launch of one job: the coordinates under which its facts lie."""

    stage: str
    job: str
    number: int

    @property
    def facts(self) -> str:
        """Folder of the attempt's facts below the run's."""
        return f"jobs/{self.stage}/{self.job}/{self.number}/"

    def __str__(self) -> str:
        return f"{self.stage}/{self.job}/{self.number}"


class AttemptIdentity(NamedTuple):
    """What an attempt is called outside the ledger. Made of the run's random key, so it is never reused."""

    run: RunId
    run_key: str
    ref: AttemptRef

    @property
    def id(self) -> str:
        """Readable and unique; also valid as a label value and as a Vertex model id's tail."""
        return _attempt_id(self.run_key, self.run, self.ref)

    def labels(self, deployment: str) -> dict[str, str]:
        """Labels of every Vertex resource made for this attempt; `lb_attempt` finds it again."""
        return {
            "lb_deployment": deployment,
            "lb_model_run": self.run.slug,
            "lb_run_number": str(self.run.number),
            "lb_run_key": self.run_key,
            "lb_attempt": self.id,
        }

    @property
    def model_id(self) -> str:
        """A Vertex model id (at most 63 of [a-z0-9_-], starting with a letter)."""
        digest = hashlib.sha256(f"{self.run_key}/{self.id}".encode()).hexdigest()[:24]
        return f"lb-{digest}"

    def folder(self, top: str) -> str:
        """This attempt's folder under a top folder of the bucket: `data`, `endings` or `batch`."""
        return f"{top}/{self.run.slug}/{self.run.number}/{self.id}/"


@lru_cache(maxsize=4096)
def _attempt_id(run_key: str, run: RunId, ref: AttemptRef) -> str:
    joined = "/".join((run_key, str(run), str(ref)))
    digest = hashlib.sha256(joined.encode()).hexdigest()[:10]
    return f"{ref.stage.replace('_', '-')}-{ref.job.replace('_', '-')}-{ref.number}-{digest}"


def run_of_labels(labels: dict[str, str]) -> RunId | None:
    """The run that a labelled Vertex resource belongs to, or None if the labels are not ours."""
    slug, number = labels.get("lb_model_run", ""), labels.get("lb_run_number", "")
    return RunId.parse(f"{slug}.{number}")


@dataclass(frozen=True)
class OwnObject:
    """An object under `endings/` or `batch/` and the attempt it came from."""

    run: RunId
    attempt_id: str
    rest: str

    @classmethod
    def parse(cls, name: str) -> OwnObject | None:
        """Read `endings/<slug>/<number>/<attempt id>/<rest>` (or `batch/...`); None for any other object."""
        parts = name.split("/", 4)
        if len(parts) != 5 or parts[0] not in ("endings", "batch"):
            return None
        run = RunId.parse(f"{parts[1]}.{parts[2]}")
        return cls(run, parts[3], parts[4]) if run else None
