"""Rows whose images have the same bytes: Vertex merges them into one item, so one of them goes in, chosen by us. Pure.

Left to Vertex, the item's split is that of any of the rows (a test image would be trained on) and its labels are those
of all of them: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/ImportDataConfig
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from jobkit.splits import TEST, TRAINING, VALIDATION

# The split that wins: an image that any row tests with must not be trained on.
_RANK = {TRAINING: 0, VALIDATION: 1, TEST: 2}

Labels = tuple[str, ...]


@dataclass(slots=True)
class MergedImage:
    """What the labelled rows of one image say together. `labels` are None once two rows disagree."""

    split: str
    labels: Labels | None
    crossed: bool = False  # its rows are in different splits


class MergedImages:
    """The distinct labelled images of a data set by the hash of their bytes; about 200 bytes of memory each."""

    def __init__(self) -> None:
        self._images: dict[str, MergedImage] = {}

    def add(self, sha256: str, split: str, labels: Labels) -> None:
        """Notes one labelled row that is in training, validation or test."""
        image = self._images.get(sha256)
        if image is None:
            self._images[sha256] = MergedImage(split, labels)
            return
        if split != image.split:
            image.crossed = True
            image.split = max(split, image.split, key=_RANK.__getitem__)
        if image.labels != labels:
            image.labels = None

    def get(self, sha256: str) -> MergedImage | None:
        """None for an image that no labelled row of a split has."""
        return self._images.get(sha256)

    def counts(self) -> dict[str, Counter[str]]:
        """Label -> split -> distinct images, over the images whose rows agree."""
        counts: dict[str, Counter[str]] = {}
        for image in self._images.values():
            for label in image.labels or ():
                counts.setdefault(label, Counter())[image.split] += 1
        return counts

    def trained(self, kept: Collection[str]) -> int:
        """Distinct images that are taught when only these labels are kept; those without any label among them."""
        return sum(
            1
            for image in self._images.values()
            if image.labels is not None and (not image.labels or any(label in kept for label in image.labels))
        )

    def disputed(self) -> Iterator[str]:
        """Hashes of images whose rows disagree about the labels."""
        return (sha256 for sha256, image in self._images.items() if image.labels is None)

    def across_splits(self) -> Iterator[str]:
        """Hashes of images whose rows are in several splits."""
        return (sha256 for sha256, image in self._images.items() if image.crossed)
