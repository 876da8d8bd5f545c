"""The embedded cloud: every stand-in and every function as a process of its own, started together, stopped together."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local import deployment
from local.deployment import Clock, Topics
from local.functions import (
    API_KEY_SECRET,
    ROOT,
    SERVICE_SECRET_SECRET,
    Endpoints,
    FunctionProcess,
    function_environment,
)
from local.gcs import StorageServer
from local.labelbox_side import LabelboxControl
from local.processes import LOOPBACK, Process, free_port, stop_all
from local.samples import sample_folders
from local.stand_ins import GooglePubSub, StandIn
from local.state import StateFolder

STOP_TIMEOUT_S = 4.0  # a request in flight may hold a function longer; then it is killed
API_KEY = "local-api-key"
SERVICE_SECRET = "local-service-secret-value"


@dataclass(frozen=True)
class CloudOptions:
    """How this cloud differs from the usual one.

    export: an own Labelbox export in the place of the samples. duplicate: every message is pushed twice.
    labelbox: switches of the Labelbox stand-in. google_pubsub: Google's own emulator in the small one's place.
    jobs_dirs: the folders of the job images. settings: settings of the functions, over the usual ones.
    storage: another server in the place of the usual one, for benchmarks.
    """

    export: Path | None = None
    duplicate: bool = False
    labelbox: Mapping[str, Any] = field(default_factory=dict)
    google_pubsub: bool = False
    reconcile_period_s: float = 3.0
    environments_dir: Path = ROOT / ".local" / "envs"
    samples_dir: Path = ROOT / "samples"
    jobs_dirs: tuple[Path, ...] = (ROOT / "jobs",)
    settings: Mapping[str, str] = field(default_factory=dict)
    storage: type[StorageServer] = StorageServer


class EmbeddedCloud:
    """A whole deployment on this machine, as a context manager; `stop` leaves no process and no taken port."""

    def __init__(self, state: StateFolder, options: CloudOptions | None = None) -> None:
        self.state = state
        self.options = options or CloudOptions()
        self.pubsub = GooglePubSub(state) if self.options.google_pubsub else StandIn("pubsub", state, (), {})
        self.storage = self.options.storage(
            state.path / "storage",
            events_project=deployment.PROJECT,
            events_topic=deployment.topic_id(deployment.STORAGE_EVENTS),
            pubsub_host=self.pubsub.host,
            log=state.path / "logs" / "storage.log",
        )
        self.labelbox = StandIn("labelbox", state, self._labelbox_flags(), {})
        self.secret_manager = StandIn("secret_manager", state, self._secret_flags(), {})
        self.vertex_control_port = free_port()
        self.vertex = StandIn("vertex", state, self._vertex_flags(), self._emulator_hosts())
        self.artifact_registry = StandIn("artifact_registry", state, self._jobs_flags(), {})
        endpoints = Endpoints(
            self.storage.host,
            self.pubsub.host,
            self.vertex.url,
            self.secret_manager.url,
            f"{self.labelbox.url}/graphql",
            self.artifact_registry.url,
        )
        usual = function_environment(endpoints, self.options.reconcile_period_s)
        self.environment = {**usual, **self.options.settings}
        self.functions = {name: FunctionProcess(name, self.environment, state.path) for name in deployment.FUNCTIONS}
        self._topics: Topics | None = None
        self._clock: Clock | None = None

    def _emulator_hosts(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.storage.host, "PUBSUB_EMULATOR_HOST": self.pubsub.host}

    def _labelbox_flags(self) -> list[str | Path]:
        served: list[str | Path] = ["--api-key", API_KEY]
        if self.options.export:
            return [*served, "--export", self.options.export]
        for folder in sample_folders(self.options.samples_dir):
            served += ["--sample", folder]
        return served

    def _secret_flags(self) -> list[str | Path]:
        file = self.state.path / "secrets.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({API_KEY_SECRET: [API_KEY], SERVICE_SECRET_SECRET: [SERVICE_SECRET]}))
        return ["--secrets", file, "--project", deployment.PROJECT]

    def _jobs_flags(self) -> list[str | Path]:
        return [word for folder in self.options.jobs_dirs for word in ("--jobs-dir", folder)]

    def _vertex_flags(self) -> list[str | Path]:
        return [
            *("--control-port", str(self.vertex_control_port)),
            *("--project", deployment.PROJECT, "--region", deployment.REGION),
            *(*self._jobs_flags(), "--envs-dir", self.options.environments_dir),
            *("--job-events-topic", deployment.topic_path("job-state")),
            *(word for pair in self._emulator_hosts().items() for word in ("--job-env", "=".join(pair))),
        ]

    @property
    def origin(self) -> str:
        """The coordinator's address: what Labelbox has as the URL of the training service."""
        return self.functions["coordinator"].origin

    @property
    def labelbox_control(self) -> LabelboxControl:
        """Labelbox's switches and memory."""
        return LabelboxControl(self.labelbox.url, API_KEY)

    def vertex_jobs(self) -> list[dict[str, Any]]:
        """Every job that Vertex ever took, newest first: kind, name, state, labels."""
        url = f"http://{LOOPBACK}:{self.vertex_control_port}/jobs"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return [job for job in json.load(answer)["jobs"] if "state" in job]

    def job_log(self, job_id: str) -> Path:
        """The log of a Vertex job."""
        return self.state.path / "vertex" / "logs" / f"{job_id}.log"

    def local_path(self, uri: str) -> Path:
        """Where an object or a folder of the bucket lies on this machine."""
        return self.state.path / "storage" / uri.removeprefix("gs://")

    @property
    def urls(self) -> dict[str, str]:
        """Every address, for a person."""
        stand_ins = {
            "storage": self.storage.host,
            "pubsub": self.pubsub.host,
            "vertex": self.vertex.url,
            "vertex control": f"http://{LOOPBACK}:{self.vertex_control_port}",
            "secret manager": self.secret_manager.url,
            "artifact registry": self.artifact_registry.url,
            "labelbox": self.labelbox.url,
        }
        return {**{name: function.origin for name, function in self.functions.items()}, **stand_ins}

    def processes(self) -> list[Process]:
        """Every process: the functions, then the stand-ins."""
        return [
            *(function.process for function in self.functions.values()),
            *(self.vertex.process, self.labelbox.process),
            *(self.secret_manager.process, self.artifact_registry.process),
            *(self.storage.process, self.pubsub.process),
        ]

    def start(self) -> None:
        """Start everything and return once all of it serves; what was started is stopped again when a part fails."""
        try:
            self._start()
        except BaseException:
            with contextlib.suppress(RuntimeError):
                self.stop()
            raise

    def _start(self) -> None:
        self.storage.launch()
        small = (self.labelbox, self.secret_manager, self.artifact_registry)
        for service in (self.pubsub, self.vertex, *small, *self.functions.values()):
            service.start()
        self.state.record(self.processes())
        self._wait_for_all(
            [
                *(self._make_bucket, self._lay_out_topics, self._set_labelbox),
                *(self.vertex.wait_ready, self.secret_manager.wait_ready, self.artifact_registry.wait_ready),
                *(function.wait_ready for function in self.functions.values()),
            ]
        )
        assert self._topics
        self._clock = Clock(self._topics, self.options.reconcile_period_s)
        self._clock.start()

    @staticmethod
    def _wait_for_all(waits: list[Callable[[], None]]) -> None:
        """Return when all have; raise the first failure at once (the others end when their processes are stopped)."""
        pool = ThreadPoolExecutor(max_workers=len(waits), thread_name_prefix="start")
        try:
            for ending in as_completed([pool.submit(wait) for wait in waits]):
                ending.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _make_bucket(self) -> None:
        self.storage.wait_ready()
        self.storage.create_bucket(deployment.BUCKET)

    def _lay_out_topics(self) -> None:
        self.pubsub.wait_ready()
        self._topics = Topics(self.pubsub.host)
        origins = {name: function.origin for name, function in self.functions.items()}
        self._topics.lay_out(origins, duplicate=self.options.duplicate)

    def _set_labelbox(self) -> None:
        self.labelbox.wait_ready()
        if self.options.labelbox:
            self.labelbox_control.change(dict(self.options.labelbox))

    def kill(self, function: str) -> None:
        """Kill a function's whole process group at once, as when an instance is lost."""
        self.functions[function].process.kill()

    def restart(self, function: str) -> None:
        """Kill a function if it runs, start it again on its port, and return once it serves."""
        self.kill(function)
        self.functions[function].start()
        self.state.record(self.processes())
        self.functions[function].wait_ready()

    def stop(self) -> None:
        """Stop everything at the same time. Safe to repeat because what is gone is left alone."""
        if self._clock:
            self._clock.stop()
        stop_all(self.processes(), timeout_s=STOP_TIMEOUT_S)
        if self._topics:
            self._topics.close()
        self.state.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
