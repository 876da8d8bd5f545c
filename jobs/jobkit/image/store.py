"""Image bytes kept once: under their content's hash, shared by all runs, with an index by data row and URL.

    images/<sha256>.<jpg|png|gif|bmp>   the bytes as training sees them, or a smaller copy for prediction
    images/index/<hash>.json            which of them a data row with this URL has

A run that meets a row again reads the index entry and fetches nothing; which rows have none is learned from lists of
the index where that is cheaper than to ask for each. It marks the objects as used (their customTime),
from which the bucket's lifecycle counts. All writes are safe to repeat: an object's name is the hash of its bytes, and
an index entry is written only after the objects that it names.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jobkit.errors import BadConfiguration
from jobkit.fetch import FetchRefusedError, FetchRules, connections, fetch
from jobkit.image.files import SUFFIXES, Picture, prediction_copy, prepared
from jobkit.image.known import KnownEntries
from jobkit.objects import Objects
from jobkit.storage import Storage, split_uri
from jobkit.text.contents import buckets_from_environment

INDEX_VERSION = 1
MARK_EVERY = timedelta(days=7)
_NEVER = "1970-01-01T00:00:00+00:00"  # of entries that do not say when they were used
# Parameters that only say who may read and until when; all others can choose the picture and stay in the key.
_SIGNATURE_PARAMETERS = frozenset(
    {"signature", "expires", "googleaccessid", "awsaccesskeyid", "key-pair-id", "policy", "hmac", "token"}
    | {"sig", "se", "sp", "sv", "sr", "st", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv"}  # Azure
)
_SIGNATURE_PREFIXES = ("x-goog-", "x-amz-")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Where the bytes of a row lie. `predict_uri` is the same object unless the picture is too large for prediction."""

    sha256: str
    uri: str
    media_type: str
    width: int
    height: int
    predict_uri: str
    predict_media_type: str

    def to_dict(self) -> dict[str, str | int]:
        """Field -> value; dataclasses.asdict took a tenth of what a thread did for an image."""
        return {name: getattr(self, name) for name in self.__slots__}


def unsigned(url: str) -> str:
    """The URL without what a signature adds, so that a row whose URL was signed anew is known again.

    ValueError for one that cannot be read.
    """
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name.lower() not in _SIGNATURE_PARAMETERS and not name.lower().startswith(_SIGNATURE_PREFIXES)
    ]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(kept), ""))


class ImageSource:
    """Reads what a row's URL names: http and https through the fetch room, gs:// of the deployment's own buckets.

    Connections are used again; as a context manager it closes them at its end.
    """

    def __init__(self, storage: Storage, rules: FetchRules, data_buckets: frozenset[str] = frozenset()) -> None:
        self._storage = storage
        self._rules = rules
        self._data_buckets = data_buckets
        self._connections = connections(rules)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    @classmethod
    def from_environment(cls, storage: Storage) -> "ImageSource":
        """DATA_BUCKETS (comma list) names the buckets that are read with the job's own credentials."""
        return cls(storage, FetchRules.from_environment(), buckets_from_environment())

    def read(self, url: str) -> bytes:
        """The bytes behind the URL; FetchRefusedError says why there are none."""
        if not url.startswith("gs://"):
            return fetch(url, self._rules, self._connections)
        try:
            if split_uri(url)[0] not in self._data_buckets:
                raise FetchRefusedError("bucket_refused", "the bucket is none of the deployment's data buckets")
            if self._storage.size(url) > self._rules.max_bytes:
                raise FetchRefusedError("too_large", f"more than {self._rules.max_bytes} bytes")
            return self._storage.read_bytes(url)
        except BadConfiguration as error:
            raise FetchRefusedError("not_found", error.sentence) from error


class ImageStore:
    """The shared folder of images of one bucket; safe to use from several threads. Use as a context manager.

    What a run uses is marked with the time of its use, at most once in MARK_EVERY: a lifecycle rule of 30 days or more
    that counts from there deletes nothing that a run still needs.
    """

    def __init__(
        self,
        storage: Storage,
        root_uri: str,
        read: Callable[[str], bytes],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._objects = Objects(storage.client)
        self._root = root_uri.rstrip("/")
        self._known = KnownEntries(lambda token: self._objects.page(f"{self._root}/index", token))
        self._read = read
        self._now = now
        self.fetched = 0
        self.fetched_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._objects.close()

    def traffic(self, elapsed_s: float) -> dict[str, float]:
        """For the log: images fetched so far, and how fast they came."""
        return {"fetched": self.fetched, "mb_per_s": round(self.fetched_bytes / 1e6 / elapsed_s, 1)}

    def keep(self, data_row_id: str, url: str) -> StoredImage:
        """The row's picture, fetched only if no run has met this row with this URL before.

        Raises FetchRefusedError and BadImageError when there is no picture to be had.
        """
        try:
            key = hashlib.sha256(f"{data_row_id}\n{unsigned(url)}".encode()).hexdigest()
        except ValueError as error:  # an address that is none, or half a surrogate pair in it
            raise FetchRefusedError("bad_url", "the URL cannot be read") from error
        index_uri = f"{self._root}/index/{key}.json"
        known = None if self._known.lacks(key) else self._indexed(index_uri)
        if known is not None:
            return known
        data = self._read(url)
        self.fetched += 1  # for the log: threads may lose one
        self.fetched_bytes += len(data)
        stored = self._stored(prepared(data))
        self._note(index_uri, stored, self._now())
        self._known.add(key)
        return stored

    def _stored(self, picture: Picture) -> StoredImage:
        smaller = prediction_copy(picture)
        digest, uri = self._put(picture)
        return StoredImage(
            sha256=digest,
            uri=uri,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            predict_uri=self._put(smaller)[1] if smaller else uri,
            predict_media_type=(smaller or picture).media_type,
        )

    def _indexed(self, index_uri: str) -> StoredImage | None:
        """The entry of an earlier run; None where there is none, one of another version, or one of deleted images."""
        content = self._objects.read(index_uri)
        entry = json.loads(content) if content is not None else {}
        if entry.pop("version", None) != INDEX_VERSION:
            return None
        used = datetime.fromisoformat(entry.pop("used", _NEVER))
        stored, now = StoredImage(**entry), self._now()
        if now - used < MARK_EVERY:
            return stored
        if not all(self._objects.mark(uri, now) for uri in {stored.uri, stored.predict_uri}):
            return None
        self._note(index_uri, stored, now)
        return stored

    def _note(self, index_uri: str, stored: StoredImage, used: datetime) -> None:
        """Writes the index entry, after the objects that it names were made or marked."""
        body = json.dumps({"version": INDEX_VERSION, "used": used.isoformat(), **stored.to_dict()})
        self._objects.write(index_uri, body.encode(), "application/json", used, replace=True)

    def _put(self, picture: Picture) -> tuple[str, str]:
        """(hash, uri) of the picture's object, which is made, or marked where another row has the same bytes."""
        digest = hashlib.sha256(picture.data).hexdigest()
        uri = f"{self._root}/{digest}{SUFFIXES[picture.media_type]}"
        now = self._now()
        if not self._objects.write(uri, picture.data, picture.media_type, now):
            self._objects.mark(uri, now)
        return digest, uri
