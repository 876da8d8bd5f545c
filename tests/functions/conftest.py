"""Stand-ins of Google's services for the orchestrator's own clients, one of each for all tests here."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

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
        [sys.executable, "-m", f"local.{module}", "--port", str(port), "--state-dir", str(folder / module)]
        + ["--ready-file", str(ready), *arguments],
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
