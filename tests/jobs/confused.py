"""What is taken for what, counted one by one: a slow second opinion on the matrices of boxes and of entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jobkit.boxes.geometry import Boxes
from jobkit.ner.spans import Entity

Matrix = dict[str, dict[str, int]]


def matrix_of(pairs: Iterable[tuple[str, str]]) -> Matrix:
    table: Matrix = {}
    for (true, said), count in Counter(pairs).items():
        table.setdefault(true, {})[said] = count
    return table


def pair(said: list[Any], true: list[Any], worth: Callable[[Any, Any], float]) -> list[tuple[Any, Any]]:
    """Takes each of `said`, in this order, and the one of `true` for which the number is largest, if above 0, out of
    both lists."""
    pairs = []
    for one in [*said]:
        best = max(true, key=lambda other: worth(one, other), default=None)
        if best is not None and worth(one, best) > 0:
            pairs.append((best, one))
            said[:] = [other for other in said if other is not one]
            true[:] = [other for other in true if other is not best]
    return pairs


def of_boxes(images: Iterable[tuple[Boxes, Boxes]], iou: float = 0.5, least: float = 0.5) -> Matrix:
    counted: list[tuple[str, str]] = []
    for labelled, predicted in images:
        crowd = labelled.crowd.tolist() or [False] * len(labelled)
        boxes = [*zip(labelled.names, labelled.corners.tolist(), crowd, strict=True)]
        true = [(name, box) for name, box, many in boxes if not many]
        sure = sorted(zip(predicted.scores.tolist(), range(len(predicted)), strict=True), key=lambda one: -one[0])
        said = [(predicted.names[index], predicted.corners[index].tolist()) for score, index in sure if score >= least]
        counted += [(a[0], b[0]) for a, b in pair(said, true, lambda one, other: same(one, other, iou))]
        for name, box, many in boxes:
            said = [one for one in said if not (many and one[0] == name and shared(one[1], box) >= iou * area(one[1]))]
        counted += [(a[0], b[0]) for a, b in pair(said, true, lambda one, other: overlap(one, other, iou))]
        counted += [*((one[0], "") for one in true), *(("", one[0]) for one in said)]
    return matrix_of(counted)


def of_entities(texts: Iterable[tuple[Iterable[Entity], Iterable[Entity]]]) -> Matrix:
    """Of labelled and found entities; those of equal confidence have no order here."""
    counted: list[tuple[str, str]] = []
    for labelled, found in texts:
        said, true = sorted(found, key=lambda one: -one.confidence), [*labelled]
        exact = pair(said, true, lambda one, other: float(one[:3] == other[:3]))
        moved = pair(said, true, lambda one, other: common(one, other) * (one.name == other.name))
        taken = pair(said, true, common)
        counted += [(a.name, b.name) for a, b in (*exact, *taken)]
        counted += [(one.name, "") for one in (*(a for a, _ in moved), *true)]
        counted += [("", one.name) for one in (*(b for _, b in moved), *said)]
    return matrix_of(counted)


def common(one: Entity, other: Entity) -> float:
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def same(one: Any, other: Any, iou: float) -> float:
    return overlap(one, other, iou) if one[0] == other[0] else 0.0


def overlap(one: Any, other: Any, iou: float) -> float:
    both = shared(one[1], other[1])
    share = both / (area(one[1]) + area(other[1]) - both)
    return share if share >= iou else 0.0


def area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(one: Sequence[float], other: Sequence[float]) -> float:
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
