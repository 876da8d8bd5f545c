"""The pixels of all pictures of a training, squeezed to one size, on disk: each is read from the bucket once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobkit.image.batches import Pixels, batches, stored
from jobkit.progress import Progress, say
from jobkit.storage import Storage


class PixelTable:
    """Row i belongs to picture i; `readable[i]` is false where it could not be read."""

    def __init__(self, path: Path, count: int, side_px: int) -> None:
        self.side_px = side_px
        self.readable = np.zeros(count, dtype=bool)
        shape = (max(count, 1), side_px, side_px, 3)
        self.pixels: Pixels = np.memmap(path, np.uint8, "w+", shape=shape)

    @staticmethod
    def filled(storage: Storage, uris: Sequence[str], side_px: int, path: Path) -> "PixelTable":
        """Reads all pictures; those that cannot be read are told in the log."""
        table = PixelTable(path, len(uris), side_px)
        progress = Progress("Pictures read", total=len(uris))
        for batch in batches(lambda row: stored(storage, uris[row]), range(len(uris)), side_px):
            table.pixels[batch.items] = batch.pixels
            table.readable[batch.items] = True
            for row, reason in batch.failures:
                say("A picture cannot be read", severity="WARNING", uri=uris[row], reason=reason)
            progress.step(len(batch.items) + len(batch.failures))
        progress.finish()
        return table

    def rows(self) -> NDArray[np.int64]:
        """The numbers of the readable pictures."""
        return np.flatnonzero(self.readable)
