"""How a job ends: one file under its own attempt and job id, written as its last act.

The orchestrator believes only this file and the job's state in Vertex: SUCCEEDED without a result counts as failed.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.storage import Storage

VERSION = 1
JOB_ID_VARIABLE = "CLOUD_ML_JOB_ID"  # set by Vertex in every custom job
STATUSES = ("EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL")


@dataclass(frozen=True)
class Result:
    """What a job hands on. `outputs` are uris or ids for later jobs, `metadata` is shown in Labelbox."""

    outputs: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


class Ending:
    """The folder in which this job's last words lie. `storage` is open for the job to use until it ends."""

    def __init__(self, ending_uri: str, storage: Storage) -> None:
        job_id = os.environ.get(JOB_ID_VARIABLE) or "by-hand"
        self._folder = f"{ending_uri.rstrip('/')}/{job_id}"
        self.storage = storage
        self._told: set[str] = set()

    def phase(self, status: str) -> None:
        """Hints that the job has reached a later status of Labelbox. Safe to repeat: the same file, the same bytes.

        A hint that cannot be written is only logged: no work is lost for want of a progress bar.
        """
        if status not in STATUSES:
            raise ValueError(f"{status} is not one of {', '.join(STATUSES)}")
        if status in self._told:
            return
        self._told.add(status)
        try:
            self._write(f"phase-{status}.json", {})
        except JobError as error:
            say("The phase hint could not be written", severity="WARNING", phase=status, reason=error.sentence)

    def result(self, result: Result) -> None:
        """Writes result.json; only then has the job succeeded."""
        self._write(
            "result.json",
            {
                "outputs": dict(result.outputs),
                "counts": dict(result.counts),
                "metrics": dict(result.metrics),
                "metadata": dict(result.metadata),
            },
        )

    def error(self, error: JobError) -> None:
        """Writes error.json."""
        self._write("error.json", {"sentence": error.sentence, "kind": error.kind, "hint": error.hint})

    def _write(self, name: str, body: Mapping[str, object]) -> None:
        text = json.dumps({"version": VERSION, **body}, ensure_ascii=False, sort_keys=True, allow_nan=False)
        self.storage.write_text(f"{self._folder}/{name}", text)


def run_job(ending_uri: str, body: Callable[[Ending], Result], storage: Storage | None = None) -> int:
    """Runs `body`, writes its ending, and returns the exit code (0 only when result.json is written).

    An error that is not a JobError is a fault of ours: its text stays in the log, since it may hold data of the user.
    """
    try:
        opened = storage or Storage()
    except JobError as error:
        say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
        return 1
    try:
        return _run(Ending(ending_uri, opened), body)
    finally:
        if storage is None:
            opened.close()


def _run(ending: Ending, body: Callable[[Ending], Result]) -> int:
    try:
        result = body(ending)
        ending.result(result)
    except JobError as error:
        return _fail(ending, error)
    except Exception as error:  # the job's outermost edge: whatever it is, the user must read a sentence
        traceback.print_exc(file=sys.stderr)
        name = type(error).__name__
        return _fail(ending, JobError(f"The job met an unexpected error ({name}).", "The job's log has the details."))
    say("The job is done", counts=json.dumps(dict(result.counts), sort_keys=True))
    return 0


def _fail(ending: Ending, error: JobError) -> int:
    say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
    if error.__cause__ is not None:
        traceback.print_exception(error.__cause__, file=sys.stderr)
    try:
        ending.error(error)
    except JobError as unwritten:
        say(unwritten.sentence, severity="CRITICAL", kind=unwritten.kind)
    return 1
