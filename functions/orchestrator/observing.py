"""Observing a job: read its true state from Vertex, and record its end with what its own last file says."""

from __future__ import annotations

import json
from typing import Any

from orchestrator import logs
from orchestrator.errors import NewerVersion
from orchestrator.job_requests import ending_folder
from orchestrator.launching import settle
from orchestrator.pipelines import CustomJob
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.vertex import JobReading
from orchestrator.workflow import Observe, ended_of

RESULT_VERSION = 1
_RESULT_LIMIT = 1024 * 1024


def observe(handling: Handling, run: Run, step: Observe) -> bool:
    """Whether the job has ended and its end is recorded. A job that should stop is asked to.

    Safe to repeat: `ended` is write-once, and a cancel repeated is a cancel.
    """
    attempt, services = step.attempt, handling.services
    assert attempt.launched
    reading = services.jobs.get(attempt.launched.name)
    if reading and not reading.terminal:
        if step.stop:
            logs.warning("Cancelled a job", run=run.id, attempt=attempt.ref, reason=step.stop)
            services.jobs.cancel(reading.name)
        return False
    job = run.pipeline.find(attempt.ref.stage, attempt.ref.job)[1]
    result, error = None, None
    if reading and isinstance(job, CustomJob):
        result, error = _last_words(handling, run, step, reading)
    ended = ended_of(attempt, job, reading, result, error, services.now(), services.settings, step.stop)
    handling.check_time()
    services.reached("before-ended")
    # Marked first: if this handler dies here, a double that still runs must not make the run look busy.
    handling.ledger.mark_look(run.id)
    handling.ledger.record(run.id, ended)
    services.reached("ended")
    logs.info("A job ended", run=run.id, attempt=attempt.ref, state=ended.state, reason=ended.sentence)
    settle(handling, run.id, attempt.ref)
    return True


def _last_words(
    handling: Handling, run: Run, step: Observe, reading: JobReading
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    folder = f"{ending_folder(run.identity(step.attempt.ref))}{reading.number}/"
    if reading.state in ("SUCCEEDED", "PARTIALLY_SUCCEEDED"):
        return _read_json(handling, folder + "result.json"), None
    return None, _read_json(handling, folder + "error.json")


def _read_json(handling: Handling, name: str) -> dict[str, Any] | None:
    found = handling.services.store.read(name)
    if found is None or len(found) > _RESULT_LIMIT:
        return None
    try:
        content = json.loads(found)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    if isinstance(version := content.get("version"), int) and version > RESULT_VERSION:
        raise NewerVersion(f"A result of version {version} is newer than this code (version {RESULT_VERSION})")
    return content
