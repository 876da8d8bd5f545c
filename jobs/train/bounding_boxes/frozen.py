"""Trains a small head on the features of a frozen EfficientNet-Lite0: good on two cores, from dozens of pictures on.

Needs torch.
"""

import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from jobkit.boxes.features import BoxRecipe, fitting_side
from jobkit.boxes.model import BoxModel
from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration, BadData, JobError
from jobkit.image.files import DECODER_ERRORS
from jobkit.standing_file import StandingFile
from jobkit.storage import Storage
from train.bounding_boxes.cache import Reading, filled, views_for
from train.bounding_boxes.examples import Example
from train.bounding_boxes.fitting import RATE, Fitting, Plan, planned_epochs
from train.bounding_boxes.judging import Judge, exponent_for
from train.bounding_boxes.options import Options
from train.bounding_boxes.trained import Lesson, Trained

LOOKED_AT = 32  # pictures whose size is read to choose the image size


def train_head(storage: Storage, lesson: Lesson, options: Options) -> Trained:
    """Reads and learns. Raises JobError when the time budget ends before a first epoch."""
    began = time.monotonic()
    recipe = BoxRecipe(options.side_px or fitting_side(sizes(storage, lesson.training)))
    reading = Reading(storage, lesson.classes, recipe, views_for(len(lesson.training)), options.seed)
    epochs = options.epochs or planned_epochs(len(lesson.training) * reading.views)
    settings = {**vars(options), "epochs": epochs, **recipe.as_json(), "classes": list(lesson.classes)}
    checkpoints = Checkpoints.of(storage, lesson.training_file, settings)
    with tempfile.TemporaryDirectory() as work:
        kept = checkpoints.inner("features")
        cache = filled(reading, lesson.training, Path(work) / "training", kept.inner("training"))
        plainly = Reading(storage, lesson.classes, recipe, 1, options.seed)
        plain = filled(plainly, lesson.validation, Path(work) / "validation", kept.inner("validation"))
        if not any(len(look.corners) for look in cache.looks):
            raise BadData("No picture with a box can be read.", "The job's log names the pictures.")
        left_s = max(options.budget_s - (time.monotonic() - began), 1.0) if options.budget_s else 0.0
        plan = Plan(epochs, options.batch_size, options.seed, left_s, options.learning_rate or RATE)
        judge = Judge(plain.looks, lesson.classes, recipe.side_px)
        fitting = Fitting(cache, plain, judge, recipe, len(lesson.classes), plan)
        end = fitting.run(StandingFile(checkpoints))
    state = fitting.state
    if not state.weights:
        raise JobError("The time budget ended before the first epoch did.", "Give the training more time.")
    return Trained(
        BoxModel(lesson.classes, recipe, state.weights, exponent_for(state.cut)),
        end,
        state.figures,
        state.cut,
        state.epoch,
        state.best_epoch,
        len(cache.looks) // reading.views,
        len(plain.looks),
        cache.unreadable + plain.unreadable,
    )


def sizes(storage: Storage, training: Sequence[Example]) -> list[tuple[int, int]]:
    """Width and height of the first pictures that can be read."""
    found = []
    for example in training[:LOOKED_AT]:
        try:
            with Image.open(io.BytesIO(storage.read_bytes(example.uri))) as picture:
                found.append(picture.size)
        except (BadConfiguration, *DECODER_ERRORS):  # told when the features are made
            continue
    return found
