"""Signed URLs of this server: they name a path, the moment they expire and a signature over both."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from local.labelbox.switches import SwitchBoard

DAY_S = 86_400.0  # "This information will expire after 24 hours" (docstrings of labelbox's AnnotationImport)


class BadLink(Exception):
    """A signed URL that is not good any more; `code` is what Google Cloud Storage calls it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = 400 if code == "ExpiredToken" else 403


class Links:
    """Makes and checks the URLs."""

    def __init__(self, base: str, key: bytes, board: SwitchBoard, clock: Callable[[], float] = time.time) -> None:
        self.base = base
        self._key = key
        self._board = board
        self._clock = clock

    def signed(self, path: str) -> str:
        """A URL that is good for a day, or for the switch expire_urls_s."""
        expires = f"{self._clock() + (self._board.now().expire_urls_s or DAY_S):.6f}"
        return f"{self.base}{quote(path)}?X-Goog-Expires-At={expires}&X-Goog-Signature={self._signature(path, expires)}"

    def file(self, path: str) -> str:
        """A data row's URL: good for ever, unless the switch expire_urls_s is on."""
        return self.signed(path) if self._board.now().expire_urls_s else self.base + quote(path)

    def check(self, path: str, query: str, *, required: bool) -> None:
        """Raise BadLink unless the signature fits and has not expired; without `required` no signature is fine too."""
        values = parse_qs(query)
        expires = values.get("X-Goog-Expires-At", [""])[0]
        signature = values.get("X-Goog-Signature", [""])[0]
        if not (expires or signature) and not required:
            return
        if not hmac.compare_digest(signature.encode(), self._signature(path, expires).encode()):
            raise BadLink("SignatureDoesNotMatch", "The request signature does not match.")
        if float(expires) < self._clock():
            raise BadLink("ExpiredToken", f"The provided token has expired. Request signature expired at: {expires}")

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
