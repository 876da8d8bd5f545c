"""A model behind Vertex's prediction container contract, with nothing but the standard library.

https://docs.cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements: the container listens on
AIP_HTTP_PORT, answers GET AIP_HEALTH_ROUTE with 200 once it can predict, and POST AIP_PREDICT_ROUTE
{"instances": [...]} with {"predictions": [...]}, one a instance, in order. AIP_STORAGE_URI is the model's folder.
"""

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.storage import Storage

MAX_REQUEST_BYTES = 16 * 1024 * 1024  # Vertex's own limit for online requests is 1.5 MB, batch jobs send more
READ_TIMEOUT_S = 60.0

FOLDERS_VARIABLE = "PREDICTION_FOLDERS"  # gs:// folders whose objects an instance may name, comma separated
MOST_PROBLEMS = 20  # told of one request

Prediction = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a prediction request asks: its instances, as they came, and its parameters."""

    instances: Sequence[object]
    parameters: Mapping[str, object]


# One prediction an instance, in order. Raises BadRequest for instances or parameters that cannot be used.
Predictor = Callable[[Request], list[Prediction]]


@dataclass(frozen=True)
class Routes:
    """Where the server listens and what it answers."""

    port: int
    health: str
    predict: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Routes":
        """As Vertex says; by hand, port 8080 with /health and /predict."""
        return cls(
            int(environment.get("AIP_HTTP_PORT", "8080")),
            environment.get("AIP_HEALTH_ROUTE", "/health"),
            environment.get("AIP_PREDICT_ROUTE", "/predict"),
        )


class BadRequest(Exception):
    """A request that cannot be answered; the text says why, for its sender."""


def refuse_if_any(problems: Sequence[str]) -> None:
    """Raises BadRequest that tells all problems of a request at once, or the first ones and how many there are."""
    if problems:
        more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise BadRequest("; ".join(problems[:MOST_PROBLEMS]) + more)


def _request_of(content: bytes) -> Request:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    instances = body.get("instances") if isinstance(body, dict) else None
    parameters = body.get("parameters") if isinstance(body, dict) else None
    if not isinstance(instances, list) or not isinstance(parameters, dict | None):
        raise BadRequest('the body must be {"instances": [...]}, and may have "parameters": {...} beside it')
    return Request(instances, parameters or {})


def over_texts(predict: Callable[[Sequence[str]], list[Prediction]]) -> Predictor:
    """A predictor of texts: each instance is a text, or an object with `content` (or `textContent`)."""
    return lambda request: predict(texts_of(request.instances))


def texts_of(instances: Sequence[object]) -> list[str]:
    """The texts of a request. Raises BadRequest that names every instance without one."""
    texts, problems = [], []
    for number, instance in enumerate(instances):
        text = instance
        if isinstance(instance, dict):
            text = instance.get("content", instance.get("textContent"))
        if isinstance(text, str):
            texts.append(text)
        else:
            problems.append(f'instance {number} must be a text or an object with a text as "content"')
    refuse_if_any(problems)
    return texts


class PredictionServer(ThreadingHTTPServer):
    """Answers health at once (503 until a predictor is set), and one prediction request at a time."""

    daemon_threads = True

    def __init__(self, routes: Routes, host: str = "0.0.0.0") -> None:  # noqa: S104 - a container's only door
        super().__init__((host, routes.port), _Handler)
        self.routes = routes
        self._predictor: Predictor | None = None
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether there is a model to predict with."""
        return self._predictor is not None

    def use(self, predictor: Predictor) -> None:
        """Predict with this from now on."""
        self._predictor = predictor

    def predictions(self, request: Request) -> list[Prediction]:
        """One prediction an instance."""
        assert self._predictor is not None
        with self._lock:
            return self._predictor(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S
    disable_nagle_algorithm = True
    server: PredictionServer

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != self.server.routes.health:
            self._answer(404, {"error": "not found"})
        elif self.server.ready:
            self._answer(200, {"status": "ready"})
        else:
            self._answer(503, {"status": "loading"})

    def do_POST(self) -> None:
        if self.path.partition("?")[0] != self.server.routes.predict:
            self._refuse(404, "not found")
            return
        size = self.headers.get("Content-Length", "")
        if not size.isascii() or not size.isdigit():
            self._refuse(411, "the length of the body must be given")
        elif int(size) > MAX_REQUEST_BYTES:
            self._refuse(413, f"the body is larger than {MAX_REQUEST_BYTES} bytes")
        else:
            self._predict(self.rfile.read(int(size)))

    def _predict(self, content: bytes) -> None:
        try:
            request = _request_of(content)
            if not self.server.ready:
                self._answer(503, {"error": "the model is still loading"})
                return
            self._answer(200, {"predictions": self.server.predictions(request)})
        except BadRequest as error:
            self._answer(400, {"error": str(error)})
        except Exception as error:  # one request's failure must not end the others; its text may hold user data
            say("A prediction failed", severity="ERROR", kind=type(error).__name__)
            traceback.print_exc()
            self._answer(500, {"error": "the prediction failed"})

    def _refuse(self, status: int, error: str) -> None:
        """Answers without having read the body, so the connection cannot be used again."""
        self.close_connection = True
        self._answer(status, {"error": error})

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        content = json.dumps(body, ensure_ascii=False).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests hold data of users, and Vertex counts requests itself."""


def serve(load: Callable[[Storage, str], Predictor], routes: Routes | None = None) -> int:
    """Serves until SIGTERM: health answers at once, predictions as soon as the model is loaded. The exit code is 1 when
    it cannot be loaded. The storage that `load` gets stays open, for instances that are objects."""
    server = PredictionServer(routes or Routes.from_environment())
    thread = threading.Thread(target=server.serve_forever, name="serve")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    thread.start()
    storage = None
    try:
        storage = Storage()
        server.use(load(storage, os.environ.get("AIP_STORAGE_URI", "").rstrip("/")))
        say("Ready to predict", port=server.server_address[1])
        stopped.wait()
        return 0
    except JobError as error:
        say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
        return 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if storage is not None:
            storage.close()
