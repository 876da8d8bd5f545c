"""A world in memory for the orchestrator: its ports with a clock of their own, and a pump that delivers messages."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.endpoint import PushHandler, serve_push
from orchestrator.errors import LabelboxRefused, LaunchRefused, LaunchUnsure, Unavailable
from orchestrator.identities import RunId
from orchestrator.job_requests import JobRequest
from orchestrator.labelbox import ModelRun, ShownStatus, Telling
from orchestrator.ledger import Ledger
from orchestrator.pipelines import Pipeline, read_pipelines
from orchestrator.questions import Question
from orchestrator.run import Run
from orchestrator.secret_store import FixedSecret
from orchestrator.services import Services
from orchestrator.settings import Settings
from orchestrator.signature import sign
from orchestrator.storage import Listed
from orchestrator.vertex import JobReading
from orchestrator.webhook import Answer, Request, answer

SECRET = "test_secret"
PARENT = "projects/local-project/locations/us-central1"
COLLECTIONS = {
    "CustomJob": "customJobs",
    "TrainingPipeline": "trainingPipelines",
    "BatchPredictionJob": "batchPredictionJobs",
}


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class MemoryStore:
    """ObjectStore in a dictionary."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.objects = clock, dict[str, tuple[bytes, datetime]]()
        self.down = False
        self.calls_until_down: int | None = None

    def _check(self) -> None:
        if self.calls_until_down is not None:
            self.down = self.calls_until_down == 0
            self.calls_until_down -= 1
        if self.down:
            raise Unavailable("The bucket is down")

    def create(self, name: str, data: bytes) -> bool:
        self._check()
        if name in self.objects:
            return False
        self.objects[name] = (data, self.clock.now())
        return True

    def read(self, name: str) -> bytes | None:
        self._check()
        return self.objects[name][0] if name in self.objects else None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read(name) for name in names]

    def list(self, prefix: str) -> Iterator[Listed]:
        self._check()
        return (Listed(name, self.objects[name][1]) for name in sorted(self.objects) if name.startswith(prefix))

    def folders(self, prefix: str) -> Iterator[str]:
        self._check()
        found = {name[len(prefix) :].split("/")[0] for name in self.objects if name.startswith(prefix)}
        return iter(sorted(found))

    def delete(self, name: str) -> None:
        self._check()
        self.objects.pop(name, None)


class MemoryJobs:
    """Vertex's jobs, which end when a test says so."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.numbers = clock, itertools.count(1000)
        self.by_name: dict[str, JobReading] = {}
        self.requests: list[JobRequest] = []
        self.cancelled: list[str] = []
        self.refuse: LaunchRefused | None = None
        self.lose_answer = False
        self.list_lag_s = 0.0

    def create(self, request: JobRequest) -> JobReading:
        if self.refuse:
            raise self.refuse
        name = f"{PARENT}/{COLLECTIONS[request.kind]}/{next(self.numbers)}"
        job = JobReading(name, "RUNNING", self.clock.now(), labels=request.body["labels"])
        self.by_name[name] = job
        self.requests.append(request)
        if self.lose_answer:
            raise LaunchUnsure("Vertex did not answer a create")
        return job

    def find(self, kind: str, attempt_id: str) -> list[JobReading]:
        found = [
            job
            for name, job in self.by_name.items()
            if f"/{COLLECTIONS[kind]}/" in name
            and job.labels["lb_attempt"] == attempt_id
            and (self.clock.now() - job.created).total_seconds() >= self.list_lag_s
        ]
        return sorted(found, key=lambda job: (job.created, job.name))

    def get(self, name: str) -> JobReading | None:
        return self.by_name.get(name)

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)

    def running(self, deployment: str) -> list[JobReading]:
        return [job for job in self.by_name.values() if not job.terminal and job.labels["lb_deployment"] == deployment]


class MemoryLabelbox:
    """Labelbox's statuses and configs."""

    def __init__(self) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, str, dict[str, str], str]] = []
        self.error: Exception | None = None
        self.look_ups = 0
        self.ontology: tuple[Question, ...] = (Question("q1", "Topic", "topic", "radio"),)

    def look_up(self, model_run_id: str) -> ModelRun:
        self.look_ups += 1
        if self.error:
            raise self.error
        if model_run_id not in self.configs:
            raise LabelboxRefused("unknown", "no such model run")
        return ModelRun(model_run_id, "model-1", self.configs[model_run_id])

    def questions(self, model_run_id: str) -> tuple[Question, ...]:
        if self.error:
            raise self.error
        return self.ontology

    def tell(self, model_run_id: str, telling: Telling) -> None:
        if self.error:
            raise self.error
        self.told.append((model_run_id, telling.status, dict(telling.metadata), telling.error_message))

    def read_back(self, model_run_id: str) -> ShownStatus:
        mine = [item for item in self.told if item[0] == model_run_id]
        if not mine:
            return ShownStatus(None, "", {})
        merged = {key: value for _, _, metadata, _ in mine for key, value in metadata.items()}
        return ShownStatus(mine[-1][1], mine[-1][3], merged)

    def statuses(self, model_run_id: str = "mr-1") -> list[str]:
        return [status for told, status, _, _ in self.told if told == model_run_id]


