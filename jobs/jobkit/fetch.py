"""The one room that fetches what a data row's URL names. Rows come from strangers, so an URL is a request to attack us.

http and https only. A host's addresses are resolved once, checked, and the connection goes to the checked address
itself, so a name cannot change its meaning in between; each redirect is checked again. Refused: loopback, private,
link-local (the metadata server), multicast and reserved addresses, in whatever form they are written. With
`allow_private` loopback and private networks are open; link-local stays closed.
"""

import http.client
import ipaddress
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 15.0  # one read or connect
DEADLINE_S = 60.0  # one content, with all its redirects and tries
MAX_REDIRECTS = 5
TRIES = 3
WORKERS = 16
MAX_RETRY_AFTER_S = 20.0
ACCESS_DENIED = "access_denied"
_BLOCK = 64 * 1024
_HEADERS = {"User-Agent": "labelbox-model-training", "Accept-Encoding": "identity"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DENIED = frozenset({400, 401, 403})  # 400 is what Cloud Storage answers to an expired signature
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

T = TypeVar("T")
R = TypeVar("R")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchRefusedError(Exception):
    """A content that will not be had. `reason` is a fixed word for counting, the message says it in full."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class _AgainError(Exception):
    """A failure that another try may mend."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        super().__init__(message)


@dataclass(frozen=True)
class FetchRules:
    """What a fetch may do."""

    allow_private: bool = False
    max_bytes: int = MAX_BYTES
    timeout_s: float = TIMEOUT_S
    deadline_s: float = DEADLINE_S
    tries: int = TRIES

    @classmethod
    def from_environment(cls, max_bytes: int = MAX_BYTES) -> "FetchRules":
        """The deployment's rules: ALLOW_PRIVATE_ADDRESSES opens private networks."""
        return cls(allow_private=os.environ.get("ALLOW_PRIVATE_ADDRESSES", "").lower() == "true", max_bytes=max_bytes)


def fetch(url: str, rules: FetchRules) -> bytes:
    """The content behind an URL; FetchRefusedError says why there is none. Only GETs, so safe to repeat."""
    deadline = time.monotonic() + rules.deadline_s
    for attempt in range(1, rules.tries + 1):
        try:
            return _follow(url, rules, deadline)
        except _AgainError as error:
            pause_s = max(error.pause_s, 0.5 * 2 ** (attempt - 1))
            if attempt == rules.tries or time.monotonic() + pause_s > deadline:
                raise FetchRefusedError("unreachable", str(error)) from error
            time.sleep(pause_s)
    raise AssertionError("the last try either returns or raises")


def _follow(url: str, rules: FetchRules, deadline: float) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        answer = _get(url, rules, deadline)
        if isinstance(answer, bytes):
            return answer
        try:
            url = urljoin(url, answer)
        except ValueError as error:
            raise FetchRefusedError("bad_url", "the redirect's URL cannot be read") from error
    raise FetchRefusedError("too_many_redirects", f"more than {MAX_REDIRECTS} redirects")


def _get(url: str, rules: FetchRules, deadline: float) -> bytes | str:
    """The content, or the address that the answer redirects to."""
    connection, path = _connection(url, rules)
    try:
        connection.request("GET", path, headers=_HEADERS)
        with connection.getresponse() as answer:
            return _outcome(answer, rules, deadline)
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(f"the connection failed ({type(error).__name__})") from error
    finally:
        connection.close()


def _outcome(answer: http.client.HTTPResponse, rules: FetchRules, deadline: float) -> bytes | str:
    """What an answer means; see _get."""
    if answer.status in _REDIRECTS:
        target = answer.getheader("Location")
        if not target:
            raise FetchRefusedError("bad_answer", f"a redirect ({answer.status}) without a target")
        return target
    if answer.status in _AGAIN:
        raise _AgainError(f"the server answered {answer.status}", _retry_after(answer.getheader("Retry-After")))
    if answer.status in _DENIED:
        raise FetchRefusedError(ACCESS_DENIED, f"the server answered {answer.status}; a signed URL may be expired")
    if answer.status != http.client.OK:
        raise FetchRefusedError("not_found", f"the server answered {answer.status}")
    return _body(answer, rules, deadline)


def _body(answer: http.client.HTTPResponse, rules: FetchRules, deadline: float) -> bytes:
    blocks = []
    size = 0
    while block := answer.read1(_BLOCK):
        size += len(block)
        if size > rules.max_bytes:
            raise FetchRefusedError("too_large", f"more than {rules.max_bytes} bytes")
        if time.monotonic() > deadline:
            raise FetchRefusedError("too_slow", f"not whole within {rules.deadline_s:.0f} s")
        blocks.append(block)
    if answer.length:
        raise _AgainError("the content came short")
    return b"".join(blocks)


def _retry_after(value: str | None) -> float:
    """Seconds that the server asks us to wait (a number or a date), bounded."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)  # "nan" gives 0: it is larger than nothing


def _connection(url: str, rules: FetchRules) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise FetchRefusedError("bad_url", "the URL cannot be read") from error
    if parts.scheme not in ("http", "https") or not host:
        raise FetchRefusedError("bad_url", "only http and https URLs are fetched")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise FetchRefusedError("bad_url", "the URL holds spaces or control characters")
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    address = _checked_address(host, port, rules)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = path.encode("utf-8", "replace").decode("latin-1") if not path.isascii() else path
    kind = _PinnedHttps if secure else _PinnedHttp
    return kind(host, port, address, rules.timeout_s), _quoted(path)


def _quoted(path: str) -> str:
    return "".join(f"%{byte:02X}" if byte > 126 else chr(byte) for byte in path.encode("latin-1"))


def _checked_address(host: str, port: int, rules: FetchRules) -> str:
    """One address of the host, after all of them were checked."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _AgainError("the host's name cannot be resolved") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if not is_allowed(ipaddress.ip_address(address), rules.allow_private):
            raise FetchRefusedError("address_refused", "the URL points to an address that is not public")
    if not addresses:
        raise _AgainError("the host's name has no address")
    return addresses[0]


def is_allowed(address: Address, allow_private: bool) -> bool:
    """Whether a fetch may go there; an IPv4 address inside an IPv6 one is judged as what it is."""
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, allow_private)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_global:
        return True
    return allow_private and (address.is_loopback or address.is_private)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside a mapped, 6to4, NAT64 (64:ff9b::/96) or IPv4-compatible IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and int(address) >> 32 in (0x0064FF9B << 64, 0) and int(address) > 1:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _PinnedHttp(http.client.HTTPConnection):
    """Connects to an address that was checked, while Host stays the name."""

    def __init__(self, host: str, port: int, address: str, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHttps(_PinnedHttp):
    """The same over TLS; the certificate must be the name's."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = _tls().wrap_socket(self.sock, server_hostname=self.host)


def in_order(
    work: Callable[[T], R], items: Iterable[T], quick: Callable[[T], R | None] = lambda _: None, workers: int = WORKERS
) -> Iterator[tuple[T, R]]:
    """(item, work(item)) in the items' order, with a bounded pool and a bounded number of items in the air.

    `quick` gives the result of an item that needs no waiting, and None for the others. Neither may raise for one bad
    item: its failure would stop the others.
    """
    waiting: deque[tuple[T, R | None, Future[R] | None]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fetch") as pool:
        for item in items:
            result = quick(item)
            if result is not None and not waiting:
                yield item, result
                continue
            waiting.append((item, result, None if result is not None else pool.submit(work, item)))
            if len(waiting) >= workers * 4:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _finished(item: T, result: R | None, future: Future[R] | None) -> tuple[T, R]:
    if result is None:
        assert future is not None
        return item, future.result()
    return item, result
