"""Feature maps of all views of all pictures, on disk, so that memory does not grow with the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.features import TAPS, BoxFeatures, BoxRecipe
from jobkit.image.batches import BATCH_SIZE, Batch, Pixels, batches
from jobkit.progress import Progress, say
from jobkit.storage import Storage
from train.bounding_boxes.examples import Corners, Example
from train.bounding_boxes.views import View, views

LARGEST_FLOAT16 = 65504.0
MOST_LOOKS = 12_000  # pictures times views; more pictures get fewer views


@dataclass(frozen=True)
class Look:
    """What is to be found in one view of one picture; its maps lie in the cache at the same number."""

    corners: Corners
    classes: NDArray[np.intp]


@dataclass
class FeatureCache:
    """The maps of TAPS as half floats. `looks[i]` belongs to row i."""

    maps: list[NDArray[np.float16]]
    looks: list[Look] = field(default_factory=list)
    unreadable: int = 0

    @staticmethod
    def on_disk(folder: Path, recipe: BoxRecipe, rows: int) -> "FeatureCache":
        """An empty cache with room for so many looks."""
        shapes = [(max(rows, 1), *recipe.map_shape(index)) for index in range(len(TAPS))]
        folder.mkdir(parents=True, exist_ok=True)
        files = [
            np.memmap(folder / tap, np.float16, "w+", shape=shape) for tap, shape in zip(TAPS, shapes, strict=True)
        ]
        return FeatureCache([*files])

    def add(self, maps: Sequence[NDArray[np.float32]], looks: Sequence[Look]) -> None:
        """Keeps the maps of some looks."""
        rows = slice(len(self.looks), len(self.looks) + len(looks))
        for kept, values in zip(self.maps, maps, strict=True):
            kept[rows] = np.clip(values, -LARGEST_FLOAT16, LARGEST_FLOAT16)
        self.looks.extend(looks)

    def batch(self, rows: NDArray[np.intp]) -> list[NDArray[np.float32]]:
        """The maps of some looks."""
        return [kept[rows].astype(np.float32) for kept in self.maps]


def views_for(pictures: int, most: int = 4) -> int:
    """How many views of each picture are affordable."""
    return max(1, min(most, MOST_LOOKS // max(pictures, 1)))


def filled(
    storage: Storage,
    pictures: Sequence[Example],
    classes: Sequence[str],
    recipe: BoxRecipe,
    folder: Path,
    view_count: int,
    seed: int,
) -> FeatureCache:
    """Reads all pictures and keeps what the frozen network sees of them. The same seed gives the same views."""
    numbers = {name: number for number, name in enumerate(classes)}
    cache = FeatureCache.on_disk(folder, recipe, len(pictures) * view_count)
    features = BoxFeatures()
    progress = Progress("Pictures turned into features", total=len(pictures))

    def read(numbered: tuple[int, Example]) -> bytes:
        return storage.read_bytes(numbered[1].uri)

    batch: Batch[tuple[int, Example]]
    for batch in batches(read, enumerate(pictures), recipe.side_px, BATCH_SIZE):
        seen: list[tuple[Pixels, Look]] = []
        for (number, example), plain in zip(batch.items, batch.pixels, strict=True):
            for view in views(view_count, np.random.default_rng([seed, number])):
                seen.append((view.pixels(plain), _look(example, view, numbers)))
        for start in range(0, len(seen), BATCH_SIZE):
            part = seen[start : start + BATCH_SIZE]
            cache.add(features.maps(np.stack([pixels for pixels, _ in part])), [look for _, look in part])
        for (_, example), reason in batch.failures:
            cache.unreadable += 1
            say("A picture cannot be read", severity="WARNING", uri=example.uri, reason=reason)
        progress.step(len(batch.items) + len(batch.failures))
    progress.finish()
    return cache


def _look(example: Example, view: View, numbers: dict[str, int]) -> Look:
    """Boxes of classes that training does not have are left out."""
    classes = np.array([numbers.get(name, -1) for name in example.names], dtype=np.intp)
    corners, visible = view.corners(example.corners)
    chosen = visible & (classes >= 0)
    return Look(corners[chosen], classes[chosen])
