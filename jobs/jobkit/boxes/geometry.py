"""Boxes in the pixels of a picture: their areas and how far they overlap. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image: `corners` (n, 4) are left, top, right, bottom in pixels; `names` the class of each.

    `scores` are the confidences of predicted boxes. A labelled `crowd` stands for any number of objects: what is
    predicted inside it is neither right nor wrong.
    """

    corners: Floats
    names: Sequence[str]
    scores: Floats = field(default_factory=lambda: np.empty(0))
    crowd: Flags = field(default_factory=lambda: np.empty(0, bool))

    @staticmethod
    def of(corners: Iterable[Sequence[float]], names: Sequence[str], scores: Iterable[float] = ()) -> "Boxes":
        """Boxes of plain lists."""
        rows = np.array([*corners], dtype=np.float64).reshape(-1, 4)
        return Boxes(rows, names, np.array([*scores], dtype=np.float64), np.zeros(len(rows), bool))

    def __len__(self) -> int:
        return len(self.corners)

    def select(self, chosen: NDArray[np.intp]) -> "Boxes":
        """Some of the boxes, in the order asked for."""
        return Boxes(
            self.corners[chosen],
            [self.names[index] for index in chosen],
            self.scores[chosen] if len(self.scores) else self.scores,
            self.crowd[chosen] if len(self.crowd) else self.crowd,
        )


NONE = Boxes.of((), ())


def overlaps(predicted: Floats, labelled: Floats, crowd: Flags) -> Floats:
    """Intersection over union of each predicted box (rows) with each labelled one; over a crowd, the part inside."""
    width = np.minimum(predicted[:, None, 2], labelled[None, :, 2]) - np.maximum(
        predicted[:, None, 0], labelled[None, :, 0]
    )
    height = np.minimum(predicted[:, None, 3], labelled[None, :, 3]) - np.maximum(
        predicted[:, None, 1], labelled[None, :, 1]
    )
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    own, theirs = areas(predicted)[:, None], areas(labelled)[None, :]
    whole = np.where(crowd[None, :], np.broadcast_to(own, shared.shape), own + theirs - shared)
    result: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return result


def areas(corners: Floats) -> Floats:
    """Width times height of each box."""
    result: Floats = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return result
