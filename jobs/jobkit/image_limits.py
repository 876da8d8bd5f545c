"""What Vertex's image classification asks of a data set, checked before anything is paid for. Pure.

https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
"""

from collections.abc import Iterable, Mapping

from jobkit.dataset_report import describe
from jobkit.errors import BadData, shorten
from jobkit.splits import SPLITS, TRAINING

MIN_IMAGES_PER_LABEL = 10
MAX_IMAGES = 150_000
MAX_LABELS = 1_000
MAX_IMBALANCE = 100  # images of the most common label for one of the least common

Counts = Mapping[str, Mapping[str, int]]


def kept_labels(counts: Counts, names: Iterable[str], minimum_training: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """(labels that Vertex can train, the others with their number of images), both in the order of `names`."""
    kept, left_out = [], {}
    for name in names:
        splits = counts.get(name, {})
        images = sum(splits.values())
        enough = images >= MIN_IMAGES_PER_LABEL and splits.get(TRAINING, 0) >= max(minimum_training, 1)
        if enough:
            kept.append(name)
        else:
            left_out[name] = images
    return tuple(kept), left_out


def check(counts: Counts, kept: tuple[str, ...], left_out: Mapping[str, int], strict: bool) -> None:
    """Raises BadData when Vertex could not train; with `strict` also when any label had to be left out."""
    figures = describe(counts, [*kept, *left_out])
    hint = f"Images in training/validation/test: {figures}" if figures else "Label some rows of the model run."
    if left_out and strict:
        raise BadData(f"These classes have too few images: {', '.join(left_out)}. {_needs()}", hint)
    if len(kept) < 2:
        raise BadData(f"Fewer than two classes have enough images. {_needs()} {shorten(figures, 120)}", hint)
    if len(kept) > MAX_LABELS:
        raise BadData(
            f"The data set has {len(kept)} classes; AutoML takes at most {MAX_LABELS}.",
            "Choose fewer with the parameter classes, or take the model type that trains in our own container.",
        )
    images = sum(counts[name].get(split, 0) for name in kept for split in SPLITS)
    if images > MAX_IMAGES:
        raise BadData(
            f"The data set has {images} labelled images; AutoML takes at most {MAX_IMAGES}.",
            "Train on fewer rows, or take the model type that trains in our own container.",
        )
    for split in SPLITS:
        if not any(counts[name].get(split) for name in kept):
            raise BadData(
                f"No labelled image is in the {split} split, which AutoML needs.",
                "Assign splits to the model run's rows, or set the parameter make_split.",
            )


def advice(counts: Counts, kept: tuple[str, ...]) -> list[str]:
    """What Vertex accepts but advises against, as sentences for the report."""
    images = {name: sum(counts[name].values()) for name in kept}
    most, least = max(images, key=images.__getitem__), min(images, key=images.__getitem__)
    if images[most] <= MAX_IMBALANCE * images[least]:
        return []
    return [
        f"'{most}' has {images[most]} images and '{least}' {images[least]}: more than {MAX_IMBALANCE} times as many. "
        "Google advises against it; the rare class will be learned badly."
    ]


def _needs() -> str:
    return f"AutoML needs {MIN_IMAGES_PER_LABEL} images a class."
