"""One embedded cloud for all hostile requests, with secrets planted that nothing may repeat."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from local.cloud import API_KEY, SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.functions import FunctionProcess
from local.processes import LOOPBACK
from local.state import StateFolder
from orchestrator.signature import sign
from tests.end_to_end.quick_jobs import model_run_id, write_export, write_jobs, write_pipelines

# The same examples each time, and few: each is a request to a real process.
settings.register_profile(
    "hostile",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("hostile")

MODEL_RUNS = [model_run_id(number) for number in range(1, 9)]
# Planted in bodies that must leave no trace, and looked for afterwards.
MARK = "planted-body-marker-3f1c"
TRACES = ("Traceback (most recent call last)", 'File "/')


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.headers.items()) + self.body.decode("latin-1")


class HostileCloud:
    """The deployment under attack."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud = cloud

    def ask(
        self, function: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One well-formed HTTP request with whatever it carries."""
        connection = http.client.HTTPConnection(LOOPBACK, self.cloud.functions[function].port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def signed(self, body: bytes, method: str = "POST", path: str = "/model_run") -> Answer:
        """A request of the coordinator with a right signature: the sender knows the secret, the body is anyone's."""
        return self.ask("coordinator", method, path, body, {"x-hub-signature": sign(body, SERVICE_SECRET)})

    def push(self, function: str, body: bytes) -> Answer:
        """A push request to a function."""
        return self.ask(function, "POST", "/", body, {"Content-Type": "application/json"})

    def raw(self, function: str, request: bytes) -> bytes:
        """Raw bytes on a connection of their own, then its end; all that came back."""
        with socket.create_connection((LOOPBACK, self.cloud.functions[function].port), timeout=30) as connection:
            received = b""
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while block := connection.recv(65536):
                    received += block
            except ConnectionError:
                pass  # the server hung up in the middle of a flood
            return received

    @property
    def functions(self) -> Mapping[str, FunctionProcess]:
        return self.cloud.functions

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Every object of the bucket: facts, dead letters, data."""
        top = self.cloud.state.path / "storage"
        for path in top.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(top)), path.read_bytes()

    def logs(self) -> Iterator[tuple[str, bytes]]:
        """Every log: of the functions, of the stand-ins, of the jobs."""
        for path in [
            *(self.cloud.state.path / "logs").glob("*.log"),
            *(self.cloud.state.path / "vertex").rglob("*.log"),
        ]:
            yield path.name, path.read_bytes()

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """What Pub/Sub's stand-in keeps on disk: every message that was published."""
        for path in (self.cloud.state.path / "pubsub").rglob("*"):
            if path.is_file():
                yield path.name, path.read_bytes()

    def told(self) -> bytes:
        """All that Labelbox was told."""
        return repr(self.cloud.labelbox_control.state()).encode()

    def places_of(self, text: str) -> list[str]:
        """Where a text is found in logs, facts, dead letters, messages and what Labelbox was told."""
        everywhere = [*self.logs(), *self.objects(), *self.messages(), ("labelbox", self.told())]
        return [name for name, content in everywhere if text.encode() in content]


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileCloud]:
    """The cloud; after the last test its functions' logs hold no stack trace, and nothing anywhere holds a secret."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    options = CloudOptions(
        export=write_export(folder, MODEL_RUNS),
        jobs_dirs=(write_jobs(folder),),
        environments_dir=folder / "envs",
        settings={"PIPELINES_DIR": str(write_pipelines(folder))},
    )
    with EmbeddedCloud(StateFolder(folder / "state"), options) as cloud:
        attacked = HostileCloud(cloud)
        yield attacked
        for trace in TRACES:
            assert [name for name, log in attacked.logs() if trace.encode() in log] == []
        for secret in (SERVICE_SECRET, API_KEY):
            assert attacked.places_of(secret) == []


def assert_answered(answer: Answer, *, unavailable: bool = False) -> None:
    """2xx or 4xx (503 only where documented), and nothing of the inside shows."""
    assert 200 <= answer.status < 300 or 400 <= answer.status < 500 or (unavailable and answer.status == 503), answer
    for inside in (*TRACES, SERVICE_SECRET, API_KEY, ".py"):
        assert inside not in answer.text
