"""The bucket as the orchestrator uses it: small objects, created once, listed, read, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from orchestrator.errors import Unavailable

_READERS = 8


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
    """A Google Cloud Storage bucket behind the ObjectStore port.

    `STORAGE_EMULATOR_HOST` is honoured by the client itself. Every call ends by its deadline: the client's own
    retries would go on for two minutes, past the function's time-out.
    """

    def __init__(self, project: str, bucket: str, deadline_s: float) -> None:
        self._project, self._name, self._deadline_s = project, bucket, deadline_s
        self._cached: Any = None

    def _bucket(self) -> Any:
        if self._cached is None:
            import os

            from google.auth.credentials import AnonymousCredentials
            from google.cloud.storage import Client

            local = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
            client = Client(project=self._project, credentials=AnonymousCredentials() if local else None)
            self._cached = client.bucket(self._name)
        return self._cached

    def _call(self, what: str, call: Callable[[dict[str, Any]], Any]) -> Any:
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import TransportError
        from google.cloud.storage.retry import DEFAULT_RETRY

        options = {"timeout": self._deadline_s / 2, "retry": DEFAULT_RETRY.with_timeout(self._deadline_s / 2)}
        try:
            return call(options)
        except (exceptions.NotFound, exceptions.PreconditionFailed):
            raise
        except (exceptions.GoogleAPIError, requests.RequestException, TransportError, ConnectionError) as error:
            raise Unavailable(f"The bucket did not {what}: {type(error).__name__}") from error

    def create(self, name: str, data: bytes) -> bool:
        """See ObjectStore. Safe to repeat: the precondition makes a second create a 412, never a second object."""
        from google.api_core import exceptions

        blob = self._bucket().blob(name)
        try:
            self._call(
                f"create {name}",
                lambda options: blob.upload_from_string(
                    data, content_type="application/json", if_generation_match=0, **options
                ),
            )
        except exceptions.PreconditionFailed:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """See ObjectStore."""
        from google.api_core import exceptions

        blob = self._bucket().blob(name)
        try:
            return self._call(f"read {name}", lambda options: blob.download_as_bytes(**options))  # type: ignore[no-any-return]
        except exceptions.NotFound:
            return None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """See ObjectStore."""
        if len(names) <= 1:
            return [self.read(name) for name in names]
        with ThreadPoolExecutor(min(_READERS, len(names))) as pool:
            return list(pool.map(self.read, names))

    def list(self, prefix: str) -> Iterator[Listed]:
        """See ObjectStore."""
        fields = "items(name,timeCreated),nextPageToken"
        blobs = self._call(
            f"list {prefix}",
            lambda options: list(self._bucket().client.list_blobs(self._name, prefix=prefix, fields=fields, **options)),
        )
        for blob in blobs:
            yield Listed(blob.name, blob.time_created)

    def folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""

        def walk(options: dict[str, Any]) -> list[str]:
            pages = self._bucket().client.list_blobs(self._name, prefix=prefix, delimiter="/", **options)
            for _ in pages:
                pass
            return sorted(pages.prefixes)

        for folder in self._call(f"list {prefix}", walk):
            yield folder[len(prefix) :].rstrip("/")

    def delete(self, name: str) -> None:
        """See ObjectStore. Safe to repeat: an object that is gone stays gone."""
        from google.api_core import exceptions

        try:
            self._call(f"delete {name}", lambda options: self._bucket().blob(name).delete(**options))
        except exceptions.NotFound:
            return
