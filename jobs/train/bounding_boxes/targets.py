"""What the head should say of a picture: where the centres are, and how far the edges. Pure numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.bounding_boxes.cache import Look

# A centre is taught as a bell over the middle of the box, whose width grows with it (TTFNet, arxiv.org/abs/1909.00700).
BELL_SHARE = 0.54
SMALLEST_BELL = 1e-4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """centres (classes, h, w): 1 at each centre, falling off; distances (4, h, w) in cells; weights (h, w)."""

    centres: Floats
    distances: Floats
    weights: Floats


def target(look: Look, classes: int, cells: int) -> Target:
    """The head's target for one look. Where boxes overlap, the smaller one's edges are taught."""
    centres = np.zeros((classes, cells, cells), np.float32)
    distances = np.zeros((4, cells, cells), np.float32)
    weights = np.zeros((cells, cells), np.float32)
    corners = look.corners * cells
    middle = np.arange(cells) + 0.5
    sizes = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    for index in np.argsort(-sizes, kind="stable"):
        left, top, right, bottom = corners[index]
        bell = np.outer(_bell(top, bottom, cells), _bell(left, right, cells)).astype(np.float32)
        bell[bell < SMALLEST_BELL] = 0.0
        number = look.classes[index]
        centres[number] = np.maximum(centres[number], bell)
        inside = bell > 0
        edges = np.broadcast_arrays(
            middle[None, :] - left, middle[:, None] - top, right - middle[None, :], bottom - middle[:, None]
        )
        distances[:, inside] = np.stack(edges)[:, inside]
        weights[inside] = bell[inside] / bell.sum()
    return Target(centres, distances, weights)


def _bell(low: float, high: float, cells: int) -> NDArray[np.float64]:
    """One at the cell of the middle, falling off to both sides; a box under two cells has only its own cell."""
    centre = min(int((low + high) / 2), cells - 1)
    radius = int((high - low) / 2 * BELL_SHARE)
    spread = (2 * radius + 1) / 6
    steps = np.arange(cells) - centre
    bell = np.exp(-(steps**2) / (2 * spread**2))
    result: NDArray[np.float64] = np.where(np.abs(steps) <= radius, bell, 0.0)
    return result
