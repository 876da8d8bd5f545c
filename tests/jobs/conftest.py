"""What the jobs' tests share: a real Cloud Storage server and a Labelbox stand-in, both on loopback."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.gcs import StorageServer
from local.processes import Process, free_port, stop_all

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "samples"
BUCKET = "jobs-test"


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    with StorageServer(tmp_path_factory.mktemp("gcs") / "root") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def folder(storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gs:// folder of the test's own; Google's client finds its server by the environment."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local-project")
    monkeypatch.setenv("CLOUD_ML_JOB_ID", "7001")
    return f"gs://{BUCKET}/{uuid4().hex}"


class LabelboxStandIn:
    """One Labelbox server and its control side."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def set(self, **switches: object) -> None:
        self._call("/_control/settings", switches)

    def state(self) -> dict[str, Any]:
        return self._call("/_control/state")

    def run_state(self, model_run_id: str) -> dict[str, Any]:
        return self.state()["model_runs"][model_run_id]

    def _call(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())


StartLabelbox = Callable[..., LabelboxStandIn]


@pytest.fixture
def start_labelbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartLabelbox]:
    """start_labelbox(sample_or_export_path): a server with these rows; the SDK finds it by the environment."""
    processes: list[Process] = []

    def start(path: Path, *more: str) -> LabelboxStandIn:
        port, number = free_port(), len(processes)
        state = tmp_path / f"labelbox-{number}"
        state.mkdir()
        ready = state / "ready.json"
        kind = "--sample" if path.is_dir() else "--export"
        argv = [sys.executable, "-m", "local.labelbox", "--port", port, "--state-dir", state, "--ready-file", ready]
        process = Process(
            f"labelbox-{number}",
            [*(str(part) for part in argv), kind, path, "--api-key", "test-key", *more],
            {"PYTHONPATH": str(REPOSITORY)},
            state / "log",
            state,
            port=port,
            cwd=REPOSITORY,
        )
        processes.append(process)
        process.start()
        process.wait_ready(ready.exists, 30)
        monkeypatch.setenv("LABELBOX_ENDPOINT", f"http://127.0.0.1:{port}/graphql")
        monkeypatch.setenv("LABELBOX_API_KEY", "test-key")
        return LabelboxStandIn(port)

    yield start
    stop_all(processes)
