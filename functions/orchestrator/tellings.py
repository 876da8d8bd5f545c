"""What Labelbox is due to be told: derived from the facts alone, never from what a handler meant to say."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.errors import SENTENCE_LIMIT, sentence
from orchestrator.facts import Ended
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


def due_telling(run: Run, settings: Settings) -> Telling | None:
    """The newest status that the facts ask for, if Labelbox was not told it yet. Earlier ones it makes needless."""
    newest = last_telling(run, settings)
    return None if newest is None or newest.key in run.told else newest


def last_telling(run: Run, settings: Settings) -> Telling | None:
    """The newest status that the facts ask for, told or not."""
    newest: Telling | None = None
    for telling in _tellings(run, settings):
        newest = telling
    return newest


def _tellings(run: Run, settings: Settings) -> Iterator[Telling]:
    if run.accepted.abandoned:
        return
    status = ""
    metadata: dict[str, str] = {**dict.fromkeys(run.accepted.clears, ""), "run": str(run.id)}
    for stage, job in run.pipeline.jobs():
        for attempt in run.attempts_of(stage.name, job.name):
            identity = run.identity(attempt.ref).id
            waiting = _waiting(attempt)
            metadata["waiting"] = waiting
            if waiting:
                status = _raised(status, _RANK[0])
                yield Telling(f"waiting-{identity}", status, dict(metadata))
            if attempt.launched:
                status = _raised(status, job.status)
                metadata |= {"waiting": "", f"{stage.name}_job": job_link(attempt.launched.name, settings)}
                yield Telling(f"launched-{identity}", status, dict(metadata))
            for phase in sorted((item for item in attempt.phases if item in _RANK), key=_RANK.index):
                if _raised(status, phase) != status:
                    status = _raised(status, phase)
                    yield Telling(f"phase-{identity}-{phase}", status, dict(metadata))
            if attempt.ended and attempt.ended.usable:
                metadata |= _metadata_of(run, job, attempt.ended)
    if run.finished:
        if run.finished.hint:
            metadata["hint"] = run.finished.hint
        text = run.finished.sentence if run.finished.outcome == "FAILED" else ""
        yield Telling("finished", run.finished.outcome, _trimmed(metadata), sentence(text)[:SENTENCE_LIMIT])


def _raised(status: str, other: str) -> str:
    return other if not status or _RANK.index(other) > _RANK.index(status) else status


def _waiting(attempt: Attempt) -> str:
    newest = attempt.claims[-1] if attempt.claims else None
    if attempt.launched or newest is None or newest.refused is None or not newest.refused.quota:
        return ""
    return f"{attempt.ref.stage}/{attempt.ref.job} waits for quota: {newest.refused.sentence}"


def _metadata_of(run: Run, job: JobSpec, ended: Ended) -> dict[str, str]:
    own = {f"output.{name}": value for name, value in ended.outputs.items()}
    values = {**own, **output_values(run)}
    declared = {}
    for key, template in job.metadata.items():
        try:
            declared[key] = in_words(render(template, values))
        except KeyError:
            continue  # an output that this run's job did not have is no reason to keep the rest from Labelbox
    return {**ended.metadata, **declared}


def _trimmed(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value[:_VALUE_LIMIT] for key, value in metadata.items()}


def job_link(name: str, settings: Settings) -> str:
    """The console's page of a Vertex job."""
    folder = {"CustomJob": "training", "TrainingPipeline": "training", "BatchPredictionJob": "batch-predictions"}
    number = name.rsplit("/", 1)[1]
    page = f"{_CONSOLE}/vertex-ai/locations/{settings.region}/{folder[kind_of(name)]}/{number}"
    return f"{page}?project={settings.google_cloud_project}"
