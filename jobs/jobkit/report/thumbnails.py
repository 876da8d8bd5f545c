"""Small copies of pictures for the report, inside the page as data URIs; only jobs of images carry Pillow for it."""

import base64
import io

from jobkit.errors import JobError
from jobkit.image.files import BadImageError, as_rgb, opened
from jobkit.report.gallery import MOST
from jobkit.storage import Storage

SIDE = 96
QUALITY = 70
MAX_THUMBNAILS = MOST
MAX_READ_BYTES = 30_000_000


class Thumbnails:
    """Makes at most MAX_THUMBNAILS; an image that cannot be read has none, and the report goes on without it."""

    def __init__(self, storage: Storage, side: int = SIDE) -> None:
        """`side`: pixels of the longer side."""
        self._storage = storage
        self._side = side
        self._made: dict[str, str] = {}

    @property
    def rule(self) -> str:
        """What is left out, for the reader."""
        return f"Pictures are copies of at most {self._side} pixels a side, at most {MAX_THUMBNAILS} on this page."

    def of(self, uri: str) -> str:
        """The data URI of the image at `uri`, or ""."""
        if uri not in self._made:
            if len(self._made) >= MAX_THUMBNAILS:
                return ""
            self._made[uri] = self._make(uri)
        return self._made[uri]

    def _make(self, uri: str) -> str:
        try:
            if self._storage.size(uri) > MAX_READ_BYTES:
                return ""
            return thumbnail(self._storage.read_bytes(uri), self._side)
        except (JobError, BadImageError):
            return ""


def thumbnail(data: bytes, side: int = SIDE) -> str:
    """A JPEG of at most `side` pixels a side as a data URI. Raises BadImageError."""
    with opened(data) as image:
        image.draft("RGB", (side * 2, side * 2))  # a JPEG is decoded at a fraction of its size
        small = as_rgb(image)
        small.thumbnail((side, side))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
