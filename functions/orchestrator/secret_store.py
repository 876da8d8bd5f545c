"""Secrets: from the environment, or from Secret Manager with a short cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

from orchestrator.errors import Unavailable

_FRESH_S = 300.0
_REFETCH_S = 30.0


class SecretReader(Protocol):
    """Reads versions of one secret."""

    def read(self, version: str) -> tuple[int, str] | None:
        """Number and value of a version (`latest` or a number); None if it is disabled, destroyed or missing."""


class FixedSecret:
    """A secret given by an environment variable."""

    def __init__(self, value: str) -> None:
        self._value = value

    def current(self, *, fresh: bool = False) -> str:
        """The value."""
        return self._value

    def accepted(self, *, fresh: bool = False) -> tuple[str, ...]:
        """Values that a caller may have used."""
        return (self._value,)


class RotatingSecret:
    """A secret in Secret Manager: `latest` is used, and the version before it is accepted while it is enabled.

    Rotating is: add a version, switch the other side, disable the old version. Values are kept for five minutes;
    `fresh` reads again, but at most once in 30 s, so that a flood of bad signatures costs no flood of reads.
    """

    def __init__(self, reader: SecretReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock, self._lock = reader, clock, Lock()
        self._values: tuple[str, ...] = ()
        self._read_at = float("-inf")

    def accepted(self, *, fresh: bool = False) -> tuple[str, ...]:
        """The newest value first, then the one before it if that is still enabled."""
        with self._lock:
            age = self._clock() - self._read_at
            if not self._values or age > _FRESH_S or (fresh and age > _REFETCH_S):
                self._values = self._fetch()
                self._read_at = self._clock()
            return self._values

    def current(self, *, fresh: bool = False) -> str:
        """The newest value; raises Unavailable if the secret has no enabled version."""
        values = self.accepted(fresh=fresh)
        if not values:
            raise Unavailable("A secret has no enabled version", "add one: gcloud secrets versions add")
        return values[0]

    def _fetch(self) -> tuple[str, ...]:
        latest = self._reader.read("latest")
        if latest is None:
            return ()
        number, value = latest
        before = self._reader.read(str(number - 1)) if number > 1 else None
        return (value, before[1]) if before else (value,)


class SecretManagerReader:
    """Versions of one secret, read through Secret Manager's AccessSecretVersion (listing needs more rights)."""

    def __init__(self, project: str, secret: str, endpoint: str, deadline_s: float) -> None:
        self._name = f"projects/{project}/secrets/{secret}/versions/"
        self._endpoint, self._deadline_s = endpoint, deadline_s
        self._cached: Any = None

    def _client(self) -> Any:
        if self._cached is None:
            from google.cloud import secretmanager_v1

            if self._endpoint.startswith("http://"):
                import grpc
                from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
                    SecretManagerServiceGrpcTransport,
                )

                channel = grpc.insecure_channel(self._endpoint.removeprefix("http://"))
                transport = SecretManagerServiceGrpcTransport(channel=channel)
                self._cached = secretmanager_v1.SecretManagerServiceClient(transport=transport)
            else:
                self._cached = secretmanager_v1.SecretManagerServiceClient()
        return self._cached

    def read(self, version: str) -> tuple[int, str] | None:
        """See SecretReader. Raises Unavailable if Secret Manager does not answer or refuses us."""
        from google.api_core import exceptions

        try:
            answer = self._client().access_secret_version(
                request={"name": self._name + version}, timeout=self._deadline_s, retry=None
            )
        except (exceptions.NotFound, exceptions.FailedPrecondition):
            return None
        except exceptions.GoogleAPIError as error:
            raise Unavailable(f"Secret Manager did not give a secret: {type(error).__name__}") from error
        return int(answer.name.rsplit("/", 1)[1]), answer.payload.data.decode().strip()


Secret = FixedSecret | RotatingSecret
