"""What a data set of boxes must hold to be trained on: by AutoML with Vertex's own limits, or by our trainer. Pure.

https://cloud.google.com/vertex-ai/docs/image-data/object-detection/prepare-data
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobkit.boxes.labels import LabelledBox
from jobkit.dataset_report import describe
from jobkit.errors import BadData, shorten
from jobkit.image.limits import MAX_IMAGES, MAX_LABELS, Counts, asked_in_training, kept_labels
from jobkit.splits import SPLITS, TRAINING

AUTOML = "automl"
CONTAINER = "container"
TRAINERS = (AUTOML, CONTAINER)
MAX_BOXES = 1_000_000
MAX_BOXES_PER_IMAGE = 500
SMALLEST_SHARE = 0.01  # of the picture's side
SMALLEST_PX = 8  # after the picture was made smaller
LARGEST_SHORT_SIDE_PX = 1024  # Vertex makes larger pictures smaller
_ROUNDING = 1e-6  # a box of exactly 8 px must not be lost in its division by the side
_TWIN = "Take the model type bounding_box_custom, which trains in our own container."

Normalised = tuple[float, float, float, float]


def normalised(box: LabelledBox, width: int, height: int) -> Normalised:
    """xMin, yMin, xMax, yMax in parts of the sides, with full precision."""
    left, top, right, bottom = box.corners
    return left / width, top / height, min(right / width, 1.0), min(bottom / height, 1.0)


def large_enough(edges: Normalised, width: int, height: int) -> bool:
    """Whether Vertex keeps the box: 1 % of each side, and 8 x 8 pixels once the short side is at most 1024."""
    wide, high = edges[2] - edges[0], edges[3] - edges[1]
    scale = min(1.0, LARGEST_SHORT_SIDE_PX / min(width, height))
    shares, pixels = min(wide, high), min(wide * width, high * height) * scale
    return shares >= SMALLEST_SHARE - _ROUNDING and pixels >= SMALLEST_PX - _ROUNDING


@dataclass(frozen=True)
class BoxLimits:
    """What the trainer asks of single boxes, of classes and of the whole."""

    trainer: str

    def too_many(self, boxes: int) -> bool:
        """Whether a picture with so many boxes that can be trained on is not taken."""
        return self.trainer == AUTOML and boxes > MAX_BOXES_PER_IMAGE

    def learnable(self, edges: Normalised, width: int, height: int) -> bool:
        """Whether the box can be trained on; it is looked for in the evaluation whether or not."""
        return self.trainer == CONTAINER or large_enough(edges, width, height)

    def kept(self, counts: Counts, names: Iterable[str], minimum: int) -> tuple[tuple[str, ...], dict[str, int]]:
        """(classes that can be trained, the others with their number of images)."""
        if self.trainer == AUTOML:
            return kept_labels(counts, names, minimum)
        ordered = list(names)
        kept = tuple(name for name in ordered if counts.get(name, {}).get(TRAINING, 0) >= max(minimum, 1))
        return kept, {name: sum(counts.get(name, {}).values()) for name in ordered if name not in kept}

    def check(
        self,
        counts: Counts,
        kept: tuple[str, ...],
        left_out: Mapping[str, int],
        images: int,
        boxes: int,
        strict: bool,
        minimum: int = 1,
    ) -> None:
        """Raises BadData, naming the figures, when the training could only fail."""
        figures = describe(counts, [*kept, *left_out])
        hint = f"Images in training/validation/test: {figures}" if figures else "Draw boxes on some rows first."
        trainer, images_needed = ("AutoML", "10 images") if self.trainer == AUTOML else ("The trainer", "an image")
        needs = f"{trainer} needs {images_needed} with boxes of a class{asked_in_training(minimum)}."
        if left_out and strict:
            raise BadData(f"These classes have too few images: {', '.join(left_out)}. {needs}", hint)
        if not kept:
            raise BadData(f"No class has enough images with boxes. {needs} {shorten(figures, 120)}", hint)
        for split in SPLITS if self.trainer == AUTOML else (TRAINING,):
            if not any(counts[name].get(split) for name in kept):
                raise BadData(
                    f"No image with a box is in the {split} split.",
                    "Assign splits to the model run's rows, or set the parameter make_split.",
                )
        if self.trainer == AUTOML:
            for count, most, what in (
                (len(kept), MAX_LABELS, "classes"),
                (images, MAX_IMAGES, "labelled images"),
                (boxes, MAX_BOXES, "boxes"),
            ):
                if count > most:
                    raise BadData(f"The data set has {count:,} {what}; AutoML takes at most {most:,}.", _TWIN)
