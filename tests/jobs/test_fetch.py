"""A stranger's URL gets public http(s) contents only, in bounded time and size; one bad one never stops the others."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobkit.connections import is_allowed
from jobkit.fetch import FetchRefusedError, FetchRules, connections, fetch, in_order

OPEN = FetchRules(allow_private=True, timeout_s=2.0, deadline_s=10.0)
CLOSED = FetchRules(timeout_s=2.0)
Reply = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """A server whose paths are functions; it counts what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.replies[self.path](self)

    def log_message(self, *_: object) -> None:
        pass


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


ADDRESSES = {
    # address: (allowed for everybody, allowed with private addresses open)
    "8.8.8.8": (True, True),
    "2001:4860:4860::8888": (True, True),
    "127.0.0.1": (False, True),
    "::1": (False, True),
    "10.1.2.3": (False, True),
    "172.16.0.1": (False, True),
    "192.168.1.1": (False, True),
    "fd00::1": (False, True),
    "100.64.0.1": (False, False),
    "169.254.169.254": (False, False),
    "fe80::1": (False, False),
    "0.0.0.0": (False, False),
    "::": (False, False),
    "224.0.0.1": (False, False),
    "255.255.255.255": (False, True),
    "::ffff:127.0.0.1": (False, True),
    "::ffff:169.254.169.254": (False, False),
    "::ffff:8.8.8.8": (True, True),
    "64:ff9b::a9fe:a9fe": (False, False),
    "64:ff9b::7f00:1": (False, True),
    "2002:a9fe:a9fe::1": (False, False),
    "::169.254.169.254": (False, False),
}


@pytest.mark.parametrize(("address", "allowed"), ADDRESSES.items(), ids=ADDRESSES)
def test_addresses(address: str, allowed: tuple[bool, bool]) -> None:
    parsed = ipaddress.ip_address(address)
    assert (is_allowed(parsed, False), is_allowed(parsed, True)) == allowed


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_this_machine_is_refused_in_every_form_and_nothing_is_sent(server: Server, host: str) -> None:
    server.replies["/"] = answer(200, b"secret")
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"http://{host}:{server.server_port}/", replace(CLOSED, tries=1))
    assert caught.value.reason in ("address_refused", "unreachable")  # a form that this system cannot resolve at all
    assert server.asked == []


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/computeMetadata/v1/", "http://[::ffff:169.254.169.254]/", "file:///etc/passwd"]
)
def test_a_redirect_to_a_refused_place_is_refused_even_where_private_addresses_are_open(
    server: Server, target: str
) -> None:
    server.replies["/go"] = answer(302, Location=target)
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/go", OPEN)
    assert caught.value.reason in ("address_refused", "bad_url")


