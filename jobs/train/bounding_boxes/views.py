"""Several looks at one picture: as it is, mirrored, and moved nearer or further away. Pure.

The network below the head is frozen, so what it sees of a look is computed once and kept.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from jobkit.image.batches import Pixels
from train.bounding_boxes.examples import Corners

GREY = (127, 127, 127)  # zero for the network
NEAREST, FURTHEST = 1.35, 0.65
LARGEST_SHIFT = 0.2  # of the side
LEAST_VISIBLE = 0.4  # of a box's area; less of it teaches little


@dataclass(frozen=True)
class View:
    """`zoom` over 1 is nearer; `right` and `down` move the point that is looked at, in parts of the side."""

    mirrored: bool = False
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def pixels(self, plain: Pixels) -> Pixels:
        """The picture (side, side, 3) as this view sees it; grey where there is none."""
        seen = plain[:, ::-1] if self.mirrored else plain
        if self.zoom == 1.0 and not self.right and not self.down:
            return np.ascontiguousarray(seen)
        side = len(seen)
        start_x, start_y = ((0.5 - 0.5 / self.zoom + shift) * side for shift in (self.right, self.down))
        matrix = (1 / self.zoom, 0.0, start_x, 0.0, 1 / self.zoom, start_y)
        picture = Image.fromarray(np.ascontiguousarray(seen))
        moved = picture.transform(
            (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
        )
        return np.asarray(moved)

    def corners(self, plain: Corners) -> tuple[Corners, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        """The boxes as this view sees them, cut at its edges, and which of them are still visible enough."""
        seen = plain[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0] if self.mirrored else plain
        moved = (seen - 0.5 - np.array([self.right, self.down] * 2)) * self.zoom + 0.5
        cut = np.clip(moved, 0.0, 1.0)
        visible = _areas(cut) > LEAST_VISIBLE * _areas(moved)
        return cut, visible


def _areas(corners: Corners) -> Corners:
    result: Corners = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return result


def views(count: int, dice: np.random.Generator) -> list[View]:
    """The plain view, its mirror image, then random ones."""
    result = [View(), View(mirrored=True)]
    while len(result) < count:
        result.append(random_view(dice))
    return result[:count]


def random_view(dice: np.random.Generator) -> View:
    """Nearer or further away, moved, and mirrored half of the time."""
    zoom = float(np.exp(dice.uniform(np.log(FURTHEST), np.log(NEAREST))))
    right, down = dice.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2).tolist()
    return View(bool(dice.random() < 0.5), zoom, right, down)
