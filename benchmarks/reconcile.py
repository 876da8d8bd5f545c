"""One reconcile tick over many active runs, of which a few changed: time, calls and memory.

    PYTHONPATH=functions:. .venv/bin/python benchmarks/reconcile.py [RUNS] [CHANGED] [--call-ms MS] [--json]

The real reconcile, ledger and decisions against a bucket and a Vertex AI in memory that count their calls as the real
ones would: a listing costs one call a page (1,000 objects, 100 jobs). --call-ms lets each call take so long. Exits 1 if
the tick takes over 5 s, costs more calls than its pages and changed runs explain, or leaves a changed run as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from orchestrator import logs
from orchestrator.facts import Accepted, Claimed, Configured, Launched
from orchestrator.identities import AttemptIdentity, AttemptRef, RunId
from orchestrator.job_requests import JobRequest
from orchestrator.labelbox import ModelRun, ShownStatus, Telling
from orchestrator.ledger import Ledger
from orchestrator.pipelines import Pipeline, dump, read_pipelines
from orchestrator.questions import Question
from orchestrator.reconcile import reconcile
from orchestrator.secret_store import FixedSecret
from orchestrator.services import Services
from orchestrator.settings import Settings
from orchestrator.storage import Listed
from orchestrator.vertex import JobReading

RUNS, CHANGED = 10_000, 10
LIMIT_S = 5.0
CALLS_A_CHANGED_RUN = 25
CALLS_A_LOOK = 4  # at one of the few runs whose turn it is to be looked up in Labelbox
OBJECTS_A_PAGE, JOBS_A_PAGE = 1000, 100
MODEL_TYPE = "text_single_classification"
REF = AttemptRef("etl", "export", 1)
SETTINGS = Settings(
    google_cloud_project="p",
    region="r",
    deployment_name="d",
    bucket="b",
    job_service_account="a",
    image_repository="i",
    labelbox_api_key="key",
    service_secret="secret",
    max_active_runs=1_000_000,
)


@dataclass
class Meter:
    """Counts calls, and lets each take its time."""

    call_s: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, calls: int = 1) -> None:
        """So many calls of one kind."""
        self.calls[name] += calls
        if self.call_s:
            time.sleep(self.call_s * calls)


class CountingBucket:
    """ObjectStore in memory, by folder."""

    def __init__(self, meter: Meter, created: datetime) -> None:
        self._meter = meter
        self._created = created
        self._folders: dict[str, dict[str, tuple[bytes, Listed]]] = {}

    @staticmethod
    def _folder(name: str) -> str:
        depth = 4 if name.startswith("facts/runs/") else 1
        return "/".join(name.split("/", depth)[:depth]) + "/"

    def create(self, name: str, data: bytes) -> bool:
        """See ObjectStore."""
        self._meter.count("bucket.create")
        folder = self._folders.setdefault(self._folder(name), {})
        if name in folder:
            return False
        folder[name] = data, Listed(name, self._created)
        return True

    def read(self, name: str) -> bytes | None:
        """See ObjectStore."""
        self._meter.count("bucket.read")
        found = self._folders.get(self._folder(name), {}).get(name)
        return found[0] if found else None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """See ObjectStore."""
        return [self.read(name) for name in names]

    def list(self, prefix: str) -> Iterator[Listed]:
        """See ObjectStore."""
        folder = self._folders.get(prefix, {})
        self._meter.count("bucket.list page", max(1, ceil(len(folder) / OBJECTS_A_PAGE)))
        return iter([folder[name][1] for name in sorted(folder)])

    def folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        self._meter.count("bucket.list page")
        return iter(sorted({name[len(prefix) :].split("/")[0] for name in self._folders if name.startswith(prefix)}))

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        self._meter.count("bucket.delete")
        self._folders.get(self._folder(name), {}).pop(name, None)


class CountingJobs:
    """Vertex's jobs in memory."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.by_name: dict[str, JobReading] = {}

    def create(self, request: JobRequest) -> JobReading:
        """See Jobs."""
        raise AssertionError("a tick creates no job")

    def find(self, kind: str, attempt_id: str) -> list[JobReading]:
        """See Jobs."""
        self._meter.count("vertex.list page")
        return [job for job in self.by_name.values() if job.labels["lb_attempt"] == attempt_id]

    def get(self, name: str) -> JobReading | None:
        """See Jobs."""
        self._meter.count("vertex.get")
        return self.by_name.get(name)

    def cancel(self, name: str) -> None:
        """See Jobs."""
        self._meter.count("vertex.cancel")

    def running(self, deployment: str) -> list[JobReading]:
        """See Jobs."""
        found = [job for job in self.by_name.values() if not job.terminal]
        self._meter.count("vertex.list page", max(1, ceil(len(found) / JOBS_A_PAGE)) + 2)  # two kinds without any
        return found


