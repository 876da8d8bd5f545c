"""How good predicted boxes are: average precision as COCO counts it, and hits and misses at one overlap. Streamed.

The figures are those of pycocotools (https://github.com/cocodataset/cocoapi, cocoeval.py): ten overlaps from 0.5 to
0.95, 101 points of recall, at most 100 boxes of a class an image, four ranges of area, crowds. A test compares them.
Of an image only three numbers a predicted box are kept.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.geometry import NONE, Boxes, Flags, Floats, areas, overlaps
from jobkit.evaluation import DIGITS, THRESHOLDS, f1, ratio

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_PER_IMAGE = 100  # boxes of a class in an image that count for average precision
# Square pixels of the picture as it was labelled.
AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
DEFAULT_CONFIDENCE = 0.5  # of the headline's precision and recall
_LOWS = np.array([low for low, _ in AREAS.values()])[:, None]
_HIGHS = np.array([high for _, high in AREAS.values()])[:, None]
_THRESHOLDS = np.array(THRESHOLDS)
_CELLS = len(AREAS) * len(OVERLAPS)
_BITS = np.left_shift(np.uint64(1), np.arange(_CELLS, dtype=np.uint64)).reshape(len(AREAS), len(OVERLAPS))


@dataclass(frozen=True)
class Matched:
    """One class on one image, predicted boxes from the surest down.

    order      where each predicted box stood in what was given
    hits       (predicted, areas, overlaps): it matches a labelled box that counts
    ignored    the same shape: it says nothing, for it lies in a crowd or is of another size than asked for
    partner    at the lowest overlap, sizes of all kinds: the index of the labelled box that it hits, -1 for none
    shared     the overlap with that box
    labelled   labelled boxes that count, a range of area
    """

    order: NDArray[np.intp]
    scores: Floats
    hits: Flags
    ignored: Flags
    partner: NDArray[np.intp]
    shared: Floats
    labelled: NDArray[np.intp]

    @cached_property
    def by_confidence(self) -> dict[float, tuple[int, int, int, int]]:
        """Confidence -> (TP, FP, TN, FN) if only boxes of at least that were predicted; TN is not known of boxes."""
        said = self.scores[None, :] >= _THRESHOLDS[:, None]
        hit, wrong = self.hits[:, 0, 0], ~(self.hits[:, 0, 0] | self.ignored[:, 0, 0])
        hits, labelled = (said & hit).sum(axis=1).tolist(), int(self.labelled[0])
        wrongs = (said & wrong).sum(axis=1).tolist()
        return {at: (tp, fp, 0, labelled - tp) for at, tp, fp in zip(THRESHOLDS, hits, wrongs, strict=True)}


def match(predicted: Boxes, labelled: Boxes) -> Matched:
    """Pairs the boxes of one class on one image as COCO does: the surest first, each with the best that is left.

    A pairing never depends on less sure boxes, so it holds for every confidence at which one may cut.
    """
    order = np.argsort(-predicted.scores, kind="stable")
    corners, scores = predicted.corners[order], predicted.scores[order]
    crowd = labelled.crowd if len(labelled.crowd) else np.zeros(len(labelled), bool)
    sizes = areas(labelled.corners)[None, :]
    skipped = crowd[None, :] | (sizes < _LOWS) | (sizes > _HIGHS)
    shape = (len(order), len(AREAS), len(OVERLAPS))
    hits, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    partner, shared = np.full(len(order), -1, dtype=np.intp), np.zeros(len(order))
    own = areas(corners)[:, None]
    outside = (own < _LOWS.T) | (own > _HIGHS.T)
    ignored[:] = outside[:, :, None]
    if len(order) and len(labelled):
        shares = overlaps(corners, labelled.corners, crowd)
        _pair(shares, crowd, skipped, hits, ignored, partner)
        found = partner >= 0
        shared[found] = shares[found, partner[found]]
    return Matched(order, scores, hits, ignored, partner, shared, (~skipped).sum(axis=1))


def _pair(shares: Floats, crowd: Flags, skipped: Flags, hits: Flags, ignored: Flags, partner: NDArray[np.intp]) -> None:
    """Fills hits, ignored and partner; all ranges of area and all overlaps side by side."""
    limits = np.minimum(OVERLAPS, 1 - 1e-10)[None, :, None]
    count = shares.shape[1]
    taken = np.zeros((len(AREAS), len(OVERLAPS), count), bool)
    preferred = np.where(skipped, 0, count)[:, None, :]
    area, overlap = np.indices((len(AREAS), len(OVERLAPS)))
    for index in np.flatnonzero((shares >= OVERLAPS[0]).any(axis=1)):
        row = shares[index]
        rank = np.empty(count, dtype=np.intp)
        rank[np.argsort(row, kind="stable")] = np.arange(1, count + 1)  # of equals the later one is the better
        free = (row[None, None, :] >= limits) & (~taken | crowd[None, None, :])
        worth = np.where(free, rank[None, None, :] + preferred, 0)
        best = worth.argmax(axis=2)
        matched = worth[area, overlap, best] > 0
        uncounted = skipped[area, best]
        hits[index] = matched & ~uncounted
        ignored[index] = np.where(matched, uncounted, ignored[index])
        taken[area[matched], overlap[matched], best[matched]] = True
        if hits[index, 0, 0]:
            partner[index] = best[0, 0]


@dataclass(slots=True)
class _Class:
    """What is kept of one class: of each predicted box its score and two sets of bits."""

    images: int = 0
    labelled: NDArray[np.intp] = field(default_factory=lambda: np.zeros(len(AREAS), dtype=np.intp))
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    hits: "array[int]" = field(default_factory=lambda: array("Q"))
    ignored: "array[int]" = field(default_factory=lambda: array("Q"))
    tp: Counter[float] = field(default_factory=Counter)
    fp: Counter[float] = field(default_factory=Counter)
    shared: float = 0.0

    def add(self, matched: Matched) -> None:
        first = slice(0, MAX_PER_IMAGE)
        self.images += bool(matched.labelled[0])
        self.labelled += matched.labelled
        self.scores.extend(matched.scores[first])
        self.hits.extend((matched.hits[first] * _BITS).sum(axis=(1, 2), dtype=np.uint64).tolist())
        self.ignored.extend((matched.ignored[first] * _BITS).sum(axis=(1, 2), dtype=np.uint64).tolist())
        for confidence, (tp, fp, _, _) in matched.by_confidence.items():
            self.tp[confidence] += tp
            self.fp[confidence] += fp
        sure = (matched.partner >= 0) & (matched.scores >= DEFAULT_CONFIDENCE)
        self.shared += float(matched.shared[sure].sum())

    def precisions(self) -> Floats:
        """(areas, overlaps): average precision, -1 where nothing of that size was labelled."""
        result = np.full((len(AREAS), len(OVERLAPS)), -1.0)
        order = np.argsort(-np.frombuffer(self.scores), kind="stable") if self.scores else np.empty(0, np.intp)
        hits = np.frombuffer(self.hits, np.uint64)[order] if self.scores else np.empty(0, np.uint64)
        ignored = np.frombuffer(self.ignored, np.uint64)[order] if self.scores else np.empty(0, np.uint64)
        for area in np.flatnonzero(self.labelled):
            for overlap in range(len(OVERLAPS)):
                bit = _BITS[area, overlap]
                says = (ignored & bit) == 0
                result[area, overlap] = _average_precision((hits[says] & bit) != 0, int(self.labelled[area]))
        return result


def _average_precision(hits: Flags, labelled: int) -> float:
    """The mean over 101 recalls of the best precision at that recall or a higher one."""
    if not len(hits):
        return 0.0
    tp = np.cumsum(hits)
    recall = tp / labelled
    precision = tp / (np.arange(1, len(hits) + 1) + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(hits), precision[np.minimum(at, len(hits) - 1)], 0.0).mean())


class BoxEvaluation:
    """Counts image after image and gives the figures of one split. `classes` are those that the model can predict;
    labels of other classes belong to nobody's task and must not be passed."""

    def __init__(self, classes: Iterable[str]) -> None:
        self._classes: dict[str, _Class] = {name: _Class() for name in classes}
        self.images = 0
        self.without_prediction = 0
        self.without_boxes = 0

    def add(self, labelled: Boxes, predicted: Boxes | None) -> dict[str, Matched]:
        """Counts one labelled image, also one without boxes or (None) without a prediction: its boxes are missed.

        Returns the pairing by class, of the classes that are on either side.
        """
        self.images += 1
        self.without_prediction += predicted is None
        self.without_boxes += not len(labelled)
        pairs = {}
        for name, ours, theirs in _by_class(predicted or NONE, labelled):
            pairs[name] = matched = match(ours, theirs)
            self._classes.setdefault(name, _Class()).add(matched)
        return pairs

    def summary(self) -> dict[str, float]:
        """The headline figures; empty without an image. Means are over the classes that have a labelled box."""
        if not self.images:
            return {}
        precisions = [entry.precisions() for entry in self._classes.values()]
        figures = _means(np.array(precisions).reshape(-1, len(AREAS), len(OVERLAPS)))
        counts = [(0, 0, 0), *(self._at_default(entry) for entry in self._classes.values())]
        tp, fp, fn = (sum(column) for column in zip(*counts, strict=True))
        shared = sum(entry.shared for entry in self._classes.values())
        return {
            **figures,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "mean_iou": ratio(shared, tp),
        }

    def metrics(self) -> dict[str, Any]:
        """The split's part of metrics.json."""
        return {
            **self.summary(),
            "confidence": DEFAULT_CONFIDENCE,
            "rows": self.images,
            "rows_without_prediction": self.without_prediction,
            "rows_without_boxes": self.without_boxes,
            "classes": {name: self._figures(entry) for name, entry in self._classes.items()},
        }

    @staticmethod
    def _at_default(entry: _Class) -> tuple[int, int, int]:
        tp = entry.tp[DEFAULT_CONFIDENCE]
        return tp, entry.fp[DEFAULT_CONFIDENCE], int(entry.labelled[0]) - tp

    def _figures(self, entry: _Class) -> dict[str, Any]:
        tp, fp, fn = self._at_default(entry)
        labelled = int(entry.labelled[0])
        counts = {
            str(at): [entry.tp[at], entry.fp[at], 0, labelled - entry.tp[at]] for at in THRESHOLDS
        }  # TP, FP, TN, FN
        return {
            "support": labelled,
            "images": entry.images,
            **_means(entry.precisions()[None]),
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "mean_iou": ratio(entry.shared, tp),
            "by_confidence": counts,
        }


def _by_class(predicted: Boxes, labelled: Boxes) -> Iterator[tuple[str, Boxes, Boxes]]:
    ours, theirs = np.array(predicted.names, dtype=object), np.array(labelled.names, dtype=object)
    for name in dict.fromkeys([*labelled.names, *predicted.names]):
        yield name, predicted.select(np.flatnonzero(ours == name)), labelled.select(np.flatnonzero(theirs == name))


def _means(precisions: Floats) -> dict[str, float]:
    """(classes, areas, overlaps) -> the named means; a size of which nothing is labelled has no figure."""

    def mean(chosen: Floats) -> float | None:
        known = chosen[chosen > -1]
        return round(float(known.mean()), DIGITS) if len(known) else None

    figures = {
        "map_50": mean(precisions[:, 0, 0]),
        "map_75": mean(precisions[:, 0, 5]),
        "map_50_95": mean(precisions[:, 0]),
        **{f"map_50_95_{name}": mean(precisions[:, index]) for index, name in enumerate(AREAS) if index},
    }
    return {name: value for name, value in figures.items() if value is not None}
