"""What a trainer of image classification asks of a data set, checked before anything is paid for. Pure.

AutoML's limits hold where Vertex trains; our own container asks only for what cannot be done without.

https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobkit.dataset_report import describe
from jobkit.errors import BadData, shorten
from jobkit.splits import SPLITS, TRAINING

MIN_IMAGES_PER_LABEL = 10
MAX_IMAGES = 150_000
MAX_LABELS = 1_000
# Model types that train in our own container, by whether an image may have several classes.
TWINS = {False: "image_single_classification_custom", True: "image_multi_classification_custom"}
MAX_IMBALANCE = 100  # images of the most common label for one of the least common

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Limits:
    """A trainer's limits; None where it has none. Of one answer an image there must be two classes; where an image may
    have any number, one is enough, for it may have none."""

    trainer: str
    min_images: int
    max_images: int | None
    max_labels: int | None
    min_labels: int = 2


AUTOML = Limits("AutoML", MIN_IMAGES_PER_LABEL, MAX_IMAGES, MAX_LABELS)
CONTAINER = Limits("The trainer", 1, None, None)


def kept_labels(
    counts: Counts, names: Iterable[str], minimum_training: int, limits: Limits = AUTOML
) -> tuple[tuple[str, ...], dict[str, int]]:
    """(labels that can be trained, the others with their number of images), both in the order of `names`."""
    kept, left_out = [], {}
    for name in names:
        splits = counts.get(name, {})
        images = sum(splits.values())
        enough = images >= limits.min_images and splits.get(TRAINING, 0) >= max(minimum_training, 1)
        if enough:
            kept.append(name)
        else:
            left_out[name] = images
    return tuple(kept), left_out


def check(
    counts: Counts,
    kept: tuple[str, ...],
    left_out: Mapping[str, int],
    strict: bool,
    limits: Limits = AUTOML,
    images: int | None = None,
    twin: str = TWINS[False],
    minimum_training: int = 1,
) -> None:
    """Raises BadData when the trainer could not train; with `strict` also when any label had to be left out.

    `images` are the distinct ones; without it each is taken to have one label. `twin` is the model type to take where
    AutoML's limits are passed.
    """
    figures = describe(counts, [*kept, *left_out])
    hint = f"Images in training/validation/test: {figures}" if figures else "Label some rows of the model run."
    needs = f"{limits.trainer} needs {_images(limits.min_images)} a class{asked_in_training(minimum_training)}."
    if left_out and strict:
        raise BadData(f"These classes have too few images: {', '.join(left_out)}. {needs}", hint)
    if len(kept) < limits.min_labels:
        too_few = "Fewer than two classes have" if limits.min_labels > 1 else "No class has"
        raise BadData(f"{too_few} enough images. {needs} {shorten(figures, 120)}", hint)
    if len(kept) == 1 and sum(counts[kept[0]].values()) == images:
        raise BadData(
            f"Every labelled image has the only class, '{shorten(kept[0], 60)}'; there is nothing to tell it from.",
            "Label images without it, too.",
        )
    if limits.max_labels is not None and len(kept) > limits.max_labels:
        raise BadData(
            f"The data set has {len(kept)} classes; {limits.trainer} takes at most {limits.max_labels}.",
            f"Choose fewer with the parameter classes, or take the model type {twin}, which trains in our container.",
        )
    if images is None:
        images = sum(counts[name].get(split, 0) for name in kept for split in SPLITS)
    if limits.max_images is not None and images > limits.max_images:
        raise BadData(
            f"The data set has {images} labelled images; {limits.trainer} takes at most {limits.max_images}.",
            f"Train on fewer rows, or take the model type {twin}, which trains in our container.",
        )
    for split in SPLITS:
        if not any(counts[name].get(split) for name in kept):
            raise BadData(
                f"No image in the {split} split has one of the classes; training and judging need all three splits.",
                "Assign splits to the model run's rows, or set the parameter make_split.",
            )


def advice(counts: Counts, kept: tuple[str, ...]) -> list[str]:
    """What can be trained but is advised against, as sentences for the report."""
    images = {name: sum(counts[name].values()) for name in kept}
    most, least = max(images, key=images.__getitem__), min(images, key=images.__getitem__)
    if images[most] <= MAX_IMBALANCE * images[least]:
        return []
    return [
        f"'{most}' has {images[most]} images and '{least}' {images[least]}: more than {MAX_IMBALANCE} times as many. "
        "Google advises against it; the rare class will be learned badly."
    ]


def asked_in_training(minimum: int) -> str:
    """What the run asks of a class beside the trainer's own limits, to be added to them; "" for nothing more."""
    return f", and minimum_examples asks for {minimum} in training" if minimum > 1 else ""


def _images(number: int) -> str:
    return "an image" if number == 1 else f"{number} images"
