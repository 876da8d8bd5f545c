"""The ways to learn a classifier from features: logistic regression, nearest neighbours, or any number of classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobkit.image.model import ImageClassifier
from jobkit.splits import TRAINING, VALIDATION
from jobkit.standing_file import StandingFile
from jobkit.thresholds import ThresholdChooser
from train.image_classification import regression, spatial
from train.image_classification.features import FeatureTable
from train.image_classification.lines import Example
from train.image_classification.neighbours import neighbour_head
from train.image_classification.spatial import FREELY, Limits

BATCH = 64


@dataclass(frozen=True)
class Lesson:
    """What is learned from: the features with their examples, and the classes (sorted)."""

    table: FeatureTable
    taught: Sequence[Example]
    labels: tuple[str, ...]
    seed: int
    limits: Limits = FREELY
    kept: StandingFile | None = None  # where a long training leaves its standing

    def rows(self, split: str) -> NDArray[np.int64]:
        """The readable examples of a split."""
        in_split = np.array([example.ml_use == split for example in self.taught], dtype=bool)
        return np.flatnonzero(in_split & self.table.readable)

    def truth(self) -> NDArray[np.float32]:
        """(examples, classes), 1 where the example has the class."""
        number = {label: column for column, label in enumerate(self.labels)}
        truth = np.zeros((len(self.taught), len(self.labels)), np.float32)
        for row, example in enumerate(self.taught):
            truth[row, [number[label] for label in example.labels if label in number]] = 1.0
        return truth

    def single(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, their class numbers) of a split with one class a picture; classes that training lacks are left out."""
        rows, truth = self.rows(split), self.truth()
        known = rows[truth[rows].any(axis=1)]
        return known, truth[known].argmax(axis=1)


@dataclass(frozen=True)
class Learned:
    """The model, and flat figures about it; those of the validation split only where there was one."""

    model: ImageClassifier
    figures: dict[str, float]


def by_regression(lesson: Lesson, _: int) -> Learned:
    """One class a picture, by logistic regression on pooled features and those of mirror images."""
    rows, targets = lesson.single(TRAINING)
    features = np.concatenate([lesson.table.plain[rows], lesson.table.mirrored[rows]])
    judged, judged_targets = lesson.single(VALIDATION)
    validation = (np.asarray(lesson.table.plain[judged]), judged_targets)
    fitted = regression.fit((features, np.tile(targets, 2)), validation, len(lesson.labels), lesson.seed)
    figures = {"regularisation_c": fitted.strength}
    if fitted.validation is not None:
        figures["validation_accuracy"] = round(fitted.validation.accuracy, 4)
        figures["validation_log_loss"] = round(fitted.validation.log_loss, 4)
    return Learned(ImageClassifier(lesson.labels, lesson.table.recipe, fitted.head), figures)


def by_neighbours(lesson: Lesson, neighbours: int) -> Learned:
    """One class a picture, by the nearest pictures of the training."""
    rows, targets = lesson.single(TRAINING)
    head = neighbour_head(
        lesson.table.plain[rows], lesson.table.mirrored[rows], targets, (neighbours, len(lesson.labels))
    )
    figures = {"neighbours": float(min(neighbours, len(rows)))}
    judged, judged_targets = lesson.single(VALIDATION)
    if len(judged):
        hits = sum(
            int((head.confidences(lesson.table.plain[judged[at]]).argmax(axis=1) == judged_targets[at]).sum())
            for at in _blocks(len(judged))
        )
        figures["validation_accuracy"] = round(hits / len(judged), 4)
    return Learned(ImageClassifier(lesson.labels, lesson.table.recipe, head), figures)


def by_places(lesson: Lesson, _: int) -> Learned:
    """Any number of classes a picture; the threshold of each class is chosen on the validation split."""
    validation = lesson.rows(VALIDATION)
    fitted = spatial.fit(
        lesson.table, lesson.truth(), lesson.rows(TRAINING), validation, lesson.seed, lesson.limits, lesson.kept
    )
    chooser = ThresholdChooser(lesson.labels)
    for at in _blocks(len(validation)):
        for row, confidences in zip(
            validation[at], fitted.head.confidences(np.asarray(lesson.table.plain[validation[at]])), strict=True
        ):
            chooser.add(lesson.taught[row].labels, dict(zip(lesson.labels, confidences.tolist(), strict=True)))
    figures = {"best_round": float(fitted.round)}
    if fitted.validation_loss is not None:
        figures["validation_log_loss"] = round(fitted.validation_loss, 4)
    model = ImageClassifier(lesson.labels, lesson.table.recipe, fitted.head, chooser.thresholds())
    return Learned(model, figures)


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]


METHODS: dict[str, Callable[[Lesson, int], Learned]] = {"regression": by_regression, "neighbours": by_neighbours}
