"""An upgrade in the middle of anything: what an earlier release recorded is read and gone on with by today's code.

`ledgers/VERSION.json` holds histories of runs as that release wrote them (release_ledger.py says how). Each is cut
after every event, as a deploy would cut it, and today's code takes over what lies in the bucket and in Vertex then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.facts import KINDS, decode
from orchestrator.identities import RunId
from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, read_pipelines
from orchestrator.run import Run
from orchestrator.vertex import JobReading
from tests.functions.release_ledger import HISTORIES, Event, record
from tests.functions.world import World

LEDGERS = sorted((Path(__file__).parent / "ledgers").glob("*.json"))
RELEASES: Mapping[str, Mapping[str, list[Event]]] = {path.stem: json.loads(path.read_text()) for path in LEDGERS}
PIPELINES = read_pipelines()
CASES = [(release, name) for release, histories in RELEASES.items() for name in histories]
# Kinds of facts that a later release added; an earlier one's files cannot hold them.
ADDED: Mapping[str, frozenset[str]] = {"0.1.0": frozenset()}


def _taken_over(events: list[Event]) -> World:
    """Today's code in a world where exactly this has happened."""
    world = World(pipelines=PIPELINES)
    for event in events:
        at = datetime.fromisoformat(event["at"])
        world.clock.time = max(world.clock.time, at)
        if "wrote" in event:
            world.store.objects[event["wrote"]] = (json.dumps(event["content"]).encode(), at)
        elif "deleted" in event:
            world.store.objects.pop(event["deleted"])
        elif "created" in event:
            world.jobs.by_name[event["created"]] = JobReading(event["created"], "RUNNING", at, labels=event["labels"])
        else:
            job = world.jobs.by_name[event["ended"]]
            world.jobs.by_name[job.name] = JobReading(
                job.name,
                event["state"],
                job.created,
                labels=job.labels,
                error_message=event["error_message"],
                outputs=event["outputs"],
                counts=event["counts"],
            )
    return world


def _end(world: World, job: JobReading) -> None:
    """Let a job do what its run's own definition promises."""
    run_id = RunId(job.labels["lb_model_run"], int(job.labels["lb_run_number"]))
    run = world.run(run_id)
    attempt = run.attempt_by_id(job.labels["lb_attempt"])
    assert attempt, f"{job.name} belongs to no attempt of {run_id}"
    definition = run.pipeline.find(attempt.ref.stage, attempt.ref.job)[1]
    if isinstance(definition, AutoMLImageTraining):
        world.end_job(job.name, outputs={"model": "projects/1/locations/us-central1/models/7"})
    elif isinstance(definition, BatchPrediction):
        world.end_job(job.name, outputs={"predictions": "gs://bucket/batch/x/"})
    else:
        world.end_job(job.name, result={"version": 1, "outputs": dict.fromkeys(definition.outputs, "gs://b/x")})


def _gone_on_with(world: World) -> None:
    """Ticks and time until nothing is left to do; each job that runs ends well."""
    for _ in range(40):
        if not any(name.startswith("active/") for name in world.store.objects):
            return
        world.clock.advance(400)
        world.tick()
        for job in [job for job in world.jobs.by_name.values() if not job.terminal]:
            if job.name in world.jobs.cancelled:
                world.end_job(job.name, state="CANCELLED")
            else:
                _end(world, job)
    raise AssertionError(f"still active: {[name for name in world.store.objects if name.startswith('active/')]}")


def _expected_outcome(run: Run, world: World) -> str:
    """How a run must end if every job that has not ended yet ends well."""
    if run.finished:
        return run.finished.outcome
    if run.accepted.abandoned or run.cancel:
        return "FAILED"
    key = (run.id.slug, str(run.id.number))
    mine = [
        job for job in world.jobs.by_name.values() if (job.labels["lb_model_run"], job.labels["lb_run_number"]) == key
    ]
    # A preempted job is tried again; one that left an error of its own is not.
    return "FAILED" if any(job.state == "FAILED" and not job.error_message for job in mine) else "COMPLETE"


def _runs(world: World) -> list[Run]:
    found = {tuple(name.split("/")[2:4]) for name in world.store.objects if name.startswith("facts/runs/")}
    return [world.run(RunId(slug, int(number))) for slug, number in sorted(found)]


@pytest.mark.parametrize(("release", "name"), CASES)
def test_a_run_of_an_earlier_release_goes_on_from_every_moment_and_nothing_is_launched_twice(
    release: str, name: str
) -> None:
    events = RELEASES[release][name]
    for cut in range(1, len(events) + 1):
        world = _taken_over(events[:cut])
        expected = {run.id: _expected_outcome(run, world) for run in _runs(world)}
        recorded = {run.id: run.stamps for run in _runs(world)}
        _gone_on_with(world)
        after = {run.id: run for run in _runs(world)}
        for run_id, outcome in expected.items():
            finished = after[run_id].finished
            assert finished and finished.outcome == outcome, f"cut after event {cut}: {finished}"
            # What was recorded stands as it was.
            assert recorded[run_id].items() <= after[run_id].stamps.items()
        attempts = [job.labels["lb_attempt"] for job in world.jobs.by_name.values()]
        assert len(attempts) == len(set(attempts)), f"cut after event {cut}: launched twice"


@pytest.mark.parametrize("release", RELEASES)
def test_every_kind_of_fact_that_a_release_knew_is_in_its_file(release: str) -> None:
    found = {
        event["content"]["kind"]
        for events in RELEASES[release].values()
        for event in events
        if event.get("wrote", "").startswith("facts/runs/")
    }
    assert found == KINDS.keys() - ADDED[release]


@pytest.mark.parametrize("release", RELEASES)
def test_a_fact_of_an_earlier_release_says_today_what_it_said_then(release: str) -> None:
    for events in RELEASES[release].values():
        for event in events:
            if event.get("wrote", "").startswith("facts/runs/"):
                at = datetime.fromisoformat(event["at"])
                stored = decode(json.dumps(event["content"]).encode(), at)
                said: dict[str, Any] = event["content"]["fact"]
                for field, value in said.items():
                    now = getattr(stored.fact, field)
                    assert _plain(now) == value, f"{event['wrote']}: {field}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def test_this_release_can_be_frozen_too() -> None:
    histories = record()
    assert histories.keys() == {play.__name__ for play in HISTORIES}
    kinds = {
        event["content"]["kind"]
        for events in histories.values()
        for event in events
        if event.get("wrote", "").startswith("facts/runs/")
    }
    assert kinds == KINDS.keys(), "a new kind of fact needs its place in a history"
