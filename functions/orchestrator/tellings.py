"""What Labelbox is due to be told: derived from the facts alone, never from what a handler meant to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.errors import sentence
from orchestrator.facts import Ended, Finished, Phase, Refused, Stored
from orchestrator.identities import AttemptRef
from orchestrator.job_requests import output_values
from orchestrator.labelbox import Telling
from orchestrator.pipelines import JobSpec
from orchestrator.run import Attempt, Run
from orchestrator.settings import Settings
from orchestrator.templates import in_words, render
from orchestrator.vertex import kind_of

# Labelbox takes statuses in any order; raising only is our rule.
_RANK = ("EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL")
KNOWN_STATUSES = frozenset(_RANK)
_VALUE_LIMIT = 1000
_CONSOLE = "https://console.cloud.google.com"


@dataclass(frozen=True)
class Due:
    """A status that the facts ask for, and the fact that asks for it, with its writer and its time."""

    telling: Telling
    origin: Stored


def due_telling(run: Run, settings: Settings) -> Due | None:
    """The newest status that the facts ask for, if Labelbox was not told it yet. Earlier ones it makes needless."""
    newest = _newest(run)
    return None if newest is None or newest.key in run.told else _due(run, settings, newest)


def last_telling(run: Run, settings: Settings) -> Due | None:
    """The newest status that the facts ask for, told or not."""
    newest = _newest(run)
    return None if newest is None else _due(run, settings, newest)


@dataclass(frozen=True)
class _Newest:
    """The newest status, before anyone asks for its metadata: `ref` is the attempt it is about, None for the end."""

    key: str
    path: str
    status: str
    ref: AttemptRef | None = None


def _newest(run: Run) -> _Newest | None:
    if run.accepted.abandoned or (run.cancel and run.cancel.gone):
        return None
    if run.finished:
        return _Newest("finished", Finished.path, run.finished.outcome)
    status, newest = "", None
    for stage, job in run.pipeline.jobs():
        for attempt in run.attempts_of(stage.name, job.name):
            for change in _changes(attempt, job):
                status = _raised(status, change.status)
                newest = change, attempt.ref
    if newest is None:
        return None
    change, ref = newest
    return _Newest(f"{change.key}-{run.identity(ref).id}", change.path, status, ref)


def _due(run: Run, settings: Settings, newest: _Newest) -> Due:
    metadata = _metadata(run, settings, newest)
    text = ""
    if run.finished:
        text = run.finished.sentence if run.finished.outcome == "FAILED" else ""
        if run.finished.hint:
            metadata["hint"] = run.finished.hint
    return Due(Telling(newest.key, newest.status, _trimmed(metadata), sentence(text)), run.stamps[newest.path])


def _metadata(run: Run, settings: Settings, newest: _Newest) -> dict[str, str]:
    """What all facts up to the newest status add to what Labelbox shows beside it."""
    metadata: dict[str, str] = {**dict.fromkeys(run.accepted.clears, ""), "run": str(run.id)}
    for stage, job in run.pipeline.jobs():
        if reused := run.accepted.reused_ends.get((stage.name, job.name)):
            metadata |= _metadata_of(run, job, reused)
        for attempt in run.attempts_of(stage.name, job.name):
            metadata |= _progress_of(attempt, settings)
            if attempt.ref == newest.ref:
                return metadata
            if attempt.ended and attempt.ended.usable:
                metadata |= _metadata_of(run, job, attempt.ended)
    return metadata


@dataclass(frozen=True)
class _Change:
    """What one fact of an attempt changes in what Labelbox shows, metadata aside."""

    key: str
    path: str
    status: str


def _changes(attempt: Attempt, job: JobSpec) -> Iterator[_Change]:
    if refused := _waits(attempt):
        yield _Change("waiting", refused.path, _RANK[0])
    if attempt.launched:
        yield _Change("launched", attempt.launched.path, job.status)
    reached: str = job.status
    for phase in sorted((item for item in attempt.phases if item in _RANK), key=_RANK.index):
        if _raised(reached, phase) != reached:
            reached = phase
            ref = attempt.ref
            path = Phase(ref.stage, ref.job, ref.number, status=phase).path
            yield _Change(f"phase-{phase.lower().replace('_', '-')}", path, phase)


def _waits(attempt: Attempt) -> Refused | None:
    """The refusal for quota that an attempt waits on."""
    refused = attempt.claims[-1].refused if attempt.claims and attempt.launched is None else None
    return refused if refused and refused.quota else None


def _progress_of(attempt: Attempt, settings: Settings) -> dict[str, str]:
    """The metadata that goes with an attempt's changes."""
    ref = attempt.ref
    if refused := _waits(attempt):
        return {"waiting": f"{ref.stage}/{ref.job} waits for quota: {refused.sentence}"}
    if attempt.launched:
        return {"waiting": "", f"{ref.stage}_job": job_link(attempt.launched.name, settings)}
    return {}


def _raised(status: str, other: str) -> str:
    return other if not status or _RANK.index(other) > _RANK.index(status) else status


def _metadata_of(run: Run, job: JobSpec, ended: Ended) -> dict[str, str]:
    own = {f"output.{name}": value for name, value in ended.outputs.items()}
    values = {**own, **output_values(run)}
    declared = {}
    for key, template in job.metadata.items():
        try:
            declared[key] = in_words(render(template, values))
        except KeyError:
            continue  # an output that this run's job did not have is no reason to keep the rest from Labelbox
    if ended.state == "PARTIALLY_SUCCEEDED":
        failed = ended.counts.get("failed", 0)
        declared[f"{job.name}_note"] = (
            f"partly succeeded: {failed} of {failed + ended.counts.get('predicted', 0)} failed"
        )
    return {**ended.metadata, **declared}


def _trimmed(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value[:_VALUE_LIMIT] for key, value in metadata.items()}


def job_link(name: str, settings: Settings) -> str:
    """The console's page of a Vertex job."""
    folder = {"CustomJob": "training", "TrainingPipeline": "training", "BatchPredictionJob": "batch-predictions"}
    number = name.rsplit("/", 1)[1]
    page = f"{_CONSOLE}/vertex-ai/locations/{settings.region}/{folder[kind_of(name)]}/{number}"
    return f"{page}?project={settings.google_cloud_project}"
