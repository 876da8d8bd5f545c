"""Stand-ins of Google's services for the orchestrator's own clients, one of each for all tests here."""

from __future__ import annotations

import itertools
import json
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.gcs import StorageServer
from local.processes import Process, free_port

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    """Cloud Storage over files."""
    server = StorageServer(tmp_path_factory.mktemp("storage") / "objects")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket_name(storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own, with the client's variable set."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.host)
    name = f"bucket-{next(_NUMBERS)}"
    storage_server.create_bucket(name)
    return name


def start_stand_in(module: str, folder: Path, *arguments: str, port: int | None = None) -> tuple[Process, int]:
    """Start `python -m local.<module>` and wait until it serves."""
    port = port or free_port()
    ready = folder / f"{module}-{port}.ready"
    process = Process(
        module,
        [
            *(sys.executable, "-m", f"local.{module}", "--port", str(port)),
            *("--state-dir", str(folder / module), "--ready-file", str(ready), *arguments),
        ],
        {},
        folder / f"{module}.log",
        folder,
        port=port,
    )
    process.start()
    process.wait_ready(ready.exists, 30.0)
    return process, port


@pytest.fixture(scope="session")
def pubsub_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Pub/Sub."""
    process, port = start_stand_in("pubsub", tmp_path_factory.mktemp("pubsub"))
    yield f"127.0.0.1:{port}"
    process.stop()


MODEL_RUN = "9a000000-0000-0000-0000-00000000bbbb"
LABELBOX_KEY = "lbx-test-key"


@dataclass(frozen=True)
class LabelboxServer:
    """Labelbox's stand-in with one model run, and its switches."""

    url: str

    @property
    def endpoint(self) -> str:
        return f"{self.url}/graphql"

    def switch(self, **settings: object) -> None:
        request = urllib.request.Request(f"{self.url}/_control/settings", json.dumps(settings).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def shown(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_control/state", timeout=10) as answer:
            return json.load(answer)["model_runs"][MODEL_RUN]  # type: ignore[no-any-return]


@pytest.fixture
def labelbox_server(tmp_path: Path) -> Iterator[LabelboxServer]:
    """Labelbox, serving an export with one data row, whose label answers one question."""
    answer = {"feature_schema_id": "a1", "name": "Bill", "value": "bill", "classifications": []}
    question = {"feature_schema_id": "q1", "name": "Topic", "value": "topic", "radio_answer": answer}
    labels = [{"annotations": {"objects": [], "classifications": [question], "relationships": []}}]
    run = {"name": "run 1", "labels": labels, "predictions": []}
    row = {
        "data_row": {"id": "clf0", "global_key": "g-0", "row_data": "text"},
        "experiments": {"9a000000-0000-0000-0000-00000000aaaa": {"name": "m", "runs": {MODEL_RUN: run}}},
    }
    export = tmp_path / "export.ndjson"
    export.write_text(json.dumps(row) + "\n")
    process, port = start_stand_in("labelbox", tmp_path, "--export", str(export), "--api-key", LABELBOX_KEY)
    yield LabelboxServer(f"http://127.0.0.1:{port}")
    process.stop()


@pytest.fixture
def vertex_server(tmp_path: Path, storage_server: StorageServer) -> Iterator[tuple[str, str]]:
    """Vertex AI with one image, `etl-sleeper`; its gRPC address and its control address."""
    folder = tmp_path / "jobs" / "etl" / "sleeper"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text('FROM python:3.11-slim\nENTRYPOINT ["python", "-m", "etl.sleeper.main"]\n')
    (folder / "requirements.txt").write_text("")
    (folder / "main.py").write_text("import sys, time\ntime.sleep(float(sys.argv[1].split('=')[1]))\n")
    control = free_port()
    process, port = start_stand_in(
        "vertex",
        tmp_path,
        *("--control-port", str(control), "--jobs-dir", str(tmp_path / "jobs"), "--envs-dir", str(tmp_path / "envs")),
        *("--job-env", f"STORAGE_EMULATOR_HOST={storage_server.host}"),
    )
    yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}"
    process.stop()
