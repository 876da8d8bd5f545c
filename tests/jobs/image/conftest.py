"""Real servers for the tests of the image jobs: storage, and stand-ins of Labelbox and Vertex."""

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobkit.storage import Storage
from local.gcs import StorageServer
from local.processes import Process, free_port, stop_all

REPOSITORY = Path(__file__).resolve().parents[3]
BUCKET = "image-jobs"


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    with StorageServer(tmp_path_factory.mktemp("gcs") / "buckets") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def storage(storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Storage of the jobs, spoken to over the wire."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local-project")
    made = Storage()
    yield made
    made._client.close()


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A folder of the bucket that only this test uses."""
    return f"gs://{BUCKET}/{request.node.name}"


class StandIn:
    """One stand-in process with its ready file read."""

    def __init__(self, name: str, folder: Path, env: dict[str, str], *flags: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ready = folder / "ready.json"
        self.port = free_port()
        self.process = Process(
            f"{name}-{self.port}",
            [
                *(sys.executable, "-m", f"local.{name}", "--port", str(self.port)),
                *("--state-dir", folder / "state", "--ready-file", self._ready, *flags),
            ],
            {"PYTHONPATH": str(REPOSITORY), **env},
            folder / "log.txt",
            folder,
            port=self.port,
        )
        self.process.start()
        self.process.wait_ready(self._ready.exists, 30)
        self.ready = json.loads(self._ready.read_text())


class Labelbox:
    """Labelbox's stand-in with the sample (or another export in a sample's folder)."""

    KEY = "key-of-the-tests"

    def __init__(self, folder: Path, sample: Path) -> None:
        self.stand_in = StandIn("labelbox", folder, {}, "--sample", str(sample), "--api-key", self.KEY)
        self.url = f"http://127.0.0.1:{self.stand_in.port}"

    def state(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/_control/state", timeout=10) as answer:
            return json.loads(answer.read())

    def settings(self, **settings: object) -> None:
        body = json.dumps(settings).encode()
        request = urllib.request.Request(f"{self.url}/_control/settings", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def environment(self) -> dict[str, str]:
        return {
            "LABELBOX_ENDPOINT": f"{self.url}/graphql",
            "LABELBOX_API_KEY": self.KEY,
            "ALLOW_PRIVATE_ADDRESSES": "true",
        }


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Labelbox]]:
    """Labelbox stand-ins by the sample they serve; each folder's server serves all tests that ask for it."""
    running: dict[Path, Labelbox] = {}
    yield running
    stop_all(labelbox.stand_in.process for labelbox in running.values())


@pytest.fixture
def serve(
    started: dict[Path, Labelbox], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Labelbox]:
    """Serves a sample's folder as Labelbox would; the jobs find it through their environment."""

    def start(sample: Path) -> Labelbox:
        if sample not in started:
            started[sample] = Labelbox(tmp_path_factory.mktemp("labelbox"), sample)
        for name, value in started[sample].environment().items():
            monkeypatch.setenv(name, value)
        return started[sample]

    return start


@pytest.fixture(scope="session")
def vertex_server(tmp_path_factory: pytest.TempPathFactory, storage_server: StorageServer) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("vertex")
    stand_in = StandIn(
        "vertex", folder, {"STORAGE_EMULATOR_HOST": storage_server.host}, "--envs-dir", str(folder / "envs")
    )
    yield stand_in
    stand_in.process.stop()


class Vertex:
    """The Vertex stand-in with its behaviour on demand."""

    def __init__(self, stand_in: StandIn) -> None:
        self._settings = f"http://127.0.0.1:{stand_in.ready['control_port']}/settings"

    def set(self, **settings: object) -> None:
        request = urllib.request.Request(self._settings, data=json.dumps(settings).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass


@pytest.fixture
def vertex(vertex_server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    """Vertex for one test, found through VERTEX_ENDPOINT; its behaviour is put back afterwards."""
    monkeypatch.setenv("VERTEX_ENDPOINT", f"http://127.0.0.1:{vertex_server.port}")
    monkeypatch.setenv("REGION", "us-central1")
    vertex = Vertex(vertex_server)
    yield vertex
    vertex.set(list_lag_s=0.0, operation_delay_s=0.0, unavailable=False)