class CountingOthers:
    """Labelbox and Pub/Sub, which take what they are given."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.published: list[str] = []

    def look_up(self, model_run_id: str) -> ModelRun:
        """See Labelbox."""
        self._meter.count("labelbox")
        return ModelRun(model_run_id, "m", {})

    def questions(self, model_run_id: str) -> tuple[Question, ...]:
        """See Labelbox."""
        raise AssertionError("a tick configures no run")

    def tell(self, model_run_id: str, telling: Telling) -> None:
        """See Labelbox."""
        self._meter.count("labelbox")

    def read_back(self, model_run_id: str) -> ShownStatus:
        """See Labelbox."""
        self._meter.count("labelbox")
        return ShownStatus(None, "", {})

    def publish(self, topic: str, data: bytes) -> None:
        """See Publisher."""
        self._meter.count("publish")
        self.published.append(topic)


def measure(
    runs: int = RUNS, changed: int = CHANGED, call_ms: float = 0.0, begun: datetime | None = None
) -> dict[str, Any]:
    """The figures of one tick of an instance that has not read anything before.

    `begun` (default: now) is when the runs began. Which of them have their turn to be looked up follows from it: a run
    that both changed and has its turn is read once, so the same runs cost up to CALLS_A_LOOK less at such a moment.
    """
    meter = Meter()
    now = begun or datetime.now(UTC)
    bucket, jobs, others = CountingBucket(meter, now), CountingJobs(meter), CountingOthers(meter)
    services = Services(
        settings=SETTINGS,
        pipelines=read_pipelines(),
        store=bucket,
        publisher=others,
        jobs=jobs,
        labelbox=others,
        signing_secret=FixedSecret("secret"),
        now=lambda: now + timedelta(seconds=600),  # no job is new any more
    )
    pipeline = services.pipelines[MODEL_TYPE]
    ended = set(range(0, runs, max(1, runs // max(changed, 1)))[:changed])
    for number in range(runs):
        _begin(bucket, jobs, pipeline, RunId(f"mr-{number}", 1), now, has_ended=number in ended)
    meter.calls.clear()
    meter.call_s = call_ms / 1000
    before_kb = _memory_kb("VmRSS")
    logs.redirect(lambda *_: None)
    wall, cpu = time.monotonic(), time.process_time()
    try:
        reconcile(services.begin(), services.now())
    finally:
        logs.redirect(None)
    calls = meter.calls.total()
    pages = max(1, ceil(runs / OBJECTS_A_PAGE)) + max(1, ceil((runs - changed) / JOBS_A_PAGE)) + 2
    return {
        "runs": runs,
        "changed": changed,
        "seconds": round(time.monotonic() - wall, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "calls": calls,
        "calls_by_kind": dict(meter.calls),
        "pages": pages,
        "calls_allowed": pages + CALLS_A_CHANGED_RUN * changed + CALLS_A_LOOK * 10,
        "went_on": len(others.published),
        "memory_grew_mb": round((_memory_kb("VmRSS") - before_kb) / 1024, 1),
    }


def _begin(
    bucket: CountingBucket, jobs: CountingJobs, pipeline: Pipeline, run: RunId, now: datetime, *, has_ended: bool
) -> None:
    """A run whose first job runs, or has ended without anybody seeing it."""
    ledger = Ledger(bucket, "setup")
    accepted = Accepted(run.slug, "m", pipeline.model_type, "key", dump(pipeline), "i", "latest", "0", {})
    ledger.accept(run, accepted)
    about = (REF.stage, REF.job, REF.number)
    name = f"{SETTINGS.parent}/customJobs/{len(jobs.by_name)}"
    identity = AttemptIdentity(run, accepted.run_key, REF)
    parameters = {key: item.default for key, item in pipeline.parameters.items()}
    for fact in (Configured(parameters), Claimed(*about, claim=1), Launched(*about, name=name)):
        ledger.record(run, fact)
    reading = JobReading(name, "RUNNING", now, labels=identity.labels(SETTINGS.deployment_name))
    jobs.by_name[name] = replace(reading, state="SUCCEEDED") if has_ended else reading
    if has_ended:
        result = {
            "version": 1,
            "outputs": {"training_file": "gs://t", "manifest": "gs://m", "dataset_report": "gs://d"},
        }
        folder = identity.folder("endings")
        bucket.create(f"{folder}{reading.number}/result.json", json.dumps(result).encode())


def _memory_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("changed", nargs="?", type=int, default=CHANGED)
    parser.add_argument("--call-ms", type=float, default=0.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.runs, given.changed, given.call_ms)
    if given.json:
        print(json.dumps(found))
    else:
        print(f"{found['runs']:,} active runs, {found['changed']} changed: {found['seconds']} s ", end="")
        print(f"({found['cpu_seconds']} s CPU), {found['calls']} calls of {found['calls_allowed']} allowed ", end="")
        print(f"({found['pages']} pages), memory grew by {found['memory_grew_mb']} MB")
        print(", ".join(f"{kind} {number}" for kind, number in sorted(found["calls_by_kind"].items())))
    good = found["calls"] <= found["calls_allowed"] and found["went_on"] == found["changed"]
    return 0 if good and found["seconds"] <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
