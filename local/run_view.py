"""A run as a person watches it: its jobs in order, each with its state and its time, read from the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from orchestrator.facts import Ended, Stored, decode
from orchestrator.identities import AttemptRef, RunId
from orchestrator.pipelines import Pipeline
from orchestrator.run import Attempt, Run, fold

WAITING, LAUNCHING, RUNNING = "waiting", "launching", "RUNNING"


@dataclass(frozen=True)
class JobView:
    """One job of the pipeline. `seconds` runs on while the job does; `resource` is the newest attempt's Vertex name."""

    stage: str
    name: str
    kind: str
    state: str
    attempts: int = 0
    seconds: float | None = None
    resource: str = ""
    ended: Ended | None = None

    @property
    def job_id(self) -> str:
        """The Vertex job's number; empty before it is launched."""
        return self.resource.rpartition("/")[2]


@dataclass(frozen=True)
class RunView:
    """One moment of a run. `outcome` is COMPLETE or FAILED once it is over."""

    jobs: tuple[JobView, ...]
    outcome: str = ""
    sentence: str = ""
    hint: str = ""

    @property
    def failed_job(self) -> JobView | None:
        """The job that the run failed at, if it was a job."""
        failed = [job for job in self.jobs if job.ended and not job.ended.usable]
        return failed[-1] if failed else None

    def metrics(self) -> dict[str, float]:
        """The figures of the last stage that measured any: those of the test split, not of the training."""
        for stage in dict.fromkeys(job.stage for job in reversed(self.jobs)):
            ended = [job.ended for job in self.jobs if job.stage == stage and job.ended]
            found = {name: value for end in ended for name, value in end.metrics.items()}
            if found:
                return found
        return {}

    def counts(self) -> dict[str, int]:
        """What the jobs counted; a later job's number wins."""
        return {name: value for job in self.jobs if job.ended for name, value in job.ended.counts.items()}

    def outputs(self) -> dict[str, str]:
        """What each job left, as `stage.job.name`."""
        return {
            f"{job.stage}.{job.name}.{name}": value
            for job in self.jobs
            if job.ended
            for name, value in job.ended.outputs.items()
        }


class RunReader:
    """Reads one run's facts. Each fact is read once: it never changes."""

    def __init__(self, storage_host: str, bucket: str, run: RunId, pipeline: Pipeline) -> None:
        client = Client(
            project="local", credentials=AnonymousCredentials(), client_options={"api_endpoint": storage_host}
        )
        self._bucket = client.bucket(bucket)
        self._run, self._pipeline = run, pipeline
        self._facts: dict[str, Stored] = {}

    def look(self) -> RunView:
        """The run as its facts stand now. OSError (requests' errors are) when storage does not answer."""
        for blob in self._bucket.list_blobs(prefix=self._run.facts, timeout=5):
            if blob.name not in self._facts:
                self._facts[blob.name] = decode(blob.download_as_bytes(timeout=5), blob.time_created)
        run = fold(self._run, self._facts.values())
        return view_of(run, self._pipeline, datetime.now(UTC), end_times(self._facts.values()))


def end_times(facts: Iterable[Stored]) -> dict[AttemptRef, datetime]:
    """When the end of each attempt was recorded."""
    return {item.fact.ref: item.created for item in facts if isinstance(item.fact, Ended)}


def view_of(run: Run | None, pipeline: Pipeline, now: datetime, ends: Mapping[AttemptRef, datetime]) -> RunView:
    """The view of a run at a moment; of one that is not accepted yet all jobs wait."""
    jobs = tuple(_jobs(run, pipeline, now, ends))
    finished = run.finished if run else None
    if finished is None:
        return RunView(jobs)
    return RunView(jobs, finished.outcome, finished.sentence, finished.hint)


def _jobs(run: Run | None, pipeline: Pipeline, now: datetime, ends: Mapping[AttemptRef, datetime]) -> Iterator[JobView]:
    for stage, job in pipeline.jobs():
        attempts = run.attempts_of(stage.name, job.name) if run else ()
        if not attempts:
            yield JobView(stage.name, job.name, job.kind, WAITING)
            continue
        newest = attempts[-1]
        yield JobView(
            stage.name,
            job.name,
            job.kind,
            _state(newest),
            len(attempts),
            _seconds(newest, ends.get(newest.ref, now)),
            newest.launched.name if newest.launched else "",
            newest.ended,
        )


def _state(attempt: Attempt) -> str:
    if attempt.ended:
        return attempt.ended.state
    if attempt.launched:
        return RUNNING
    refused = attempt.claims[-1].refused if attempt.claims else None
    return "waits for quota" if refused and refused.quota else LAUNCHING


def _seconds(attempt: Attempt, until: datetime) -> float | None:
    if attempt.launched_at is None:
        return None
    return max(0.0, (until - attempt.launched_at).total_seconds())


def last_line(log: Path) -> str:
    """What a job's log said last, in words; empty where it said nothing yet."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((in_words(line.strip()) for line in reversed(lines) if line.strip()), "")


def in_words(line: str) -> str:
    """A line of structured logging by its message and its count, any other line as it is."""
    try:
        entry = json.loads(line)
        message, done, total = entry["message"], entry.get("done"), entry.get("total")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    if done is None:
        return str(message)
    return f"{message}: {done}" if total is None else f"{message}: {done} of {total}"
