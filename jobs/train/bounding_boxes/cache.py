"""Feature maps of all views of all pictures, on disk, so that memory does not grow with the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.features import TAPS, BoxFeatures, BoxRecipe
from jobkit.checkpoints import Checkpoints
from jobkit.image.batches import BATCH_SIZE, Batch, Pixels, batches, stored
from jobkit.progress import Progress, say
from jobkit.standing_file import Standing, StandingFile
from jobkit.storage import Storage
from train.bounding_boxes.examples import Corners, Example
from train.bounding_boxes.views import View, views

LARGEST_FLOAT16 = 65504.0
MOST_LOOKS = 12_000  # pictures times views; more pictures get fewer views
CHUNK = 64  # pictures between two checkpoints: some seconds of work
WORTH_KEEPING = 512  # looks from which their features are kept for a later attempt: fewer are soon made again


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

    def add(self, maps: Sequence[NDArray[np.floating]], looks: Sequence[Look]) -> None:
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


@dataclass(frozen=True)
class Reading:
    """How pictures become features. The same seed gives the same views."""

    storage: Storage
    classes: Sequence[str]
    recipe: BoxRecipe
    views: int
    seed: int

    def looks(self, number: int, example: Example) -> list[tuple[View, Look]]:
        """All views of the picture of this number."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        seen = views(self.views, np.random.default_rng([self.seed, number]))
        return [(view, look_of(example, view, numbers)) for view in seen]


def filled(
    reading: Reading, pictures: Sequence[Example], folder: Path, checkpoints: Checkpoints | None = None
) -> FeatureCache:
    """Reads all pictures and keeps what the frozen network sees of them. Chunks that an earlier attempt left among the
    checkpoints are taken from there, and chunks of large data sets are left there."""
    cache = FeatureCache.on_disk(folder, reading.recipe, len(pictures) * reading.views)
    worth = checkpoints is not None and len(pictures) * reading.views >= WORTH_KEEPING
    features = BoxFeatures()
    progress = Progress("Pictures turned into features", total=len(pictures))
    for start in range(0, len(pictures), CHUNK):
        chunk = [(start + place, example) for place, example in enumerate(pictures[start : start + CHUNK])]
        file = StandingFile(checkpoints, f"{start:07d}.safetensors") if checkpoints and worth else None
        standing = file.load() if file else None
        if standing is None or not _taken(cache, reading, chunk, standing):
            first = len(cache.looks)
            readable = _read(cache, reading, chunk, features, progress)
            if file:
                rows = slice(first, len(cache.looks))
                tensors = {tap: np.array(kept[rows]) for tap, kept in zip(TAPS, cache.maps, strict=True)}
                file.save(Standing(tensors, {"readable": readable}))
        else:
            progress.step(len(chunk))
    progress.finish()
    return cache


def _taken(cache: FeatureCache, reading: Reading, chunk: Sequence[tuple[int, Example]], standing: Standing) -> bool:
    """Whether the chunk's features could be taken from an earlier attempt's."""
    readable = set(standing.figures.get("readable", ()))
    looks = [look for number, example in chunk if number in readable for _, look in reading.looks(number, example)]
    maps = [standing.tensors.get(tap) for tap in TAPS]
    wanted = [(len(looks), *reading.recipe.map_shape(index)) for index in range(len(TAPS))]
    if [getattr(values, "shape", None) for values in maps] != wanted:
        return False
    cache.add([values for values in maps if values is not None], looks)
    cache.unreadable += len(chunk) - len(readable)
    return True


def _read(
    cache: FeatureCache,
    reading: Reading,
    chunk: Sequence[tuple[int, Example]],
    features: BoxFeatures,
    progress: Progress,
) -> list[int]:
    """Fills the cache from the pictures; the numbers of those that could be read."""
    readable: list[int] = []

    def read(numbered: tuple[int, Example]) -> bytes:
        return stored(reading.storage, numbered[1].uri)

    batch: Batch[tuple[int, Example]]
    for batch in batches(read, chunk, reading.recipe.side_px, BATCH_SIZE):
        seen: list[tuple[Pixels, Look]] = []
        for (number, example), plain in zip(batch.items, batch.pixels, strict=True):
            readable.append(number)
            seen += [(view.pixels(plain), look) for view, look in reading.looks(number, example)]
        for start in range(0, len(seen), BATCH_SIZE):
            part = seen[start : start + BATCH_SIZE]
            cache.add(features.maps(np.stack([pixels for pixels, _ in part])), [look for _, look in part])
        for (_, example), reason in batch.failures:
            cache.unreadable += 1
            say("A picture cannot be read", severity="WARNING", uri=example.uri, reason=reason)
        progress.step(len(batch.items) + len(batch.failures))
    return readable


def look_of(example: Example, view: View, numbers: dict[str, int]) -> Look:
    """Boxes of classes that training does not have are left out."""
    classes = np.array([numbers.get(name, -1) for name in example.names], dtype=np.intp)
    corners, visible = view.corners(example.corners)
    chosen = visible & (classes >= 0)
    return Look(corners[chosen], classes[chosen])
