"""How good the detector is on the validation split while it learns, and what its chances mean as confidences."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.decoding import Found
from jobkit.boxes.evaluation import DEFAULT_CONFIDENCE, BoxEvaluation
from jobkit.boxes.geometry import Boxes
from train.bounding_boxes.cache import Look

MOST = 100
LEAST_CHANCE = 0.01
BATCH = 16
PLATEAU = 0.01  # cuts whose F1 is this near to the best are as good
CUTS = (0.1, 0.8)  # bounds on where validation may move the cut; a small split must not decide everything

# Finds at most MOST boxes of at least LEAST_CHANCE in each of some validation pictures, told by their numbers.
Find = Callable[[NDArray[np.intp]], Sequence[Found]]


class Judge:
    """Compares what is found in the validation pictures with what is there; `looks` are those of the plain views."""

    def __init__(self, looks: Sequence[Look], classes: Sequence[str], side_px: int) -> None:
        self._looks = looks
        self._classes = tuple(classes)
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._looks)

    def figures(self, find: Find) -> tuple[dict[str, float], float]:
        """(the headline figures, the chance at which to cut for the best F1)."""
        evaluation = BoxEvaluation(self._classes)
        scores: list[NDArray[np.float64]] = []
        hits: list[NDArray[np.bool_]] = []
        labelled = 0
        for start in range(0, len(self), BATCH):
            rows = np.arange(start, min(start + BATCH, len(self)))
            for row, found in zip(rows, find(rows), strict=True):
                look = self._looks[int(row)]
                truth = self._boxes(look.corners, look.classes)
                labelled += len(truth)
                for matched in evaluation.add(truth, self._predicted(found)).values():
                    scores.append(np.asarray(matched.scores, dtype=np.float64))
                    hits.append(np.asarray(matched.partner) >= 0)
        cut = best_cut(np.concatenate([*scores, []]), np.concatenate([*hits, np.empty(0, bool)]), labelled)
        return evaluation.summary(), cut

    def _boxes(self, corners: NDArray[np.float64], classes: NDArray[np.intp]) -> Boxes:
        return Boxes(corners * self._side_px, [self._classes[number] for number in classes])

    def _predicted(self, found: Found) -> Boxes:
        boxes = self._boxes(found.corners, found.classes)
        return Boxes(boxes.corners, boxes.names, found.scores)


def best_cut(scores: NDArray[np.float64], hits: NDArray[np.bool_], labelled: int) -> float:
    """The middle of the chances that give the best F1 when less sure boxes are cut off."""
    if not labelled or not hits.any():
        return DEFAULT_CONFIDENCE
    order = np.argsort(-scores, kind="stable")
    tp = np.cumsum(hits[order])
    f1 = 2 * tp / (np.arange(1, len(order) + 1) + labelled)
    good = scores[order][f1 >= f1.max() - PLATEAU]
    return min(max(float(good.min() + good.max()) / 2, CUTS[0]), CUTS[1])


def exponent_for(cut: float) -> float:
    """Bends chances so that the best cut becomes a confidence of 0.5; the order of boxes stays as it is."""
    return math.log(DEFAULT_CONFIDENCE) / math.log(cut)
