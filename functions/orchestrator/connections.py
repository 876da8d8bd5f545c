"""HTTP over kept connections: one pool for an instance, so that a request costs no handshake.

Google's storage client takes one or two milliseconds of processor for each call, and `requests` a third of that; this
takes a few tenths. What the environment says of proxies and certificates counts as it does for `requests`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

# Whoever sits between may forget a silent connection without telling us, and an instance may have been frozen.
_IDLE_S = 60.0
_CONNECTIONS = 32
_CHUNK = 64 * 1024


class NoAnswer(Exception):
    """A request without an answer, or whose answer was not what was asked for; its text holds no secret."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer's status and whole body."""

    status: int
    body: bytes


class Connections:
    """Connections to one server, made when first needed. Safe in threads.

    With credentials of google.auth every request carries their token. A connection that was closed while it was kept
    is replaced and the request sent once more, so every request must be safe to repeat.
    """

    def __init__(self, server: str, credentials: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._server, self._credentials, self._clock = server, credentials, clock
        self._lock = Lock()
        self._used_at = 0.0
        self._pool: Any = None
        self._http: Any = None

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeout_s: float,
        limit_bytes: int | None = None,
    ) -> HttpAnswer:
        """The answer, whatever its status; raises NoAnswer if there is none within `timeout_s`, trickle included, or
        if its body is over the limit."""
        import urllib3
        from google.auth.exceptions import GoogleAuthError

        deadline = self._clock() + timeout_s
        for attempt in (1, 2):
            try:
                return self._send(method, url, headers, body, deadline, limit_bytes)
            except urllib3.exceptions.ProtocolError as error:
                if attempt == 2 or self._clock() >= deadline:
                    raise NoAnswer(type(error).__name__) from error
            except (urllib3.exceptions.HTTPError, GoogleAuthError) as error:
                raise NoAnswer(type(error).__name__) from error
        raise AssertionError("the second attempt returns or raises")

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: float,
        limit_bytes: int | None,
    ) -> HttpAnswer:
        left_s = max(0.001, deadline - self._clock())
        options = {"timeout": left_s, "retries": False, "redirect": False, "preload_content": False}
        answer = self._client().urlopen(method, url, body=body, headers=dict(headers), **options)
        content = bytearray()
        try:
            while chunk := answer.read1(_CHUNK):
                content += chunk
                if self._clock() > deadline:
                    raise NoAnswer("its answer takes too long")
                if limit_bytes is not None and len(content) > limit_bytes:
                    raise NoAnswer("its answer is too large")
        except BaseException:
            answer.close()  # the rest of the answer is still on its way
            raise
        answer.release_conn()
        return HttpAnswer(answer.status, bytes(content))

    def _client(self) -> Any:
        now = self._clock()
        with self._lock:
            if self._http is None:
                self._pool = _pool(self._server)
                self._http = self._pool if self._credentials is None else _authorized(self._credentials, self._pool)
            elif now - self._used_at > _IDLE_S:
                self._pool.clear()
            self._used_at = now
            return self._http


def _authorized(credentials: Any, pool: Any) -> Any:
    from google.auth.transport.urllib3 import AuthorizedHttp

    return AuthorizedHttp(credentials, http=pool)


def _pool(server: str) -> Any:
    import certifi
    import urllib3
    from requests.utils import get_environ_proxies, select_proxy

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    proxy = select_proxy(server, get_environ_proxies(server))
    if proxy:
        return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS, ca_certs=bundle)
    return urllib3.PoolManager(maxsize=_CONNECTIONS, ca_certs=bundle)
