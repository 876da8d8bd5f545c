"""A model being served: the real process behind Vertex's container contract, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from google.cloud.aiplatform_v1.types import Model, ModelContainerSpec

from local.processes import Process, free_port, stop_all
from tests.jobs.conftest import REPOSITORY

HEALTH, PREDICT = "/v1/health", "/v1/models/m:predict"


class Served:
    """A serving process."""

    def __init__(self, port: int, health: str = HEALTH, predict: str = PREDICT) -> None:
        self.port = port
        self._health, self._predict = health, predict

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def predict(self, *instances: object, **parameters: object) -> list[dict[str, Any]]:
        status, body = self.ask("POST", self._predict, {"instances": list(instances), "parameters": parameters})
        assert status == 200, body
        predictions: list[dict[str, Any]] = body["predictions"]
        return predictions

    def refusal(self, *instances: object, **parameters: object) -> str:
        status, body = self.ask("POST", self._predict, {"instances": list(instances), "parameters": parameters})
        assert status == 400, body
        return str(body["error"])

    def healthy(self) -> bool:
        try:
            return self.ask("GET", self._health)[0] == 200
        except OSError:
            return False


def served_folder(module: str, model_uri: str, state: Path) -> AbstractContextManager[Served]:
    """The model in a folder of the bucket, served by a module as its version of the registry would be."""
    container = ModelContainerSpec(command=["python", "-m", module], predict_route=PREDICT, health_route=HEALTH)
    return served_version(Model(artifact_uri=model_uri, container_spec=container), state)


@contextmanager
def served_version(model: Any, state: Path, python: str | Path = sys.executable) -> Iterator[Served]:
    """A version of the registry, served as Vertex would: its own command, environment and routes, its own files."""
    container = model.container_spec
    interpreter, *words = container.command
    assert interpreter == "python"
    port = free_port()
    (state / "served").mkdir()
    environment = {
        **{item.name: item.value for item in container.env},
        "PYTHONPATH": str(REPOSITORY / "jobs"),
        "STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"],
        "AIP_HTTP_PORT": str(port),  # of Vertex: the first of the container's ports
        "AIP_HEALTH_ROUTE": container.health_route,
        "AIP_PREDICT_ROUTE": container.predict_route,
        "AIP_STORAGE_URI": model.artifact_uri,
    }
    folder = state / "served"
    process = Process("serve", [str(python), *words], environment, folder / "log", folder, port=port)
    try:
        process.start()
        served = Served(port, container.health_route, container.predict_route)
        process.wait_ready(served.healthy, 60)
        yield served
    finally:
        stop_all([process])
