"""From what a network says to boxes: the peaks of a head's maps, or a transformer's queries. Pure numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.geometry import overlaps

SAME_OBJECT = 0.6  # a box that overlaps a surer one of its class by more is the same object
CANDIDATES = 3  # for each box that is wanted, since some fall out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Boxes of one picture, the surest first. `corners` (n, 4): left, top, right, bottom in parts of the sides."""

    corners: Floats
    classes: NDArray[np.intp]
    scores: Floats


def decode(
    chances: NDArray[np.float32], distances: NDArray[np.float32], threshold: float, most: int, exponent: float = 1.0
) -> Found:
    """At most `most` boxes with a score of at least `threshold`.

    chances     (classes, h, w), 0 to 1; a score is its chance to the power of `exponent`
    distances   (4, h, w): left, top, right, bottom from the middle of the cell, in cells
    """
    peaks = np.where(chances >= _neighbourhood(chances), chances, 0.0).astype(np.float64)
    flat = peaks.ravel()
    count = min(max(most * CANDIDATES, 1), flat.size)
    best = np.argpartition(-flat, count - 1)[:count]
    best = best[np.lexsort((best, -flat[best]))]
    scores = flat[best] ** exponent
    best, scores = best[(scores >= threshold) & (flat[best] > 0)], scores[(scores >= threshold) & (flat[best] > 0)]
    classes, rows, columns = np.unravel_index(best, peaks.shape)
    corners = _corners(distances, rows, columns)
    kept = _distinct(corners, classes, most)
    return Found(corners[kept], classes[kept].astype(np.intp), np.minimum(scores[kept], 1.0))


def decode_queries(
    chances: NDArray[np.float32], boxes: NDArray[np.float32], threshold: float, most: int, exponent: float = 1.0
) -> Found:
    """At most `most` boxes with a score of at least `threshold`. Each query stands for one object, so none is left out
    for being near another; one query may say two classes.

    chances     (queries, classes), 0 to 1; a score is its chance to the power of `exponent`
    boxes       (queries, 4): middle across, middle down, width, height in parts of the sides
    """
    flat = chances.astype(np.float64).ravel()
    order = np.lexsort((np.arange(flat.size), -flat))
    scores = flat[order] ** exponent
    queries, classes = np.divmod(order, chances.shape[1])
    across, down, width, height = boxes[queries].astype(np.float64).T
    edges = (across - width / 2, down - height / 2, across + width / 2, down + height / 2)
    corners = np.clip(np.stack(edges, axis=1), 0.0, 1.0)
    area = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    kept = np.flatnonzero((scores >= threshold) & (flat[order] > 0) & area)[:most]
    return Found(corners[kept], classes[kept].astype(np.intp), np.minimum(scores[kept], 1.0))


def _neighbourhood(chances: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest chance among each cell and its eight neighbours."""
    padded = np.pad(chances, ((0, 0), (1, 1), (1, 1)), constant_values=-1.0)
    height, width = chances.shape[1:]
    rows = np.maximum.reduce([padded[:, :, shift : shift + width] for shift in range(3)])
    result: NDArray[np.float32] = np.maximum.reduce([rows[:, shift : shift + height] for shift in range(3)])
    return result


def _corners(distances: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
    height, width = distances.shape[1:]
    left, top, right, bottom = distances[:, rows, columns].astype(np.float64)
    x, y = columns + 0.5, rows + 0.5
    edges = ((x - left) / width, (y - top) / height, (x + right) / width, (y + bottom) / height)
    result: Floats = np.clip(np.stack(edges, axis=1), 0.0, 1.0)
    return result


def _distinct(corners: Floats, classes: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Indices of the boxes that are not the same object as a surer one of their class."""
    # Boxes of different classes are moved apart, so that one table of overlaps is enough.
    apart = corners + classes[:, None] * 2.0
    same = overlaps(apart, apart, np.zeros(len(apart), bool)) > SAME_OBJECT
    alive = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    kept: list[int] = []
    for index in range(len(corners)):
        if alive[index] and len(kept) < most:
            kept.append(index)
            alive[index + 1 :] &= ~same[index, index + 1 :]
    return np.array(kept, dtype=np.intp)
