"""The two requests to Hugging Face's hub: what a revision holds, and one file of it.

https://huggingface.co/docs/hub/api; HF_ENDPOINT names a mirror, as in Hugging Face's own tools.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from weights.lock import Wanted

TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20
_TRIES = 4
_FIRST_PAUSE_S = 1.0


class HubError(Exception):
    """The hub could not be reached, or did not have what was asked for."""


@dataclass(frozen=True)
class Listing:
    """What a repository holds at a commit: sizes of its files, and the SHA-256 of those in large file storage."""

    revision: str
    licence: str
    sizes: dict[str, int | None]
    sha256: dict[str, str]


class Hub:
    """Reads public repositories. `pause_s` is the wait before the second try; it doubles."""

    def __init__(self, endpoint: str = "", pause_s: float = _FIRST_PAUSE_S) -> None:
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT", "") or "https://huggingface.co").rstrip("/")
        self.pause_s = pause_s

    def listing(self, wanted: Wanted) -> Listing:
        """What the repository holds at the revision that is asked for."""
        path = f"/api/models/{wanted.repository}/revision/{quote(wanted.revision, safe='')}?blobs=true"
        try:
            content: dict[str, Any] = json.loads(b"".join(self._get(path)))
        except ValueError as error:
            raise HubError(f"{self.endpoint}{path}: the answer is no JSON; is this a hub?") from error
        sizes, sha256 = dict[str, int | None](), dict[str, str]()
        for item in content.get("siblings", ()):
            name, large = str(item["rfilename"]), item.get("lfs")
            sizes[name] = item.get("size")
            if large:
                sha256[name] = str(large["sha256"])
        card = content.get("cardData") or {}
        return Listing(str(content["sha"]), str(card.get("license") or "unknown"), sizes, sha256)

    def file(self, repository: str, revision: str, name: str) -> Iterator[bytes]:
        """A file's bytes in pieces. A connection that breaks in the middle raises HubError."""
        return self._get(f"/{repository}/resolve/{revision}/{quote(name)}")

    def _get(self, path: str) -> Iterator[bytes]:
        url = self.endpoint + path
        answer = self._opened(url)
        with answer:
            left = int(answer.headers.get("Content-Length") or -1)
            try:
                while piece := answer.read(CHUNK_BYTES):
                    left -= len(piece)
                    yield piece
            except (OSError, HTTPException) as error:
                raise HubError(f"{url} broke off: {error}") from error
            if left > 0:
                raise HubError(f"{url} broke off with {left:,} bytes missing")

    def _opened(self, url: str) -> HTTPResponse:
        """The answer's beginning. Safe to repeat: these are reads."""
        for tried in range(1, _TRIES + 1):
            try:
                found: HTTPResponse = urllib.request.urlopen(url, timeout=TIMEOUT_S)  # noqa: S310  http(s) by our own setting
                return found
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500 and error.code != 429:
                    raise HubError(f"{url}: HTTP {error.code}; only public models can be baked in") from error
                reason = str(error)
            except OSError as error:
                reason = str(error)
            if tried < _TRIES:
                time.sleep(self.pause_s * 2 ** (tried - 1))
        raise HubError(f"{url}: {reason}, {_TRIES} times")
