"""Which labelled boxes are taken for another class, counted image after image.

Few boxes are, so a batch of images is looked through at once for a predicted and a labelled box of different classes
that overlap enough, and only the images that have such are paired. Beyond a batch no image is kept.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from jobkit.boxes.geometry import Boxes, areas, overlaps
from jobkit.boxes.matching import AREAS, OVERLAPS, bit_of, match_classes, places

MAX_PAIRS = 32_768  # of a predicted and a labelled box, in a batch
MAX_IMAGES = 256
SLACK = 1e-6  # an overlap just too small is looked at, too: the pairing decides

Image = tuple[Boxes, Boxes]  # labelled, predicted


def mistaken(labelled: Boxes, predicted: Boxes, iou: float, least: float) -> Iterator[tuple[str, str]]:
    """(labelled class, predicted class) of each labelled box of an image that is taken for one of another class.

    Of predicted boxes with at least the confidence `least`, those that are right or in a crowd stay so (match_classes).
    Of what is then left on both sides the surest predicted box, of equals the first, is paired with the labelled one
    that it overlaps most, of equals the first, by at least `iou` and whatever its class. Each box is taken once, and
    crowds are not.
    """
    limit = float(OVERLAPS[bit_of(iou).bit_length() - 1])
    ours, theirs = places(predicted.names), places(labelled.names)
    wrong: list[int] = []
    found: list[int] = []
    for name, pair in match_classes(predicted, labelled, iou).items():
        for rank, index in enumerate(pair.order):
            if pair.scores[rank] < least:
                break
            if pair.partner[rank] >= 0:
                found.append(theirs[name][pair.partner[rank]])
            elif not pair.ignored[rank] & pair.at:
                wrong.append(ours[name][index])
    if not wrong:
        return
    low, high = AREAS["all"]
    size = areas(labelled.corners)
    free = (low <= size) & (size <= high)
    free[found] = False
    if len(labelled.crowd):
        free &= ~labelled.crowd
    left = np.flatnonzero(free)
    scores = predicted.scores.tolist()
    wrong.sort(key=lambda one: (-scores[one], one))
    step = 1 + MAX_PAIRS // (1 + len(left))
    for some in (wrong[first : first + step] for first in range(0, len(wrong), step)):
        shares = overlaps(predicted.corners[some], labelled.corners[left], np.zeros(len(left), bool))
        for rank in np.flatnonzero((shares >= limit).any(axis=1)).tolist():
            best = int(np.where(free[left], shares[rank], 0.0).argmax())
            if free[left[best]] and shares[rank, best] >= limit:
                free[left[best]] = False
                yield labelled.names[left[best]], predicted.names[some[rank]]


class Mistakes:
    """Counts labelled boxes by class and by the class that they are taken for (`mistaken`)."""

    def __init__(self, iou: float, least: float) -> None:
        self._iou = iou
        self._least = least
        self._images: list[Image] = []
        self._pairs = 0
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, labelled: Boxes, predicted: Boxes) -> None:
        """Notes one image."""
        count = len(labelled) * len(predicted)
        if count > MAX_PAIRS:
            self._count(labelled, predicted)
        elif count:
            self._images.append((labelled, predicted))
            self._pairs += count
            if self._pairs > MAX_PAIRS or len(self._images) >= MAX_IMAGES:
                self._look_through()

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(labelled class, predicted class) -> boxes; the two always differ."""
        self._look_through()
        return self._counts

    def _look_through(self) -> None:
        images, self._images, self._pairs = self._images, [], 0
        for index in _suspects(images, self._iou - SLACK, self._least) if images else ():
            self._count(*images[index])

    def _count(self, labelled: Boxes, predicted: Boxes) -> None:
        self._counts.update(mistaken(labelled, predicted, self._iou, self._least))


def _suspects(images: Sequence[Image], iou: float, least: float) -> list[int]:
    """The images in which a sure box and a labelled one of another class overlap enough, found or not."""
    a = np.concatenate([predicted.corners for _, predicted in images]).T.copy()
    b = np.concatenate([labelled.corners for labelled, _ in images]).T.copy()
    numbers = np.arange(len(images))
    of = np.repeat(numbers, [len(predicted) for _, predicted in images])
    own = np.repeat(numbers, [len(labelled) for labelled, _ in images])
    sure = np.flatnonzero(np.concatenate([predicted.scores for _, predicted in images]) >= least)
    # Images side by side: where half of both is shared, the middle of each lies between the edges of the other.
    span = 1.0 + max(a.max(), b.max()) - min(a.min(), b.min())
    middles = (b[0] + b[2]) / 2 + own * span
    order = np.argsort(middles)
    middles = middles[order]
    begin = np.searchsorted(middles, (a[0] + of * span)[sure] - SLACK * span)
    end = np.searchsorted(middles, (a[2] + of * span)[sure] + SLACK * span)
    each = np.maximum(end - begin, 0)
    said = np.repeat(sure, each)
    true = order[np.arange(len(said)) + np.repeat(begin - (np.cumsum(each) - each), each)]
    (left, top, right, bottom), (x_min, y_min, x_max, y_max) = a[:, said], b[:, true]
    width = np.minimum(right, x_max) - np.maximum(left, x_min)
    height = np.minimum(bottom, y_max) - np.maximum(top, y_min)
    whole = (right - left) * (bottom - top) + (x_max - x_min) * (y_max - y_min) - width * height
    near = (width > 0) & (height > 0) & (width * height >= iou * whole)
    names = [*chain.from_iterable(predicted.names for _, predicted in images)]
    true_names = [*chain.from_iterable(labelled.names for labelled, _ in images)]
    pairs = zip(said[near].tolist(), true[near].tolist(), strict=True)
    return sorted({int(of[mine]) for mine, other in pairs if names[mine] != true_names[other]})
