"""What a training of a detector leaves, whichever detector it was."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobkit.boxes.model import BoxModel
from train.bounding_boxes.examples import Example


@dataclass(frozen=True)
class Lesson:
    """What is learned from."""

    training_file: str
    training: list[Example]
    validation: list[Example]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """The model; `end` is complete, early_stop or time_budget; `figures` are the validation split's."""

    model: BoxModel
    end: str
    figures: Mapping[str, float]
    cut: float
    epochs: int
    best_epoch: int
    training_images: int
    validation_images: int
    unreadable_images: int
