"""What the Pub/Sub tests stand on: a real HTTP endpoint, a server as a process, and the real clients."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "projects/local-project"
_numbers = count(1)


def wait_until(condition: Callable[[], Any], timeout_s: float = 8.0) -> Any:
    """The first true value of the condition; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"not true within {timeout_s} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def duration(value_s: float) -> Duration:
    return Duration(seconds=int(value_s), nanos=round(value_s % 1 * 1e9))


@dataclass(frozen=True)
class Request:
    at_s: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.envelope["message"]["data"])


class Endpoint:
    """A threaded HTTP server that keeps every POST; `answer` says the status and may block."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], int] = lambda request: 204
        self._arrived = threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(time.time(), self.path, dict(self.headers), body)
                with endpoint._arrived:
                    endpoint.requests.append(request)
                    endpoint._arrived.notify_all()
                self.send_response(endpoint.answer(request))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A push that was cut off at its deadline is no news."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for(self, number: int, timeout_s: float = 8.0) -> list[Request]:
        with self._arrived:
            met = self._arrived.wait_for(lambda: len(self.requests) >= number, timeout_s)
        assert met, f"{len(self.requests)} of {number} requests within {timeout_s} s"
        return self.requests[:number]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def endpoint(port: int = 0) -> Iterator[Endpoint]:
    opened = Endpoint(port)
    try:
        yield opened
    finally:
        opened.close()


class PubSubProcess:
    """`python -m local.pubsub` as a child; may be killed and started again on its port and state."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "pubsub.log"
        self._flags = flags
        self.start()

    def start(self) -> None:
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "local.pubsub", f"--port={self.port}", f"--ready-file={ready}"),
                    *(f"--state-dir={self.folder / 'state'}", "--log-level=debug", *self._flags),
                ],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None, 20)
        assert self.process.poll() is None, self.log.read_text()
        assert json.loads(ready.read_text()) == {"port": self.port}

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> float:
        """Ends it as `make run` does; seconds until it was gone."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        return time.monotonic() - started


@contextmanager
def pubsub_process(folder: Path, *flags: str) -> Iterator[PubSubProcess]:
    process = PubSubProcess(folder, *flags)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()


class World:
    """The real clients against one server, with unique names for each topic."""

    def __init__(self, port: int) -> None:
        before = os.environ.get("PUBSUB_EMULATOR_HOST")
        os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{port}"
        try:
            ordered = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
            self.publisher = pubsub_v1.PublisherClient(publisher_options=ordered)
            self.subscriber = pubsub_v1.SubscriberClient()
        finally:
            if before is None:
                del os.environ["PUBSUB_EMULATOR_HOST"]
            else:
                os.environ["PUBSUB_EMULATOR_HOST"] = before

    def topic(self, name: str = "topic") -> str:
        path = f"{PROJECT}/topics/{name}-{next(_numbers)}"
        self.publisher.create_topic(name=path)
        return path

    def subscribe(self, topic: str, push: str = "", **fields: Any) -> str:
        path = f"{PROJECT}/subscriptions/{topic.rsplit('/', 1)[-1]}-{next(_numbers)}"
        if push:
            fields["push_config"] = {"push_endpoint": push, **fields.get("push_config", {})}
        self.subscriber.create_subscription(request={"name": path, "topic": topic, **fields})
        return path

    def publish(self, topic: str, *bodies: bytes, key: str = "", **attributes: str) -> list[str]:
        futures = [self.publisher.publish(topic, body, ordering_key=key, **attributes) for body in bodies]
        return [future.result(timeout=10) for future in futures]

    def pull(self, subscription: str, number: int = 10, timeout_s: float = 5.0, wait: bool = True) -> list[Any]:
        request = {"subscription": subscription, "max_messages": number, "return_immediately": not wait}
        with warnings.catch_warnings():
            # return_immediately is deprecated, yet the only way to see at once that nothing is there.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(self.subscriber.pull(request=request, timeout=timeout_s).received_messages)

    def close(self) -> None:
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()


@contextmanager
def world(port: int) -> Iterator[World]:
    clients = World(port)
    try:
        yield clients
    finally:
        clients.close()


def retry(shortest_s: float, longest_s: float) -> dict[str, Duration]:
    return {"minimum_backoff": duration(shortest_s), "maximum_backoff": duration(longest_s)}
