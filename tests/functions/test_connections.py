"""Kept connections and the bucket's client, against servers that close, trickle, refuse and page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.connections import Connections, NoAnswer
from orchestrator.errors import NoBucket, Unavailable
from orchestrator.storage import Bucket

Answering = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One connection; what it answers is its server's."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.seen.append((self.client_address[1], self.path, self.headers.get("Authorization", "")))
        self.server.answering(self)

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Notes (client's port, path, authorization) of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.seen: list[tuple[int, str, str]] = []
        self.answering: Answering = lambda handler: handler.answer(200, b"well")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what some of these tests are about."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def get(connections: Connections, server: Server, timeout_s: float = 5.0, limit_bytes: int | None = None) -> bytes:
    return connections.send("GET", f"{server.url}/x", {}, timeout_s=timeout_s, limit_bytes=limit_bytes).body


def test_one_connection_serves_request_after_request(server: Server) -> None:
    connections = Connections(server.url)
    assert {get(connections, server) for _ in range(5)} == {b"well"}
    assert len({port for port, _, _ in server.seen}) == 1 and len(server.seen) == 5


def test_a_connection_that_was_closed_while_it_was_kept_is_replaced(server: Server) -> None:
    connections = Connections(server.url)
    get(connections, server)

    def hang_up_once(handler: Handler) -> None:
        server.answering = lambda handler: handler.answer(200, b"well")
        handler.close_connection = True

    server.answering = hang_up_once
    assert get(connections, server) == b"well"
    assert len({port for port, _, _ in server.seen}) == 2 and len(server.seen) == 3


def test_a_server_that_always_hangs_up_is_asked_twice(server: Server) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True

    server.answering = hang_up
    with pytest.raises(NoAnswer):
        get(Connections(server.url), server)
    assert len(server.seen) == 2


def test_a_connection_that_was_long_silent_is_not_used_again(server: Server) -> None:
    now = [0.0]
    connections = Connections(server.url, clock=lambda: now[0])
    for moment in (0.0, 59.0, 120.0):
        now[0] = moment
        get(connections, server)
    ports = [port for port, _, _ in server.seen]
    assert ports[0] == ports[1] != ports[2]


def test_an_answer_that_trickles_ends_with_the_time_limit(server: Server) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b".")
            time.sleep(0.05)

    server.answering = trickle
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        get(Connections(server.url), server, timeout_s=0.5)
    assert time.monotonic() - began < 5


def test_an_answer_over_the_limit_is_none_and_one_at_the_limit_is_whole(server: Server) -> None:
    connections = Connections(server.url)
    server.answering = lambda handler: handler.answer(200, b"x" * 100_000)
    with pytest.raises(NoAnswer):
        get(connections, server, limit_bytes=99_999)
    assert get(connections, server, limit_bytes=100_000) == b"x" * 100_000


def test_the_environment_s_proxy_is_used_except_for_what_it_excludes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Connections("http://far.example").send("GET", "http://far.example/y", {}, timeout_s=5.0)
    get(Connections(server.url), server)
    assert [path for _, path, _ in server.seen] == ["http://far.example/y", "/x"]


def test_credentials_put_their_token_on_every_request_and_renew_one_that_is_refused(server: Server) -> None:
    from google.oauth2.credentials import Credentials

    class Renewable(Credentials):  # type: ignore[misc]
        def refresh(self, request: object) -> None:
            self.token = "second"

    def refuse_the_first(handler: Handler) -> None:
        handler.answer(401 if "first" in handler.headers["Authorization"] else 200, b"")

    server.answering = refuse_the_first
    connections = Connections(server.url, Renewable("first"))
    get(connections, server)
    get(connections, server)
    assert [token for _, _, token in server.seen] == ["Bearer first", "Bearer second", "Bearer second"]


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    return Bucket("b", 2.0)


def test_a_bucket_that_is_busy_is_asked_again(server: Server, bucket: Bucket) -> None:
    busy = iter((503, 429))
    server.answering = lambda handler: handler.answer(next(busy, 200), b"content")
    assert bucket.read("x") == b"content"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "sign in: gcloud auth"), (403, "ask for the right"), (412, ""), (500, "")]
)
def test_a_bucket_that_refuses_or_stays_busy_is_unavailable_and_says_so(
    server: Server, bucket: Bucket, status: int, remedy: str
) -> None:
    server.answering = lambda handler: handler.answer(status)
    with pytest.raises(Unavailable, match=f"did not list facts/: {status}") as refused:
        list(bucket.list("facts/"))
    assert refused.value.hint.startswith(remedy) and bool(refused.value.hint) == bool(remedy)


def test_a_bucket_that_is_not_there_is_named(server: Server, bucket: Bucket) -> None:
    server.answering = lambda handler: handler.answer(404)
    for ask in (lambda: list(bucket.list("a/")), lambda: list(bucket.folders("a/"))):
        with pytest.raises(NoBucket, match="There is no bucket "):
            ask()


def test_a_list_goes_on_to_its_last_page(server: Server, bucket: Bucket) -> None:
    def page(handler: Handler) -> None:
        asked = parse_qs(urlsplit(handler.path).query)
        number = int(asked.get("pageToken", ["0"])[0])
        item = {"name": f"{asked['prefix'][0]}{number}", "timeCreated": "2026-11-28T00:39:21.07638Z"}
        answer = {
            "items": [item],
            "prefixes": [f"facts/{number}/"],
            **({"nextPageToken": number + 1} if number < 2 else {}),
        }
        handler.answer(200, json.dumps(answer).encode())

    server.answering = page
    assert [item.name for item in bucket.list("facts/a&b ")] == ["facts/a&b 0", "facts/a&b 1", "facts/a&b 2"]
    assert list(bucket.folders("facts/")) == ["0", "1", "2"]


def test_an_answer_that_is_no_list_is_unavailable(server: Server, bucket: Bucket) -> None:
    server.answering = lambda handler: handler.answer(200, b"<html>")
    with pytest.raises(Unavailable, match="not JSON"):
        list(bucket.list("facts/"))
