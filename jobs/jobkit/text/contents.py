"""The text of a data row: inline, behind an http(s) URL, or in a bucket that the deployment names."""

import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from jobkit.errors import JobError
from jobkit.export import ExportRow
from jobkit.fetch import ACCESS_DENIED, FetchRefusedError, FetchRules, fetch
from jobkit.renewal import FreshUrls
from jobkit.storage import Storage, split_uri

MAX_BYTES = 1024 * 1024  # Labelbox's own limit for inline text is 64K characters
_ADDRESS = re.compile(r"(https?|gs|s3|wasbs?|abfss?|azure)://\S+", re.IGNORECASE)
_STORAGE_HOSTS = ("storage.googleapis.com", "storage.cloud.google.com")


class Content(NamedTuple):  # one is made for each row: a third of a dataclass's time
    """A row's text, or why there is none (`reason` counts, `detail` explains)."""

    text: str = ""
    reason: str = ""
    detail: str = ""


def buckets_from_environment() -> frozenset[str]:
    """DATA_BUCKETS: the buckets that jobs may read with their own credentials (comma list)."""
    return frozenset(name.strip() for name in os.environ.get("DATA_BUCKETS", "").split(",") if name.strip())


class TextReader:
    """Reads the texts of rows. Safe in threads."""

    def __init__(
        self, storage: Storage, rules: FetchRules, buckets: frozenset[str], fresh: FreshUrls | None = None
    ) -> None:
        """`fresh` gives rows whose signed URL is refused another one."""
        self._storage = storage
        self._rules = rules
        self._buckets = buckets
        self._fresh = fresh

    def quick(self, row: ExportRow) -> Content | None:
        """The content that needs no waiting; None when it must be fetched."""
        if row.problem:
            return Content(reason="unreadable_row", detail=row.problem)
        return None if _ADDRESS.fullmatch(row.row_data.strip()) else checked(row.row_data)

    def read(self, row: ExportRow) -> Content:
        """The content behind the row's address; never raises for one bad row."""
        try:
            raw = self._read_row(row)
        except FetchRefusedError as error:
            return Content(reason=error.reason, detail=str(error))
        except JobError as error:
            return Content(reason="unreadable_object", detail=error.sentence)
        if len(raw) > self._rules.max_bytes:
            return Content(reason="too_large", detail=f"more than {self._rules.max_bytes} bytes")
        try:
            return checked(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:
            return Content(reason="not_utf8", detail="the file is not UTF-8 text")

    def _read_row(self, row: ExportRow) -> bytes:
        """The bytes at the row's address; a refused address is renewed once."""
        try:
            return self._read(row.row_data.strip())
        except FetchRefusedError as error:
            address = self._fresh.of(row) if self._fresh is not None and error.reason == ACCESS_DENIED else None
            if self._fresh is None or address is None:
                raise
        raw = self._read(address.strip())
        self._fresh.opened()
        return raw

    def _read(self, address: str) -> bytes:
        scheme = address.partition("://")[0].lower()
        if scheme == "gs":
            return self._object(address)
        if scheme not in ("http", "https"):
            raise FetchRefusedError(
                "unsupported_address", f"{scheme}:// cannot be read; Labelbox must give a signed URL"
            )
        stored = _stored_object(address)
        if stored and split_uri(stored)[0] in self._buckets:
            return self._object(stored)
        return fetch(address, self._rules)

    def _object(self, uri: str) -> bytes:
        bucket = split_uri(uri)[0]
        if bucket not in self._buckets:
            raise FetchRefusedError("bucket_refused", f"the bucket '{bucket}' is not named in DATA_BUCKETS")
        if self._storage.size(uri) > self._rules.max_bytes:
            raise FetchRefusedError("too_large", f"more than {self._rules.max_bytes} bytes")
        return self._storage.read_bytes(uri)


def _stored_object(url: str) -> str | None:
    """gs://bucket/object of an unsigned https address of Cloud Storage; None for any other."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # the fetch room says what is wrong with it
    if parts.hostname not in _STORAGE_HOSTS or parts.query:
        return None
    return f"gs:/{unquote(parts.path)}"


def checked(text: str) -> Content:
    """The text if a model can use it. Its characters are kept as they are: offsets of entities refer to them."""
    if not text.strip():
        return Content(reason="empty_text", detail="the text is empty")
    if "\0" in text:
        return Content(reason="not_text", detail="the text holds NUL characters")
    if len(text) > MAX_BYTES:
        return Content(reason="too_large", detail=f"more than {MAX_BYTES} characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Content(reason="not_utf8", detail="the text holds half of a surrogate pair")
    return Content(text=text)
