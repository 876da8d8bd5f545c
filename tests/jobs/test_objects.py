"""Requests of storage over kept connections: what the service closed or refused for a moment is no failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from jobkit.errors import BadConfiguration, PermissionRefused, Transient
from jobkit.objects import Objects

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Service(ThreadingHTTPServer):
    """A service whose answers are given one after the other; it notes what it was asked, and by which connection."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[Callable[[Handler], None]] = []
        self.asked: list[tuple[str, str, bytes]] = []
        self.connections: list[object] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        self.server.connections.append(self.client_address)
        self.server.answers.pop(0)(self)

    do_POST = do_PATCH = do_GET

    def log_message(self, *_: object) -> None:
        pass


def answer(status: int, body: bytes = b"{}", *, chunked: bool = False, **headers: str) -> Callable[[Handler], None]:
    def reply(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
        handler.send_header(*framing)
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)

    return reply


def then_closed(reply: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Without a word, as services do with what idles too long."""

    def both(handler: Handler) -> None:
        reply(handler)
        handler.close_connection = True

    return both


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def objects(service: Service) -> Iterator[Objects]:
    endpoint = f"http://127.0.0.1:{service.server_port}"
    client = Client("project", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
    made = Objects(client)
    yield made
    made.close()
    client.close()


def test_a_connection_is_used_again_until_the_service_closes_it(service: Service, objects: Objects) -> None:
    service.answers = [answer(200, b"one"), then_closed(answer(200, b"two", chunked=True)), answer(200, b"three")]
    assert [objects.read("gs://b/a") for _ in range(3)] == [b"one", b"two", b"three"]
    first, second, third = service.connections
    assert first == second != third


def test_a_connection_that_the_service_announces_to_close_is_not_kept(service: Service, objects: Objects) -> None:
    service.answers = [answer(200, Connection="close"), answer(404)]
    assert (objects.read("gs://b/a"), objects.read("gs://b/a")) == (b"{}", None)
    assert len(set(service.connections)) == 2


def test_a_write_is_one_request_that_holds_the_bytes_and_their_description(service: Service, objects: Objects) -> None:
    service.answers = [answer(200), answer(412), answer(200)]
    assert objects.write("gs://b/a/b c", b"\0\r\n--x", "image/jpeg", NOW)
    assert not objects.write("gs://b/a", b"", "image/jpeg", NOW)
    assert objects.write("gs://b/a", b"", "image/jpeg", NOW, replace=True)
    (method, path, body), (_, _, _), (_, replacing, _) = service.asked
    assert (method, path.partition("?")[0]) == ("POST", "/upload/storage/v1/b/b/o")
    assert "ifGenerationMatch=0" in path and "ifGenerationMatch" not in replacing
    edge, described, _, bytes_part, *_ = body.replace(b"\r\n\r\n", b"\r\n", 1).split(b"\r\n", 4)
    assert described == b"Content-Type: application/json" and bytes_part.startswith(edge)
    assert b'"name": "a/b c"' in body and b'"customTime": "2026-01-01T00:00:00Z"' in body
    assert b"\r\n\r\n\0\r\n--x\r\n" + edge + b"--" in body


def test_a_busy_service_is_asked_again(service: Service, objects: Objects) -> None:
    service.answers = [answer(503), answer(200, b"late")]
    assert objects.read("gs://b/a") == b"late"


def test_a_page_of_names_is_relative_to_the_folder_and_names_the_next(service: Service, objects: Objects) -> None:
    page = b'{"items": [{"name": "i/x/1.json"}, {"name": "i/x/2.json"}], "nextPageToken": "t&1"}'
    service.answers = [answer(200, page), answer(200, b"{}")]
    assert objects.page("gs://b/i/x") == (["1.json", "2.json"], "t&1")
    assert objects.page("gs://b/i/x", "t&1") == ([], "")
    assert "pageToken=t%261" in service.asked[1][1] and "prefix=i%2Fx%2F" in service.asked[0][1]


def test_names_cannot_add_to_the_request(service: Service, objects: Objects) -> None:
    service.answers = [answer(404)]
    assert objects.read("gs://b\r\nX: y/a?b#c\r\n d") is None
    assert service.asked == [("GET", "/storage/v1/b/b%0D%0AX%3A%20y/o/a%3Fb%23c%0D%0A%20d?alt=media", b"")]


@pytest.mark.parametrize(
    ("status", "error", "ask"),
    [
        pytest.param(403, PermissionRefused, lambda objects: objects.read("gs://b/a"), id="refused"),
        pytest.param(400, Transient, lambda objects: objects.read("gs://b/a"), id="not expected"),
        pytest.param(404, BadConfiguration, lambda objects: objects.page("gs://b/a"), id="list without a bucket"),
        pytest.param(
            404,
            BadConfiguration,
            lambda objects: objects.write("gs://b/a", b"", "x/y", NOW),
            id="no bucket to write to",
        ),
    ],
)
def test_what_cannot_be_mended_is_told(
    service: Service, objects: Objects, status: int, error: type[Exception], ask: Callable[[Objects], object]
) -> None:
    service.answers = [answer(status)]
    with pytest.raises(error):
        ask(objects)
