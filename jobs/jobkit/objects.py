"""Many small requests of Cloud Storage's JSON API over kept connections, for jobs that move a million objects.

Google's client takes a millisecond or two of processor for each call and makes two calls where one would do; this one
knows three requests. Addresses, credentials and the emulator are the client's own.
https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import json
import secrets
import time
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import quote

import urllib3
from google.auth.transport.requests import Request
from google.cloud.storage import Client

from jobkit.errors import BadConfiguration, PermissionRefused, Transient
from jobkit.storage import split_uri

TIMEOUT_S = 60.0
PATIENCE_S = 180.0  # how long one request may be tried again
CONNECTIONS = 64
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
# Cloud Storage takes no earlier time than the one that stands: somebody else marked the object a moment later.
_LATER_MARK = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT})


class Objects:
    """Reads, creates and marks objects. Safe in threads; all that it does is safe to repeat.

    `customTime` of an object says when a run last used it: the bucket's lifecycle counts from there.
    """

    def __init__(self, client: Client) -> None:
        self._credentials = client._credentials
        self._host = client.api_endpoint.rstrip("/")
        self._renewal = Request()  # of tokens that expire
        self._boundary = secrets.token_hex(16).encode()  # not to be guessed: the contents are strangers'
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=TIMEOUT_S, retries=False)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()
        self._renewal.session.close()

    def read(self, uri: str) -> bytes | None:
        """The object's bytes; None where it is not there."""
        status, data = self._send("GET", f"{self._named(uri)}?alt=media", uri)
        return data if status == HTTPStatus.OK else None

    def write(self, uri: str, data: bytes, content_type: str, used: datetime, *, replace: bool = False) -> bool:
        """Makes the object, marked as used then; False, and nothing changed, where it is there and not to be
        replaced."""
        bucket, name = split_uri(uri)
        described = {"name": name, "contentType": content_type, "customTime": _rfc3339(used)}
        edge = b"--" + self._boundary
        body = b"".join(
            (
                *(edge, b"\r\nContent-Type: application/json\r\n\r\n", json.dumps(described).encode(), b"\r\n"),
                *(edge, b"\r\nContent-Type: ", content_type.encode(), b"\r\n\r\n", data, b"\r\n"),
                *(edge, b"--\r\n"),
            )
        )
        condition = "" if replace else "&ifGenerationMatch=0"
        url = f"{self._host}/upload/storage/v1/b/{bucket}/o?uploadType=multipart{condition}&fields=generation"
        kind = f"multipart/related; boundary={self._boundary.decode()}"
        return self._send("POST", url, uri, body, kind)[0] == HTTPStatus.OK

    def mark(self, uri: str, used: datetime) -> bool:
        """Notes that a run uses the object; False where it is not there."""
        body = json.dumps({"customTime": _rfc3339(used)}).encode()
        url = f"{self._named(uri)}?fields=customTime"
        return self._send("PATCH", url, uri, body, "application/json")[0] != HTTPStatus.NOT_FOUND

    def _named(self, uri: str) -> str:
        bucket, name = split_uri(uri)
        return f"{self._host}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"

    def _send(
        self, method: str, url: str, uri: str, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        """(status, body): 200, 404, or a status that says that the object stays as it is. Else raises our errors."""
        deadline = time.monotonic() + PATIENCE_S
        pause_s = 0.5
        while True:
            headers = {"Content-Type": content_type} if content_type else {}
            self._credentials.before_request(self._renewal, method, url, headers)
            try:
                answer = self._pool.request(method, url, body=body, headers=headers)
            except urllib3.exceptions.HTTPError as error:
                status, reason = 503, type(error).__name__
            else:
                status, reason = answer.status, f"it answered {answer.status}"
                if status not in _AGAIN:
                    return _judged(method, uri, status), answer.data
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


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
