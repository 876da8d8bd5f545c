"""Many small requests of Cloud Storage's JSON API over kept connections, for jobs that move a million objects.

Google's client takes a millisecond or two of processor for each call and makes two calls where one would do; this one
knows four requests, over the standard library's connections: urllib3 took half of what a thread did for an image.
Addresses, credentials and the emulator are the client's own.
https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import http.client
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

from google.auth.transport.requests import Request
from google.cloud.storage import Client

from jobkit.errors import BadConfiguration, PermissionRefused, Transient
from jobkit.storage import split_uri

TIMEOUT_S = 60.0
PATIENCE_S = 180.0  # how long one request may be tried again
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
# Cloud Storage takes no earlier time than the one that stands: somebody else marked the object a moment later.
_LATER_MARK = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT})


class _Service:
    """Connections to one service of ours, kept between requests. Safe in threads; as many as ask at the same time."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._secure = parts.scheme == "https"
        self._host = parts.netloc
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._idle: deque[http.client.HTTPConnection] = deque()

    def close(self) -> None:
        """Closes what idles."""
        while self._idle:
            self._idle.pop().close()

    def ask(self, method: str, url: str, headers: Mapping[str, str], parts: Sequence[bytes]) -> tuple[int, bytes]:
        """(status, body) of a request that is safe to repeat; OSError and HTTPException where no answer came.

        A kept connection that the service has closed meanwhile is no failure: the next one is taken. The whole request
        is one buffer and so one call of the system: there are many threads, and each call changes which of them runs.
        """
        lines = [f"{method} {url.removeprefix(self._origin)} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if parts:
            lines.append(f"Content-Length: {sum(map(len, parts))}")
        lines += ["Accept-Encoding: identity", "", ""]
        request = b"".join(("\r\n".join(lines).encode("ascii"), *parts))
        while True:
            try:
                kept = self._idle.pop()
            except IndexError:
                return self._asked(self._fresh(), method, request)
            try:
                return self._asked(kept, method, request)
            except (ConnectionError, http.client.BadStatusLine):
                continue

    def _fresh(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, timeout=TIMEOUT_S)
        connection.connect()
        return connection

    def _asked(self, connection: http.client.HTTPConnection, method: str, request: bytes) -> tuple[int, bytes]:
        try:
            connection.sock.sendall(request)
            with http.client.HTTPResponse(connection.sock, method=method) as answer:
                answer.begin()
                data = answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer.status, data


class Objects:
    """Reads, lists, creates and marks objects. Safe in threads; all that it does is safe to repeat.

    `customTime` of an object says when a run last used it: the bucket's lifecycle counts from there.
    """

    def __init__(self, client: Client) -> None:
        self._credentials = client._credentials
        self._host = client.api_endpoint.rstrip("/")
        self._renewal = Request()  # of tokens that expire
        self._boundary = secrets.token_hex(16).encode()  # not to be guessed: the contents are strangers'
        self._service = _Service(self._host)

    def close(self) -> None:
        """Closes the connections."""
        self._service.close()
        self._renewal.session.close()

    def read(self, uri: str) -> bytes | None:
        """The object's bytes; None where it is not there."""
        status, data = self._send("GET", f"{self._named(uri)}?alt=media", uri)
        return data if status == HTTPStatus.OK else None

    def page(self, folder_uri: str, token: str = "") -> tuple[list[str], str]:
        """(names inside the folder in their order, the next page's token), from the start or from a token on."""
        bucket, prefix = _bucket_and_name(f"{folder_uri}/")
        asked = {"prefix": prefix, "fields": "items(name),nextPageToken", **({"pageToken": token} if token else {})}
        url = f"{self._host}/storage/v1/b/{bucket}/o?{urlencode(asked)}"
        status, data = self._send("GET", url, folder_uri)
        if status == HTTPStatus.NOT_FOUND:
            raise BadConfiguration(f"The bucket of {folder_uri} does not exist.")
        answer = json.loads(data)
        names = [item["name"].removeprefix(prefix) for item in answer.get("items", ())]
        return names, answer.get("nextPageToken", "")

    def write(self, uri: str, data: bytes, content_type: str, used: datetime, *, replace: bool = False) -> bool:
        """Makes the object, marked as used then; False, and nothing changed, where it is there and not to be
        replaced."""
        bucket, name = _bucket_and_name(uri)
        described = {"name": name, "contentType": content_type, "customTime": _rfc3339(used)}
        edge = b"--" + self._boundary
        body = (
            *(edge, b"\r\nContent-Type: application/json\r\n\r\n", json.dumps(described).encode(), b"\r\n"),
            *(edge, b"\r\nContent-Type: ", content_type.encode(), b"\r\n\r\n", data, b"\r\n"),
            *(edge, b"--\r\n"),
        )
        condition = "" if replace else "&ifGenerationMatch=0"
        url = f"{self._host}/upload/storage/v1/b/{bucket}/o?uploadType=multipart{condition}&fields=generation"
        kind = f"multipart/related; boundary={self._boundary.decode()}"
        return self._send("POST", url, uri, kind, body)[0] == HTTPStatus.OK

    def mark(self, uri: str, used: datetime) -> bool:
        """Notes that a run uses the object; False where it is not there."""
        body = json.dumps({"customTime": _rfc3339(used)}).encode()
        url = f"{self._named(uri)}?fields=customTime"
        return self._send("PATCH", url, uri, "application/json", [body])[0] != HTTPStatus.NOT_FOUND

    def _named(self, uri: str) -> str:
        bucket, name = _bucket_and_name(uri)
        return f"{self._host}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"

    def _send(
        self, method: str, url: str, uri: str, content_type: str = "", parts: Sequence[bytes] = ()
    ) -> tuple[int, bytes]:
        """(status, body): 200, 404, or a status that says that the object stays as it is. Else raises our errors."""
        deadline = time.monotonic() + PATIENCE_S
        pause_s = 0.5
        while True:
            headers = {"Content-Type": content_type} if content_type else {}
            self._credentials.before_request(self._renewal, method, url, headers)
            try:
                status, data = self._service.ask(method, url, headers, parts)
                reason = f"it answered {status}"
            except (OSError, http.client.HTTPException) as error:
                status, data, reason = HTTPStatus.SERVICE_UNAVAILABLE, b"", type(error).__name__
            if status not in _AGAIN:
                return _judged(method, uri, status), data
            if time.monotonic() + pause_s > deadline:
                raise Transient(f"Cloud Storage did not answer for {uri} ({reason}).")
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 16.0)


def _judged(method: str, uri: str, status: int) -> int:
    """The status, if the caller can go on with it."""
    if status in _REFUSED:
        hint = "Grant the job's service account access to the bucket."
        raise PermissionRefused(f"The job's account may not use {uri}.", hint)
    if method == "POST" and status == HTTPStatus.NOT_FOUND:
        raise BadConfiguration(f"The bucket of {uri} does not exist.")
    expected = {
        "GET": {HTTPStatus.OK, HTTPStatus.NOT_FOUND},
        "POST": {HTTPStatus.OK, HTTPStatus.PRECONDITION_FAILED},
        "PATCH": {HTTPStatus.OK, HTTPStatus.NOT_FOUND} | _LATER_MARK,
    }
    if status not in expected[method]:
        raise Transient(f"Cloud Storage answered {status} for {uri}.")
    return status


def _bucket_and_name(uri: str) -> tuple[str, str]:
    """The bucket as a part of an URL, and the name as it is."""
    bucket, name = split_uri(uri)
    return quote(bucket, safe=""), name


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
