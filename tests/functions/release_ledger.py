"""Histories of runs as this code records them, to be frozen with a release and gone on with by the next one.

    PYTHONPATH=functions:jobs:. python -m tests.functions.release_ledger tests/functions/ledgers/VERSION.json

A history is every object that was written or deleted and every job that was created or ended, in order. A file of a
release is never made anew: what a release wrote stays in buckets for ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import LabelboxUnavailable, LaunchRefused
from orchestrator.identities import RunId
from orchestrator.job_requests import JobRequest
from orchestrator.retrying import retry_from
from orchestrator.steering import cancel
from orchestrator.vertex import JobReading
from tests.functions.world import Clock, MemoryJobs, MemoryStore, World

Event = dict[str, Any]
TEXT_ETL = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
TEXT_END = {"predictions": "gs://b/p", "metrics": "gs://b/x", "report": "gs://b/r"}


class Recorder:
    """Takes down what happens, with the time of the world."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.events = clock, list[Event]()

    def note(self, **event: Any) -> None:
        """One event, now."""
        self.events.append({"at": self.clock.now().isoformat(), **event})


class RecordedStore(MemoryStore):
    """A bucket that tells what is written and deleted."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder.clock)
        self.recorder = recorder

    def create(self, name: str, data: bytes) -> bool:
        made = super().create(name, data)
        if made:
            self.recorder.note(wrote=name, content=json.loads(data))
        return made

    def delete(self, name: str) -> None:
        if name in self.objects:
            self.recorder.note(deleted=name)
        super().delete(name)


class RecordedJobs(MemoryJobs):
    """Vertex, telling what is created."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder.clock)
        self.recorder = recorder

    def create(self, request: JobRequest) -> JobReading:
        before = set(self.by_name)
        try:
            return super().create(request)
        finally:
            # A job exists also where the answer was lost.
            for name in self.by_name.keys() - before:
                self.recorder.note(created=name, labels=dict(self.by_name[name].labels))


