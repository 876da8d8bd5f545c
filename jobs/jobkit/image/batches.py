"""Pictures in batches of equal size for a network: read by a few threads, in order, with bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobkit.errors import BadConfiguration
from jobkit.fetch import in_order
from jobkit.image.files import BadImageError, as_rgb, opened
from jobkit.storage import Storage

READERS = 8
BATCH_SIZE = 16

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """`pixels[i]` (side, side, 3) belongs to `items[i]`; an item that could not be read is in `failures` instead."""

    items: list[Item]
    pixels: Pixels
    failures: list[tuple[Item, str]]


def stored(storage: Storage, uri: str) -> bytes:
    """The bytes of a picture in the bucket. Raises BadImageError where there is no such object: this picture fails,
    the others go on."""
    try:
        return storage.read_bytes(uri)
    except BadConfiguration as error:
        raise BadImageError(error.sentence) from error


def decoded(data: bytes, side_px: int) -> Pixels:
    """The whole picture squeezed to a square, as RGB (side, side, 3). Raises BadImageError.

    Squeezed, not cropped: what a label speaks of may stand at the edge.
    """
    with opened(data) as image:
        if image.format in ("JPEG", "MPO"):
            image.draft("RGB", (side_px, side_px))  # decodes at a half, a quarter ... where that is still large enough
        square = as_rgb(image).resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(square)


def batches(
    read: Callable[[Item], bytes], items: Iterable[Item], side_px: int, size: int = BATCH_SIZE
) -> Iterator[Batch[Item]]:
    """The pictures of all items, `size` at a time. `read` may raise BadImageError for an item; other errors end it."""

    def picture(item: Item) -> Pixels | str:
        try:
            return decoded(read(item), side_px)
        except BadImageError as error:
            return str(error)

    answers = in_order(picture, items, workers=READERS)
    while chunk := list(islice(answers, size)):
        good = [(item, answer) for item, answer in chunk if not isinstance(answer, str)]
        failures = [(item, answer) for item, answer in chunk if isinstance(answer, str)]
        pixels = np.stack([answer for _, answer in good]) if good else np.empty((0, side_px, side_px, 3), np.uint8)
        yield Batch([item for item, _ in good], pixels, failures)
