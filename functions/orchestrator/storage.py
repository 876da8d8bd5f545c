"""The bucket as the orchestrator uses it: small objects, created once, listed, read, deleted."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode

from orchestrator.connections import Connections, HttpAnswer, NoAnswer
from orchestrator.errors import NoBucket, Unavailable

_READERS = 8
_JSON = "application/json"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
# https://cloud.google.com/storage/docs/retry-strategy#client-libraries
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_HINTS = {
    401: "sign in: gcloud auth application-default login",
    403: "ask for the right to this bucket, or sign in as another: gcloud auth application-default login",
}


@dataclass(frozen=True)
class Listed:
    """An object's name and when it was created, by the storage server's clock."""

    name: str
    created: datetime


class ObjectStore(Protocol):
    """What the ledger and the handlers need of a bucket."""

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless it exists. True if this call created it, False if one stands there."""

    def read(self, name: str) -> bytes | None:
        """An object's content, or None."""

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """The contents of several objects at once, each None if there is no such object."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Objects whose names start with `prefix`, in the order of their names."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below a folder (which ends with a slash)."""

    def delete(self, name: str) -> None:
        """Delete an object; none there is fine."""


class Bucket:
    """A Google Cloud Storage bucket behind the ObjectStore port, through its JSON API.

    `STORAGE_EMULATOR_HOST` is honoured as Google's client does. Every call ends by its deadline, its repeats included:
    that client's would go on for two minutes, past the function's time-out.
    https://cloud.google.com/storage/docs/json_api/v1/objects
    """

    def __init__(self, bucket: str, deadline_s: float) -> None:
        self._name, self._deadline_s = quote(bucket, safe=""), deadline_s
        self._boundary = secrets.token_hex(16).encode()  # not to be guessed: a fact may carry strangers' words
        self._cached: tuple[str, Connections] | None = None

    def _server(self) -> tuple[str, Connections]:
        if self._cached is None:
            if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
                self._cached = emulator.rstrip("/"), Connections(emulator)
            else:
                import google.auth

                credentials, _ = google.auth.default(scopes=[_SCOPE])
                host = f"https://storage.{credentials.universe_domain}"
                self._cached = host, Connections(host, credentials)
        return self._cached

    def _call(self, what: str, method: str, path: str, expected: Container[int], **sent: Any) -> HttpAnswer:
        """An answer with an expected status; tried again while another try could help and there is time."""
        from google.api_core.exceptions import RetryError
        from google.api_core.retry import Retry, if_exception_type

        def attempt() -> HttpAnswer:
            host, connections = self._server()
            try:
                answer = connections.send(method, host + path, timeout_s=self._deadline_s / 2, **sent)
            except NoAnswer as error:
                raise _TryAgain(str(error)) from error
            if answer.status in _AGAIN:
                raise _TryAgain(str(answer.status))
            return answer

        retry = Retry(if_exception_type(_TryAgain), initial=0.2, maximum=2.0, timeout=self._deadline_s / 2)
        try:
            answer = retry(attempt)()
        except (RetryError, _TryAgain) as error:
            reason = error.cause if isinstance(error, RetryError) else error
            raise Unavailable(f"The bucket did not {what}: {reason}") from error
        if answer.status == 404 and 404 not in expected:
            raise NoBucket(f"There is no bucket {unquote(self._name)}", "does BUCKET (--bucket) name the right one?")
        if answer.status not in expected:
            raise Unavailable(f"The bucket did not {what}: {answer.status}", _HINTS.get(answer.status, ""))
        return answer

    def _object(self, name: str) -> str:
        return f"/storage/v1/b/{self._name}/o/{quote(name, safe='')}"

    def create(self, name: str, data: bytes) -> bool:
        """See ObjectStore. Safe to repeat: the precondition makes a second create a 412, never a second object."""
        about = json.dumps({"name": name, "contentType": _JSON}).encode()
        edge, head = b"--" + self._boundary, b"\r\nContent-Type: " + _JSON.encode() + b"\r\n\r\n"
        body = b"".join((edge, head, about, b"\r\n", edge, head, data, b"\r\n", edge, b"--\r\n"))
        path = f"/upload/storage/v1/b/{self._name}/o?uploadType=multipart&ifGenerationMatch=0&fields=generation"
        headers = {"Content-Type": f"multipart/related; boundary={self._boundary.decode()}"}
        return self._call(f"create {name}", "POST", path, {200, 412}, headers=headers, body=body).status == 200

    def read(self, name: str) -> bytes | None:
        """See ObjectStore."""
        answer = self._call(f"read {name}", "GET", f"{self._object(name)}?alt=media", {200, 404}, headers={})
        return answer.body if answer.status == 200 else None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """See ObjectStore."""
        if len(names) <= 1:
            return [self.read(name) for name in names]
        with ThreadPoolExecutor(min(_READERS, len(names))) as pool:
            return list(pool.map(self.read, names))

    def list(self, prefix: str) -> Iterator[Listed]:
        """See ObjectStore."""
        for page in self._pages(prefix, {"fields": "items(name,timeCreated),nextPageToken"}):
            for item in page.get("items", ()):
                yield Listed(item["name"], datetime.fromisoformat(item["timeCreated"]))

    def folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        for page in self._pages(prefix, {"fields": "prefixes,nextPageToken", "delimiter": "/"}):
            for folder in page.get("prefixes", ()):
                yield folder[len(prefix) :].rstrip("/")

    def _pages(self, prefix: str, options: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = urlencode({"prefix": prefix, **options, **({"pageToken": token} if token else {})})
            answer = self._call(f"list {prefix}", "GET", f"/storage/v1/b/{self._name}/o?{query}", {200}, headers={})
            try:
                page = json.loads(answer.body)
            except ValueError as error:
                raise Unavailable(f"The bucket did not list {prefix}: its answer is not JSON") from error
            yield page
            token = page.get("nextPageToken", "")
            if not token:
                return

    def delete(self, name: str) -> None:
        """See ObjectStore. Safe to repeat: an object that is gone stays gone."""
        self._call(f"delete {name}", "DELETE", self._object(name), {200, 204, 404}, headers={})


class _TryAgain(Exception):
    """No answer, or one that says to come again."""
