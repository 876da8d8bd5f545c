"""The one room that fetches what a data row's URL names. Rows come from strangers, so an URL is a request to attack us.

http and https only, to addresses that jobkit.connections has checked, again at each redirect; with bounds on size,
time, redirects and tries.
"""

import http.client
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from jobkit.connections import AddressRefusedError, Connections, Origin, UnresolvedError

MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 15.0  # one read or connect
DEADLINE_S = 60.0  # one content, with all its redirects and tries
MAX_REDIRECTS = 5
TRIES = 3
WORKERS = 16
MAX_RETRY_AFTER_S = 20.0
ACCESS_DENIED = "access_denied"
_BLOCK = 256 * 1024
_HEADERS = {"User-Agent": "labelbox-model-training", "Accept-Encoding": "identity"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DENIED = frozenset({400, 401, 403})  # 400 is what Cloud Storage answers to an expired signature
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

T = TypeVar("T")
R = TypeVar("R")


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


def connections(rules: FetchRules) -> Connections:
    """Connections by these rules, to be shared by many fetches."""
    return Connections(allow_private=rules.allow_private, timeout_s=rules.timeout_s)


def fetch(url: str, rules: FetchRules, shared: Connections | None = None) -> bytes:
    """The content behind an URL; FetchRefusedError says why there is none. Only GETs, so safe to repeat.

    With `shared`, made by `connections` of the same rules, a host's connections are used again.
    """
    if shared is None:
        with connections(rules) as own:
            return fetch(url, rules, own)
    deadline = time.monotonic() + rules.deadline_s
    for attempt in range(1, rules.tries + 1):
        try:
            return _follow(url, rules, shared, deadline)
        except _AgainError as error:
            pause_s = max(error.pause_s, 0.5 * 2 ** (attempt - 1))
            if attempt == rules.tries or time.monotonic() + pause_s > deadline:
                raise FetchRefusedError("unreachable", str(error)) from error
            time.sleep(pause_s)
    raise AssertionError("the last try either returns or raises")


def _follow(url: str, rules: FetchRules, shared: Connections, deadline: float) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        answer = _get(url, rules, shared, deadline)
        if isinstance(answer, bytes):
            return answer
        try:
            url = urljoin(url, answer)
        except ValueError as error:
            raise FetchRefusedError("bad_url", "the redirect's URL cannot be read") from error
    raise FetchRefusedError("too_many_redirects", f"more than {MAX_REDIRECTS} redirects")


def _get(url: str, rules: FetchRules, shared: Connections, deadline: float) -> bytes | str:
    """The content, or the address that the answer redirects to."""
    origin, path = _target(url)
    try:
        connection, answer = _asked(origin, path, shared)
    except AddressRefusedError as error:
        raise FetchRefusedError("address_refused", str(error)) from error
    except UnresolvedError as error:
        raise _AgainError(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(f"the connection failed ({type(error).__name__})") from error
    whole = False
    try:
        with answer:
            outcome = _outcome(answer, rules, deadline)
            whole = (answer.length == 0 or answer.isclosed()) and not answer.will_close
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(f"the connection failed ({type(error).__name__})") from error
    finally:
        if whole:
            shared.keep(origin, connection)
        else:
            connection.close()
    return outcome


def _asked(
    origin: Origin, path: str, shared: Connections
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """The answer's head. A kept connection that the server has closed meanwhile costs no try."""
    kept = shared.idle(origin)
    if kept is not None:
        try:
            return kept, _head(kept, path)
        except (ConnectionError, http.client.BadStatusLine):
            pass
    connection = shared.fresh(origin)
    return connection, _head(connection, path)


def _head(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    try:
        connection.request("GET", path, headers=_HEADERS)
        return connection.getresponse()
    except BaseException:
        connection.close()
        raise


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


def _target(url: str) -> tuple[Origin, str]:
    """Whom to ask, and for which path."""
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
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = path.encode("utf-8", "replace").decode("latin-1") if not path.isascii() else path
    return Origin(secure, host, port or (443 if secure else 80)), _quoted(path)


def _quoted(path: str) -> str:
    if path.isascii() and "\x7f" not in path:
        return path
    return "".join(f"%{byte:02X}" if byte > 126 else chr(byte) for byte in path.encode("latin-1"))


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