class RecordedWorld(World):
    """A world whose history is kept. Time passes between its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = Recorder(self.clock)
        self.store, self.jobs = RecordedStore(self.recorder), RecordedJobs(self.recorder)
        self.services = replace(self.services, store=self.store, jobs=self.jobs)

    def end(self, **how: Any) -> None:
        """The newest job ends, its hint arrives, and what follows is delivered."""
        ended = self.end_job(**how)
        self.recorder.note(
            ended=ended.name,
            state=ended.state,
            outputs=dict(ended.outputs),
            counts=dict(ended.counts),
            error_message=ended.error_message,
        )
        if "/customJobs/" in ended.name:
            self.log_hint(ended)
            self.pump()
        else:
            self.tick()
        self.clock.advance(30)

    def rest(self) -> None:
        """Time enough for everything that is told and looked at later."""
        for _ in range(4):
            self.clock.advance(400)
            self.tick()


def quota_preemption_and_a_late_labelbox(world: RecordedWorld) -> None:
    """A wait for quota, a phase, a preempted attempt, and a Labelbox that is away at the end."""
    world.labelbox.configs["mr-1"] = {"minimum_examples": 3, "seed": "7", "upload_min_confidence": 0.25}
    world.jobs.refuse = LaunchRefused("Quota exceeded for custom_model_training_cpus", quota=True)
    world.start()
    world.jobs.refuse = None
    world.clock.advance(121)
    world.tick()
    world.clock.advance(30)
    job = next(iter(world.jobs.by_name.values()))
    phase = f"endings/mr-1/1/{job.labels['lb_attempt']}/{job.number}/phase-PREPARING_DATA.json"
    world.store.create(phase, b'{"version": 1}')
    world.object_hint(phase)
    world.clock.advance(30)
    world.end(result={"version": 1, "outputs": TEXT_ETL, "counts": {"rows": 120}, "metadata": {"rows": "120 of 123"}})
    world.end(state="FAILED", message="The replica workerpool0-0 was preempted")
    world.clock.advance(61)
    world.tick()
    world.end(result={"version": 1, "outputs": {"model": "gs://b/model/"}, "metrics": {"accuracy": 0.91}})
    world.labelbox.error = LabelboxUnavailable("Labelbox does not answer")
    world.end(result={"version": 1, "outputs": TEXT_END, "counts": {"predictions": 120}, "metrics": {"macro_f1": 0.88}})
    world.labelbox.error = None
    world.rest()


def automl(world: RecordedWorld) -> None:
    """Every kind of Vertex job, one of them partly succeeded."""
    world.start("image_single_classification")
    outputs = TEXT_ETL | {"prediction_instances": "gs://b/i", "dataset": "123"}
    world.end(result={"version": 1, "outputs": outputs})
    world.end(outputs={"model": "projects/1/locations/us-central1/models/7"})
    batch = {"outputs": {"predictions": "gs://bucket/batch/x/"}, "counts": {"predicted": 7, "failed": 3}}
    world.end(state="PARTIALLY_SUCCEEDED", **batch)
    world.end(result={"version": 1, "outputs": TEXT_END})
    world.rest()


def failed_and_retried_from_a_stage(world: RecordedWorld) -> None:
    """A run that fails, and a second one that takes its finished stage over."""
    first = world.start()
    world.end(result={"version": 1, "outputs": TEXT_ETL, "counts": {"rows": 12}})
    sentence = {"version": 1, "sentence": "Class 'a' has 1 example.", "kind": "bad_data", "hint": "Label more."}
    world.end(state="FAILED", error=sentence)
    world.rest()
    retry_from(world.services.begin(), first, "train", {"seed": 7})
    world.pump()
    world.end(result={"version": 1, "outputs": {"model": "gs://b/model/"}})
    world.end(result={"version": 1, "outputs": TEXT_END})
    world.rest()


def a_lost_answer_and_a_cancel(world: RecordedWorld) -> None:
    """A job whose create was not answered is adopted, and then somebody cancels."""
    world.jobs.lose_answer = True
    world.post({"modelRunId": "mr-1", "modelType": "ner", "modelId": "m-1"})
    topic, data = world.queue.messages.pop()
    assert world.deliver(topic, data) == 503
    world.jobs.lose_answer = False
    world.clock.advance(301)
    assert world.deliver(topic, data) == 204
    cancel(world.services.begin(), RunId("mr-1", 1), by="operator", reason="wrong data")
    world.pump()
    world.clock.advance(30)
    world.end(state="CANCELLED")
    world.rest()


def a_request_that_was_never_accepted(world: RecordedWorld) -> None:
    """A coordinator died after it had marked the run."""
    world.store.create(RunId("mr-1", 1).marker, b'{"version": 1}')
    world.clock.advance(2 * 3600)
    world.rest()


HISTORIES: tuple[Callable[[RecordedWorld], None], ...] = (
    quota_preemption_and_a_late_labelbox,
    automl,
    failed_and_retried_from_a_stage,
    a_lost_answer_and_a_cancel,
    a_request_that_was_never_accepted,
)


def record() -> dict[str, list[Event]]:
    """Every history, by its name."""
    found = {}
    for play in HISTORIES:
        world = RecordedWorld()
        play(world)
        assert not [name for name in world.store.objects if name.startswith("active/")], f"{play.__name__} has no end"
        found[play.__name__] = world.recorder.events
    return found


def written(histories: dict[str, list[Event]]) -> str:
    """As JSON, one event a line."""
    blocks = []
    for name, events in histories.items():
        lines = ",\n".join("  " + json.dumps(event, sort_keys=True) for event in events)
        blocks.append(f" {json.dumps(name)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if target.exists():
        sys.exit(f"{target} is there: a release's file is never made anew")
    target.write_text(written(record()), encoding="utf-8")
