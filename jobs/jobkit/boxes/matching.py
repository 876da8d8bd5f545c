"""Which predicted box of an image hits which labelled one, at every overlap and for every range of area at once. Pure.

As COCO pairs them (pycocotools, cocoeval.py): the surest first, each with the best that is left. An image has few boxes
of a class, so plain numbers are quicker here than arrays; the forty combinations of four ranges of area and ten
overlaps are the bits of one number.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, islice

import numpy as np

from jobkit.boxes.geometry import Boxes, overlaps
from jobkit.evaluation import THRESHOLD_WORDS, THRESHOLDS

OVERLAPS = np.linspace(0.5, 0.95, 10)
# Square pixels of the picture as it was labelled.
AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
LOWEST = 0.5  # of OVERLAPS
LEVELS = len(THRESHOLDS) + 1
MANY = 64  # pairs of boxes from which on arrays are quicker

Corners = Sequence[float]

_LIMITS = np.minimum(OVERLAPS, 1 - 1e-10).tolist()
_BLOCK = (1 << len(_LIMITS)) - 1  # all overlaps of one range of area
_BLOCKS = [_BLOCK << len(_LIMITS) * index for index in range(len(AREAS))]
_ALL = (1 << len(_LIMITS) * len(AREAS)) - 1
_EDGES = sorted({edge for limits in AREAS.values() for edge in limits})
# The bits of the ranges that a size is not in, by the number of edges below it and of those at or below it together:
# an edge belongs to the ranges on both of its sides.
_OUTSIDE = [
    sum(
        block
        for (low, high), block in zip(AREAS.values(), _BLOCKS, strict=True)
        if not 2 * _EDGES.index(low) < place < 2 * _EDGES.index(high) + 2
    )
    for place in range(2 * len(_EDGES) + 1)
]
# By these bits: one box of such a size, counted in each range.
_COUNTED = {bits: tuple([int(not bits & block) for block in _BLOCKS]) for bits in (*_OUTSIDE, _ALL)}
# Bits of all ranges of area for an overlap that reaches the first n limits.
_REACHED = [
    sum(((1 << count) - 1) << len(_LIMITS) * index for index in range(len(AREAS))) for count in range(len(_LIMITS) + 1)
]


class Matched:
    """One class on one image, predicted boxes from the surest down.

    order      where each predicted box stood in what was given
    hits       bits (area, overlap) in which it matches a labelled box that counts
    ignored    bits in which it says nothing, for it lies in a crowd or is of another size than asked for
    at         the bit of one overlap, sizes of all kinds: that which the next two and the counts are about
    partner    the index of the labelled box that it hits, -1 for none
    shared     the overlap with that box, 0 for none
    labelled   labelled boxes that count, a range of area
    """

    __slots__ = ("at", "hits", "ignored", "labelled", "order", "partner", "scores", "shared")

    def __init__(
        self, order: list[int], scores: list[float], ignored: list[int], labelled: Sequence[int], at: int
    ) -> None:
        """As long as no box is paired."""
        self.at = at
        self.order = order
        self.scores = scores
        self.labelled = labelled
        self.hits = [0] * len(order)
        self.ignored = ignored
        self.partner = [-1] * len(order)
        self.shared = [0.0] * len(order)

    def count(self, tp: list[int], fp: list[int], first: int = 0) -> None:
        """Adds each box from the `first` on that hits or errs to the highest confidence that it reaches."""
        for score, hit, ignored in islice(zip(self.scores, self.hits, self.ignored, strict=True), first, None):
            if hit & self.at:
                tp[bisect_right(THRESHOLDS, score)] += 1
            elif not ignored & self.at:
                fp[bisect_right(THRESHOLDS, score)] += 1

    def confusion(self) -> dict[str, list[int]]:
        """Confidence, in words -> [TP, FP, TN, FN] if only boxes of at least that were predicted; TN is not known."""
        tp, fp = [0] * LEVELS, [0] * LEVELS
        self.count(tp, fp)
        labelled, hits, wrongs = self.labelled[0], 0, 0
        current, counts = [0, 0, 0, labelled], []
        for level in range(LEVELS - 1, 0, -1):
            if tp[level] or fp[level]:  # few boxes: most levels say what the one above says
                hits, wrongs = hits + tp[level], wrongs + fp[level]
                current = [hits, wrongs, 0, labelled - hits]
            counts.append(current)
        return dict(zip(THRESHOLD_WORDS, reversed(counts), strict=True))


def at_each_confidence(tp: Sequence[int], fp: Sequence[int], labelled: int) -> dict[float, tuple[int, int, int, int]]:
    """The same figures out of numbers by level: what reaches a level counts at all lower ones too."""
    hits, wrongs = list(accumulate(reversed(tp))), list(accumulate(reversed(fp)))
    last = LEVELS - 2
    return {
        at: (hits[last - index], wrongs[last - index], 0, labelled - hits[last - index])
        for index, at in enumerate(THRESHOLDS)
    }


@cache
def bit_of(iou: float) -> int:
    """The bit of one of OVERLAPS, for boxes of all sizes. Raises ValueError for any other number."""
    for index, overlap in enumerate(OVERLAPS.tolist()):
        if abs(overlap - iou) < 1e-9:
            return 1 << index
    raise ValueError(f"{iou:g} is none of {', '.join(f'{overlap:g}' for overlap in OVERLAPS)}")


def match_classes(predicted: Boxes, labelled: Boxes, iou: float = LOWEST) -> dict[str, Matched]:
    """The pairing of each class that is on either side of an image, the labelled ones first; what is counted as a hit
    overlaps by at least `iou`, one of OVERLAPS."""
    at = bit_of(iou)
    ours, theirs = places(predicted.names), places(labelled.names)
    said, true = predicted.corners.tolist(), labelled.corners.tolist()
    scores, crowd = predicted.scores.tolist(), labelled.crowd.tolist()
    pairs = {}
    for name in (*theirs, *(one for one in ours if one not in theirs)):
        mine, others = ours.get(name, ()), theirs.get(name, ())
        pairs[name] = _match(
            [said[index] for index in mine],
            [scores[index] for index in mine],
            [true[index] for index in others],
            [crowd[index] for index in others] if crowd else [False] * len(others),
            at,
        )
    return pairs


def match(predicted: Boxes, labelled: Boxes) -> Matched:
    """The pairing of boxes that are all of one class.

    A pairing never depends on less sure boxes, so it holds for every confidence at which one may cut.
    """
    crowd = labelled.crowd.tolist() or [False] * len(labelled)
    at = bit_of(LOWEST)
    return _match(predicted.corners.tolist(), predicted.scores.tolist(), labelled.corners.tolist(), crowd, at)


def places(names: Sequence[str]) -> dict[str, list[int]]:
    """Class -> where its boxes stand: what the indices of its pairing count."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(name, []).append(index)
    return found


