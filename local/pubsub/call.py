"""One HTTP POST that another thread can cut off."""

import http.client
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

_BODY_BYTES = 64 * 1024


class PushCall:
    """A POST to an endpoint, on a connection of its own."""

    def __init__(self, endpoint: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
        parts = urlsplit(endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc, timeout=timeout_s)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._body = body
        self._headers = headers
        self._lock = threading.Lock()
        self._aborted = False

    def send(self) -> int:
        """The status of the answer; raises OSError or http.client.HTTPException when there is none in time."""
        try:
            self._connection.connect()
            with self._lock:
                if self._aborted:
                    raise ConnectionAbortedError("cut off")
            self._connection.request("POST", self._path, self._body, dict(self._headers))
            response = self._connection.getresponse()
            with suppress(OSError, http.client.HTTPException):
                # Unread bytes would reset the connection under the endpoint's last write.
                response.read(_BODY_BYTES)
            return response.status
        finally:
            with self._lock:
                self._aborted = True
                self._connection.close()

    def abort(self) -> None:
        """Cuts the connection, so that send() ends at once; what answers later is not heard."""
        with self._lock:
            if not self._aborted and self._connection.sock is not None:
                with suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
            self._aborted = True
