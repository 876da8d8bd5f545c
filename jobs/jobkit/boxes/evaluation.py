"""How good predicted boxes are: average precision as COCO counts it, and hits and misses at one overlap. Streamed.

The figures are those of pycocotools (https://github.com/cocodataset/cocoapi, cocoeval.py): ten overlaps from 0.5 to
0.95, 101 points of recall, at most 100 boxes of a class an image, four ranges of area, crowds. A test compares them.
Of an image only four numbers a predicted box are kept.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.geometry import NONE, Boxes, Floats
from jobkit.boxes.matching import AREAS, LEVELS, LOWEST, OVERLAPS, Matched, at_each_confidence, bit_of, match_classes
from jobkit.boxes.mistakes import Mistakes
from jobkit.boxes.precision import Ranked, average_precision, precision_intervals
from jobkit.evaluation import DIGITS, THRESHOLDS, confusion_of, f1, ratio
from jobkit.report.statistics import GROUPS, Interval

MAX_PER_IMAGE = 100  # boxes of a class in an image that count for average precision
DEFAULT_CONFIDENCE = 0.5  # of the headline's precision and recall


@dataclass(slots=True)
class _Class:
    """What is kept of one class: of each predicted box its score, two sets of bits, and
    the group of pictures that it is of. `tp` and `fp` count those that are not kept, being beyond MAX_PER_IMAGE."""

    at: int
    images: int = 0
    labelled: list[int] = field(default_factory=lambda: [0] * len(AREAS))
    labelled_by_group: list[int] = field(default_factory=lambda: [0] * GROUPS)
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    groups: "array[int]" = field(default_factory=lambda: array("B"))
    hits: "array[int]" = field(default_factory=lambda: array("Q"))
    ignored: "array[int]" = field(default_factory=lambda: array("Q"))
    tp: list[int] = field(default_factory=lambda: [0] * LEVELS)
    fp: list[int] = field(default_factory=lambda: [0] * LEVELS)
    shared: float = 0.0

    def add(self, matched: Matched, group: int) -> None:
        labelled, counts = matched.labelled, self.labelled
        if labelled[0]:
            self.labelled_by_group[group] += labelled[0]
            for index, number in enumerate(labelled):
                counts[index] += number
            self.images += 1
            for score, shared in zip(matched.scores, matched.shared, strict=True):
                if score < DEFAULT_CONFIDENCE:
                    break
                self.shared += shared
        if matched.scores:
            self.groups.extend([group] * min(len(matched.scores), MAX_PER_IMAGE))
            self.scores.extend(matched.scores[:MAX_PER_IMAGE])
            self.hits.extend(matched.hits[:MAX_PER_IMAGE])
            self.ignored.extend(matched.ignored[:MAX_PER_IMAGE])
            if len(matched.scores) > MAX_PER_IMAGE:
                matched.count(self.tp, self.fp, MAX_PER_IMAGE)

    def by_confidence(self) -> dict[float, tuple[int, int, int, int]]:
        """Confidence -> (TP, FP, TN, FN)."""
        level = np.searchsorted(THRESHOLDS, np.array(self.scores), side="right")
        bit = np.uint64(self.at)
        right = (np.array(self.hits, np.uint64) & bit) != 0
        wrong = ~right & ((np.array(self.ignored, np.uint64) & bit) == 0)
        tp = np.bincount(level[right], minlength=LEVELS) + self.tp
        fp = np.bincount(level[wrong], minlength=LEVELS) + self.fp
        return at_each_confidence(tp.tolist(), fp.tolist(), self.labelled[0])

    def precisions(self) -> Floats:
        """(areas, overlaps): average precision, -1 where nothing of that size was labelled."""
        result = np.full((len(AREAS), len(OVERLAPS)), -1.0)
        _, hits, ignored = self._ranked()
        for area, labelled in enumerate(self.labelled):
            for overlap in range(len(OVERLAPS)) if labelled else ():
                bit = np.uint64(1 << (area * len(OVERLAPS) + overlap))
                says = (ignored & bit) == 0
                right = (hits[says] & bit) != 0
                result[area, overlap] = average_precision(right, np.ones(len(right), bool), labelled)
        return result

    def ranked(self) -> Ranked:
        """What a bootstrap over groups of pictures needs: boxes of all sizes."""
        order, hits, ignored = self._ranked()
        bits = np.array([1 << overlap for overlap in range(len(OVERLAPS))], np.uint64)[:, None]
        group = np.array(self.groups, np.intp)[order]
        return Ranked((hits & bits) != 0, (ignored & bits) == 0, group, np.array(self.labelled_by_group))

    def _ranked(self) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.uint64]]:
        """(order, hits, ignored) of the predicted boxes, the surest first."""
        order = np.argsort(-np.array(self.scores), kind="stable")
        return order, np.array(self.hits, np.uint64)[order], np.array(self.ignored, np.uint64)[order]


class BoxEvaluation:
    """Counts image after image and gives the figures of one split. `classes` are those that the model can predict;
    labels of other classes belong to nobody's task and must not be passed. Hits and misses are counted at the overlap
    `iou`; average precision is at those of COCO whatever it is."""

    def __init__(self, classes: Iterable[str], iou: float = LOWEST) -> None:
        self._iou = iou
        at = bit_of(iou)
        self._classes = defaultdict(lambda: _Class(at), {name: _Class(at) for name in classes})
        self._mistakes = Mistakes(iou, DEFAULT_CONFIDENCE)
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
        said = predicted or NONE
        pairs = match_classes(said, labelled, self._iou)
        for name, matched in pairs.items():
            self._classes[name].add(matched, (self.images - 1) % GROUPS)
        self._mistakes.add(labelled, said)
        return pairs

    def summary(self) -> dict[str, float]:
        """The headline figures; empty without an image. Means are over the classes that have a labelled box."""
        reached = [entry.by_confidence()[DEFAULT_CONFIDENCE] for entry in self._classes.values()]
        return self._summary([entry.precisions() for entry in self._classes.values()], reached)

    def _summary(self, precisions: list[Floats], counts: list[tuple[int, int, int, int]]) -> dict[str, float]:
        if not self.images:
            return {}
        figures = _means(np.array(precisions).reshape(-1, len(AREAS), len(OVERLAPS)))
        tp, fp, _, fn = (sum(column) for column in zip((0, 0, 0, 0), *counts, strict=True))
        shared = sum(entry.shared for entry in self._classes.values())
        return {
            **figures,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "mean_iou": ratio(shared, tp),
        }

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of the figures that average precisions make, by their names in metrics.json."""
        return precision_intervals((entry.ranked() for entry in self._classes.values()), self.images)

    def metrics(self) -> dict[str, Any]:
        """The split's part of metrics.json."""
        precisions = [entry.precisions() for entry in self._classes.values()]
        classes = {
            name: self._figures(entry, own)
            for (name, entry), own in zip(self._classes.items(), precisions, strict=True)
        }
        return {
            **self._summary(precisions, [(one["tp"], one["fp"], 0, one["fn"]) for one in classes.values()]),
            "confidence": DEFAULT_CONFIDENCE,
            "iou": self._iou,
            "rows": self.images,
            "rows_without_prediction": self.without_prediction,
            "rows_without_boxes": self.without_boxes,
            "classes": classes,
            "confusion": confusion_of(classes, self._mistakes.counts()),
        }

    @staticmethod
    def _figures(entry: _Class, precisions: Floats) -> dict[str, Any]:
        reached = entry.by_confidence()
        tp, fp, _, fn = reached[DEFAULT_CONFIDENCE]
        return {
            "support": entry.labelled[0],
            "images": entry.images,
            **_means(precisions[None]),
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "mean_iou": ratio(entry.shared, tp),
            "by_confidence": {str(at): list(counted) for at, counted in reached.items()},  # TP, FP, TN, FN
        }


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