def test_a_name_cannot_change_its_address_between_check_and_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer of the name server is public, every later one is this machine (rebinding)."""
    answers = iter(["203.0.113.1"])

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    server.replies["/"] = answer(200, b"secret")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(FetchRefusedError):
        fetch(f"http://rebind.example:{server.server_port}/", replace(CLOSED, tries=2, timeout_s=0.2))
    assert server.asked == []


@pytest.mark.parametrize("url", ["ftp://a/b", "gs://a/b", "http://", "http://[x", "http://a b/", "http://a/\r\nX: y"])
def test_only_clean_http_urls_are_fetched(url: str) -> None:
    with pytest.raises(FetchRefusedError) as caught:
        fetch(url, OPEN)
    assert caught.value.reason == "bad_url"


def test_redirects_are_followed_and_bounded(server: Server) -> None:
    server.replies["/a"] = answer(301, Location="b?x=1")
    server.replies["/b?x=1"] = answer(200, b"text")
    server.replies["/loop"] = answer(302, Location="/loop")
    assert fetch(f"{server.url}/a", OPEN) == b"text"
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/loop", OPEN)
    assert caught.value.reason == "too_many_redirects"


def test_baseline_b8_a_404_is_no_content_and_is_not_tried_again(server: Server) -> None:
    server.replies["/gone"] = answer(404, b"<html>no</html>")
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/gone", OPEN)
    assert (caught.value.reason, server.asked) == ("not_found", ["/gone"])


def test_an_expired_signed_url_is_named_as_such(server: Server) -> None:
    server.replies["/signed"] = answer(403)
    with pytest.raises(FetchRefusedError, match="expired"):
        fetch(f"{server.url}/signed", OPEN)


def test_a_busy_server_is_tried_again_after_the_time_that_it_asks_for(server: Server) -> None:
    replies = iter([answer(503, Retry_After="1"), answer(200, b"late")])
    server.replies["/busy"] = lambda handler: next(replies)(handler)
    started = time.monotonic()
    assert fetch(f"{server.url}/busy", OPEN) == b"late"
    assert time.monotonic() - started >= 1.0


def test_a_content_over_the_limit_is_refused_before_it_is_all_read(server: Server) -> None:
    server.replies["/big"] = answer(200, b"x" * 300_000)
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/big", replace(OPEN, max_bytes=100_000))
    assert caught.value.reason == "too_large"


def test_baseline_b8_a_silent_server_is_given_up_after_the_time_limit(server: Server) -> None:
    silent = threading.Event()
    server.replies["/silent"] = lambda _: (silent.wait(20), None)[1]
    started = time.monotonic()
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/silent", replace(OPEN, timeout_s=0.3, tries=2))
    silent.set()
    assert (caught.value.reason, time.monotonic() - started < 10) == ("unreachable", True)


def test_a_content_that_comes_short_is_not_taken(server: Server) -> None:
    def short(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"only this")

    server.replies["/short"] = short
    with pytest.raises(FetchRefusedError) as caught:
        fetch(f"{server.url}/short", replace(OPEN, tries=1))
    assert caught.value.reason == "unreachable"


def test_results_come_in_the_order_of_the_items_whatever_finishes_first() -> None:
    items = list(range(200))
    found = list(in_order(lambda item: (time.sleep(0.002 * (item % 5)), item * 2)[1], items, workers=8))
    assert found == [(item, item * 2) for item in items]


def test_quick_results_keep_their_place_among_slow_ones() -> None:
    found = list(in_order(lambda item: -item, range(50), lambda item: item if item % 3 else None, workers=4))
    assert [item for item, _ in found] == list(range(50))
    assert [result for _, result in found] == [item if item % 3 else -item for item in range(50)]


class KeepAliveHandler(Handler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


def test_a_hosts_connection_is_used_again_until_the_server_closes_it(server: Server) -> None:
    server.RequestHandlerClass = KeepAliveHandler
    seen: list[object] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.client_address)
        answer(200, b"text")(handler)

    def last(handler: BaseHTTPRequestHandler) -> None:
        reply(handler)
        handler.close_connection = True  # without a word, as servers do with what idles too long

    server.replies |= {"/a": reply, "/last": last, "/gone": answer(404, b"no")}
    with connections(OPEN) as shared:
        for path in ("/a", "/a", "/last", "/a"):
            assert fetch(f"{server.url}{path}", replace(OPEN, tries=1), shared) == b"text"
        with pytest.raises(FetchRefusedError):
            fetch(f"{server.url}/gone", OPEN, shared)
        assert fetch(f"{server.url}/a", OPEN, shared) == b"text"
    first, second, third, fourth, fifth = seen
    assert first == second == third != fourth
    assert fifth != fourth  # the refused answer was not read to its end


def test_a_kept_connection_opens_no_way_to_a_refused_address(server: Server) -> None:
    server.RequestHandlerClass = KeepAliveHandler
    server.replies["/a"] = answer(200, b"text")
    with connections(OPEN) as shared, connections(CLOSED) as closed:
        assert fetch(f"{server.url}/a", OPEN, shared) == b"text"
        with pytest.raises(FetchRefusedError) as caught:
            fetch(f"{server.url}/a", CLOSED, closed)
    assert (caught.value.reason, server.asked) == ("address_refused", ["/a"])
