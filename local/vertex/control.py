"""The control port: what the stand-in holds, and its settings, for people and tests; nothing real is like it."""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.vertex.cloud import Cloud
from local.vertex.names import last_part
from local.vertex.settings import BadSettings

LARGEST_BODY_BYTES = 65536


class Control:
    """GET /jobs (all resources), GET /settings, POST /settings (a JSON object of those to change)."""

    def __init__(self, cloud: Cloud, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), _handler(cloud))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="control", daemon=True)

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def resources(cloud: Cloud) -> list[dict[str, Any]]:
    """Return every resource as plain values, jobs first, newest first; times in RFC 3339, empty when not yet set."""
    kinds = (
        ("CustomJob", cloud.custom_jobs.kind.table),
        ("TrainingPipeline", cloud.training_pipelines.kind.table),
        ("BatchPredictionJob", cloud.batch_prediction_jobs.kind.table),
        ("Dataset", cloud.datasets.table),
        ("Model", cloud.models.table),
        ("Endpoint", cloud.endpoints.table),
    )
    return [_described(cloud, kind, resource) for kind, table in kinds for resource in table.listed()]


def _described(cloud: Cloud, kind: str, resource: Any) -> dict[str, Any]:
    described = {
        "kind": kind,
        "name": resource.name,
        "display_name": resource.display_name,
        "labels": dict(resource.labels),
        "create_time": _moment(resource.create_time),
        "update_time": _moment(resource.update_time),
    }
    if hasattr(resource, "state"):
        described |= {
            "state": resource.state.name,
            "start_time": _moment(resource.start_time),
            "end_time": _moment(resource.end_time),
            "log": str(cloud.workshop.log(last_part(resource.name))),
            "error": {"code": resource.error.code, "message": resource.error.message} if resource.error.code else None,
        }
    return described


def _moment(value: datetime | None) -> str:
    return value.isoformat() if value else ""


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    answers: dict[tuple[str, str], Callable[[object], object]] = {
        ("GET", "/jobs"): lambda _: {"jobs": resources(cloud)},
        ("GET", "/settings"): lambda _: asdict(cloud.settings.current),
        ("POST", "/settings"): lambda changes: asdict(cloud.settings.change(changes)),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # each small answer would wait 40 ms otherwise

        def do_GET(self) -> None:
            """Answer a GET."""
            self._answer("GET")

        def do_POST(self) -> None:
            """Answer a POST with a JSON body."""
            self._answer("POST")

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: a person's terminal shows the run, not its requests."""

        def _answer(self, verb: str) -> None:
            answer = answers.get((verb, self.path))
            if answer is None:
                self._send(HTTPStatus.NOT_FOUND, {"error": f"known are {', '.join(' '.join(key) for key in answers)}"})
                return
            try:
                size = min(int(self.headers.get("Content-Length") or 0), LARGEST_BODY_BYTES)
                self._send(HTTPStatus.OK, answer(json.loads(self.rfile.read(size) or b"{}")))
            except (BadSettings, json.JSONDecodeError) as error:
                self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

        def _send(self, status: HTTPStatus, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