class Queue:
    """Published messages, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.down = False

    def publish(self, topic: str, data: bytes) -> None:
        if self.down:
            raise Unavailable("Pub/Sub is down")
        self.messages.append((topic, data))


MODEL_VERSION = "projects/p/locations/l/models/test-text_single_classification@3"
SETTINGS = Settings(
    google_cloud_project="local-project",
    region="us-central1",
    deployment_name="test",
    bucket="bucket",
    job_service_account="jobs@local-project.iam.gserviceaccount.com",
    image_repository="us-central1-docker.pkg.dev/local-project/test",
    image_tag="v1",
    labelbox_api_key="key",
    service_secret=SECRET,
)


class World:
    """The orchestrator with ports in memory. `pump` delivers what was published until nothing is left."""

    def __init__(
        self, settings: Settings = SETTINGS, pipelines: Mapping[str, Pipeline] | None = None, **changes: Any
    ) -> None:
        self.clock = Clock()
        self.store, self.jobs = MemoryStore(self.clock), MemoryJobs(self.clock)
        self.labelbox, self.queue = MemoryLabelbox(), Queue()
        self.labelbox.configs["mr-1"] = {}
        self.slept: list[float] = []
        self.services = Services(
            settings=replace(settings, **changes),
            pipelines=pipelines or read_pipelines(),
            store=self.store,
            publisher=self.queue,
            jobs=self.jobs,
            labelbox=self.labelbox,
            signing_secret=FixedSecret(SECRET),
            now=self.clock.now,
            sleep=self.slept.append,
        )
        self.message_ids = itertools.count(1)

    def post(self, body: bytes | dict[str, Any], path: str = "/model_run", **headers: str) -> Answer:
        """A signed POST, as Labelbox sends it."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"x-hub-signature": sign(raw, SECRET)} | headers
        return answer(self.services.begin(), Request("POST", path, given, lambda limit: raw[:limit]))

    def get(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        given = {"x-hub-signature": sign(b"", SECRET)} | headers
        return answer(self.services.begin(), Request("GET", path, given, lambda limit: body[:limit]))

    def start(self, model_type: str = "text_single_classification", model_run_id: str = "mr-1") -> RunId:
        """Accept a run and deliver its first event."""
        reply = self.post({"modelRunId": model_run_id, "modelType": model_type, "modelId": "m-1"})
        assert reply.status == 202, reply
        self.pump()
        run = RunId.parse(reply.content["runId"])
        assert run
        return run

    def deliver(
        self, topic: str, data: bytes, attributes: dict[str, str] | None = None, age_s: float = 0.0, attempt: int = 1
    ) -> int:
        """One push delivery; returns the HTTP status."""
        message = {
            "data": base64.b64encode(data).decode(),
            "messageId": str(next(self.message_ids)),
            "publishTime": (self.clock.now() - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z"),
            "attributes": attributes or {},
        }
        envelope = {
            "message": message,
            "subscription": f"projects/p/subscriptions/{topic}-push",
            "deliveryAttempt": attempt,
        }
        return serve_push(self.services, PushHandler(topic), envelope)

    def pump(self, times: int = 1) -> list[int]:
        """Deliver every published message `times` over, and what these publish, until nothing is left."""
        statuses = []
        while self.queue.messages:
            topic, data = self.queue.messages.pop(0)
            statuses += [self.deliver(topic, data) for _ in range(times)]
        return statuses

    def tick(self) -> int:
        """A reconcile tick, and what it publishes."""
        status = self.deliver("job-state", json.dumps({"version": 1, "kind": "reconcile"}).encode())
        self.pump()
        return status

    def end_job(
        self,
        name: str | None = None,
        state: str = "SUCCEEDED",
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        outputs: dict[str, str] | None = None,
        message: str = "",
        counts: dict[str, int] | None = None,
    ) -> JobReading:
        """Let a job (the newest by default) end, with the file its container would leave."""
        job = self.jobs.by_name[name or list(self.jobs.by_name)[-1]]
        ended = replace(job, state=state, outputs=outputs or {}, error_message=message, counts=counts or {})
        self.jobs.by_name[job.name] = ended
        run = f"{job.labels['lb_model_run']}/{job.labels['lb_run_number']}"
        folder = f"endings/{run}/{job.labels['lb_attempt']}/{job.number}"
        for file, content in (("result", result), ("error", error)):
            if content is not None:
                self.store.create(f"{folder}/{file}.json", json.dumps(content).encode())
        return ended

    def log_hint(self, job: JobReading, age_s: float = 0.0) -> int:
        """The log sink's message of a CustomJob's end, delivered."""
        entry = {
            "resource": {"type": "ml_job", "labels": {"job_id": job.number, "task_name": "service"}},
            "textPayload": "Job completed successfully.",
        }
        return self.deliver("job-state", json.dumps(entry).encode(), age_s=age_s)

    def object_hint(self, name: str, age_s: float = 0.0) -> int:
        """A storage notification, delivered."""
        attributes = {"eventType": "OBJECT_FINALIZE", "bucketId": "bucket", "objectId": name}
        return self.deliver("job-state", b"{}", attributes, age_s)

    def complete_text_run(self, hint_times: int = 1, pump_times: int = 1) -> None:
        """End the three jobs of a text run one after the other, each with its result and its hint."""
        for outputs in (
            {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"},
            {"model": "gs://b/model/", "model_version": MODEL_VERSION},
            {"predictions": "gs://b/p", "metrics": "gs://b/x", "report": "gs://b/r"},
        ):
            job = self.end_job(result={"version": 1, "outputs": outputs, "metrics": {"accuracy": 0.9}})
            for _ in range(hint_times):
                assert self.log_hint(job) == 204
            self.pump(pump_times)

    def run(self, run_id: RunId) -> Run:
        found = Ledger(self.store, "test").load(run_id)
        assert found
        return found

    def crash_at(self, point: str) -> None:
        """From now on, a handler that reaches this point dies there."""

        def reached(name: str) -> None:
            if name == point:
                raise Crash(point)

        self.services = replace(self.services, reached=reached)

    def heal(self) -> None:
        """No more crashes."""
        nothing: Callable[[str], None] = lambda _point: None  # noqa: E731
        self.services = replace(self.services, reached=nothing)


class Crash(BaseException):
    """The process died; nothing may catch it."""


def make_pipeline(text: str, folder: Path, name: str = "mine") -> Mapping[str, Pipeline]:
    """Pipelines of a folder that holds one file with this text."""
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_pipelines(folder)
