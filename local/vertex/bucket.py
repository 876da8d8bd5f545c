"""The stand-in's use of Cloud Storage, through the real client (STORAGE_EMULATOR_HOST says where)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from google.api_core.exceptions import Conflict, NotFound
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY

TIMEOUT_S = 30.0
RETRY = DEFAULT_RETRY.with_timeout(TIMEOUT_S)  # the default goes on for two minutes
READERS = 4


@dataclass(frozen=True)
class ObjectFacts:
    """One object: its size, a hash of its bytes, and its first bytes if asked for."""

    size_bytes: int
    digest: str
    head: bytes = b""


class Buckets:
    """Reads the users' buckets and keeps what is the stand-in's own in `<project>-vertex-internal`."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._internal = f"{project}-vertex-internal"
        self._lock = threading.Lock()
        self._opened: Client | None = None
        self._has_internal = False

    def internal(self, path: str) -> str:
        """Return the uri of an object of the stand-in's own; its bucket is made at the first use."""
        with self._lock:
            if not self._has_internal:
                with suppress(Conflict):  # made by an earlier start
                    self._client().create_bucket(self._internal, retry=None)
                self._has_internal = True
        return f"gs://{self._internal}/{path}"

    def read_text(self, uri: str) -> str | None:
        """Return an object's text, or None when there is no such object or bucket."""
        try:
            content: bytes = self._blob(uri).download_as_bytes(retry=RETRY, timeout=TIMEOUT_S)
        except NotFound:
            return None
        return content.decode()

    def write_text(self, uri: str, text: str, content_type: str = "application/jsonl") -> None:
        """Write an object whole."""
        self._blob(uri).upload_from_string(text, content_type=content_type, retry=RETRY, timeout=TIMEOUT_S)

    def under(self, prefix_uri: str) -> Iterator[str]:
        """Yield the uris of all objects whose names begin so, in order."""
        bucket, _, prefix = prefix_uri.removeprefix("gs://").partition("/")
        for blob in self._locked_client().list_blobs(bucket, prefix=prefix, retry=RETRY, timeout=TIMEOUT_S):
            yield f"gs://{bucket}/{blob.name}"

    def facts(self, uri: str, head_bytes: int = 0) -> ObjectFacts | None:
        """Return an object's size, hash and first bytes; None when there is no such object or bucket."""
        blob = self._blob(uri)
        try:
            blob.reload(retry=RETRY, timeout=TIMEOUT_S)
            head = b""
            if head_bytes and blob.size:
                head = blob.download_as_bytes(
                    start=0, end=head_bytes - 1, raw_download=True, checksum=None, retry=RETRY
                )
        except NotFound:
            return None
        return ObjectFacts(int(blob.size or 0), blob.md5_hash or f"crc32c:{blob.crc32c}:{blob.size}", head)

    def facts_of(self, uris: list[str], head_bytes: int = 0) -> dict[str, ObjectFacts | None]:
        """Return the facts of many objects."""
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            return dict(zip(uris, pool.map(lambda uri: self.facts(uri, head_bytes), uris), strict=True))

    def close(self) -> None:
        """Close the client's connections."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _blob(self, uri: str) -> Any:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return self._locked_client().bucket(bucket).blob(name)

    def _locked_client(self) -> Client:
        with self._lock:
            return self._client()

    def _client(self) -> Client:
        if self._opened is None:
            self._opened = Client(project=self._project)
        return self._opened
