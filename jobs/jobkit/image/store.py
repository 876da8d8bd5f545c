"""Image bytes kept once: under their content's hash, shared by all runs, with an index by data row and URL.

    images/<sha256>.<jpg|png|gif|bmp>   the bytes as training sees them, or a smaller copy for prediction
    images/index/<hash>.json            which of them a data row with this URL has

A run that meets a row again reads the index entry and fetches nothing. All writes are safe to repeat: an object's name
is the hash of its bytes, and an index entry is written only after the objects that it names.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jobkit.errors import BadConfiguration
from jobkit.fetch import FetchRefusedError, FetchRules, fetch
from jobkit.image.files import SUFFIXES, Picture, prediction_copy, prepared
from jobkit.storage import Storage, split_uri
from jobkit.text.contents import buckets_from_environment

INDEX_VERSION = 1
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
    """Reads what a row's URL names: http and https through the fetch room, gs:// of the deployment's own buckets."""

    def __init__(self, storage: Storage, rules: FetchRules, data_buckets: frozenset[str] = frozenset()) -> None:
        self._storage = storage
        self._rules = rules
        self._data_buckets = data_buckets

    @classmethod
    def from_environment(cls, storage: Storage) -> "ImageSource":
        """DATA_BUCKETS (comma list) names the buckets that are read with the job's own credentials."""
        return cls(storage, FetchRules.from_environment(), buckets_from_environment())

    def read(self, url: str) -> bytes:
        """The bytes behind the URL; FetchRefusedError says why there are none."""
        if not url.startswith("gs://"):
            return fetch(url, self._rules)
        try:
            if split_uri(url)[0] not in self._data_buckets:
                raise FetchRefusedError("bucket_refused", "the bucket is none of the deployment's data buckets")
            if self._storage.size(url) > self._rules.max_bytes:
                raise FetchRefusedError("too_large", f"more than {self._rules.max_bytes} bytes")
            return self._storage.read_bytes(url)
        except BadConfiguration as error:
            raise FetchRefusedError("not_found", error.sentence) from error


class ImageStore:
    """The shared folder of images of one bucket; safe to use from several threads."""

    def __init__(self, storage: Storage, root_uri: str, read: Callable[[str], bytes]) -> None:
        self._storage = storage
        self._root = root_uri.rstrip("/")
        self._read = read

    def keep(self, data_row_id: str, url: str) -> StoredImage:
        """The row's picture, fetched only if no run has met this row with this URL before.

        Raises FetchRefusedError and BadImageError when there is no picture to be had.
        """
        try:
            key = hashlib.sha256(f"{data_row_id}\n{unsigned(url)}".encode()).hexdigest()
        except ValueError as error:  # an address that is none, or half a surrogate pair in it
            raise FetchRefusedError("bad_url", "the URL cannot be read") from error
        index_uri = f"{self._root}/index/{key}.json"
        known = self._indexed(index_uri)
        if known is not None:
            return known
        picture = prepared(self._read(url))
        smaller = prediction_copy(picture)
        uri = self._put(picture)
        stored = StoredImage(
            sha256=hashlib.sha256(picture.data).hexdigest(),
            uri=uri,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            predict_uri=self._put(smaller) if smaller else uri,
            predict_media_type=(smaller or picture).media_type,
        )
        self._storage.write_text(index_uri, json.dumps({"version": INDEX_VERSION, **asdict(stored)}))
        return stored

    def _indexed(self, index_uri: str) -> StoredImage | None:
        """The entry of an earlier run; None where there is none, or one that another version wrote."""
        if not self._storage.exists(index_uri):
            return None
        entry = json.loads(self._storage.read_text(index_uri))
        if entry.pop("version", None) != INDEX_VERSION:
            return None
        return StoredImage(**entry)

    def _put(self, picture: Picture) -> str:
        digest = hashlib.sha256(picture.data).hexdigest()
        uri = f"{self._root}/{digest}{SUFFIXES[picture.media_type]}"
        if not self._storage.exists(uri):
            self._storage.write_bytes(uri, picture.data, picture.media_type)
        return uri