def _match(said: list[Corners], scores: list[float], true: list[Corners], crowd: list[bool], at: int) -> Matched:
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)  # stable: of equals the first goes first
    skipped = [_ALL if crowd[index] else _outside(box) for index, box in enumerate(true)]
    counted = _COUNTED[skipped[0] if true else _ALL]
    if len(true) > 1:
        counted = tuple(map(sum, zip(*[_COUNTED[bits] for bits in skipped], strict=True)))
    ignored = [_outside(said[index]) for index in order]
    matched = Matched(order, [scores[index] for index in order], ignored, counted, at)
    taken = [0] * len(true)
    for rank, shares in _shares(said, order, true, crowd) if true and order else ():
        hits = silent = 0
        # The best first; of equals the later one is the better.
        shares.sort(reverse=True)
        for share, other in shares:
            can = _REACHED[bisect_right(_LIMITS, share)] & ~(taken[other] | hits | skipped[other])
            if can & at:
                matched.partner[rank], matched.shared[rank] = other, share
            hits |= can
            taken[other] |= can
        for share, other in shares:
            free = ~0 if crowd[other] else ~taken[other]
            can = _REACHED[bisect_right(_LIMITS, share)] & free & skipped[other] & ~(hits | silent)
            silent |= can
            taken[other] |= can
        matched.hits[rank] = hits
        ignored[rank] = silent | ignored[rank] & ~hits
    return matched


def _outside(box: Corners) -> int:
    """The bits of the ranges of area that a box is not in."""
    size = (box[2] - box[0]) * (box[3] - box[1])
    return _OUTSIDE[bisect_left(_EDGES, size) + bisect_right(_EDGES, size)]


def _shares(
    said: list[Corners], order: list[int], true: list[Corners], crowd: list[bool]
) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """(rank, labelled boxes that it overlaps enough to matter as (overlap, index)) of each predicted box that has some,
    the surest first."""
    if len(order) * len(true) > MANY:
        table = overlaps(np.array(said)[order], np.array(true), np.array(crowd))
        for rank, row in enumerate(table):
            found = [(float(row[other]), int(other)) for other in np.flatnonzero(row >= _LIMITS[0])]
            if found:
                yield rank, found
        return
    for rank, index in enumerate(order):
        left, top, right, bottom = said[index]
        found = []
        for other, (x_min, y_min, x_max, y_max) in enumerate(true):
            if left < x_max and x_min < right and top < y_max and y_min < bottom:
                width = (right if right < x_max else x_max) - (left if left > x_min else x_min)
                height = (bottom if bottom < y_max else y_max) - (top if top > y_min else y_min)
                if width > 0 and height > 0:  # the four edges say so already, but for a box turned inside out
                    inside, own = width * height, (right - left) * (bottom - top)
                    whole = own if crowd[other] else own + (x_max - x_min) * (y_max - y_min) - inside
                    if inside / whole >= _LIMITS[0]:
                        found.append((inside / whole, other))
        if found:
            yield rank, found
