"""Trains a detector of boxes on a file in Vertex's import format: frozen features, and a small head that learns.

    python -m train.bounding_boxes.main --training-file=gs://B/data/run/training.jsonl --output-uri=gs://B/model/ \
        --ending-uri=gs://B/endings/run/ --seed=0 --time-budget-s=3600
"""

import os

# Threads that spin while they wait starve each other on a small machine: eight times the time was measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from jobkit.arguments import Arguments, parse
from jobkit.boxes.features import MULTIPLE_PX, BoxRecipe, fitting_side
from jobkit.boxes.model import BoxModel, save_model
from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadConfiguration, BadData, JobError
from jobkit.image.files import DECODER_ERRORS
from jobkit.progress import say
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.storage import Storage
from train.bounding_boxes.cache import FeatureCache, filled, views_for
from train.bounding_boxes.checkpoints import Checkpoints
from train.bounding_boxes.examples import Example, taught
from train.bounding_boxes.judging import Judge, exponent_for

REQUIRED = ("training-file", "output-uri")
# 0 lets the trainer choose; a budget of 0 is no bound.
OPTIONAL = {"seed": "0", "epochs": "0", "image-size": "0", "batch-size": "16", "time-budget-s": "0", **REGISTRATION}
LOOKED_AT = 32  # pictures whose size is read to choose the image size
SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 64, 1024


def train(arguments: Arguments, storage: Storage) -> Result:
    """Reads, learns, saves; the figures are of the validation split."""
    from train.bounding_boxes.fitting import Fitting, Plan, planned_epochs  # torch takes seconds to load

    began = time.monotonic()
    training, validation, classes = taught(storage, arguments.text("training-file"))
    recipe = BoxRecipe(side_px(arguments, storage, training))
    seed, views = arguments.whole("seed"), views_for(len(training))
    with tempfile.TemporaryDirectory() as work:
        cache = filled(storage, training, classes, recipe, Path(work) / "training", views, seed)
        plain = filled(storage, validation, classes, recipe, Path(work) / "validation", 1, seed)
        if not any(len(look.corners) for look in cache.looks):
            raise BadData("No picture with a box can be read.", "The job's log names the pictures.")
        judge = Judge(plain, classes, recipe.side_px)
        plan = Plan(
            epochs=arguments.whole("epochs") or planned_epochs(len(cache.looks)),
            batch_size=arguments.whole("batch-size", least=1),
            seed=seed,
            budget_s=budget(arguments, time.monotonic() - began),
        )
        fitting = Fitting(cache, judge, recipe, len(classes), plan)
        settings = {**asdict(plan), **recipe.as_json(), "classes": list(classes)}
        end = fitting.run(Checkpoints(storage, arguments.text("training-file"), settings))
    state = fitting.state
    if not state.weights:
        raise JobError("The time budget ended before the first epoch did.", "Give the training more time.")
    folder = arguments.folder("output-uri")
    save_model(storage, folder, BoxModel(classes, recipe, state.weights, exponent_for(state.cut)))
    metrics = {f"validation_{name}": value for name, value in state.figures.items()}
    metrics |= {"epochs": state.epoch, "best_epoch": state.best_epoch, "cut": round(state.cut, 4)}
    metrics["training_seconds"] = round(time.monotonic() - began, 1)
    say("The model is trained", end=end, figures=json.dumps(metrics))
    return Result(
        outputs={"model": f"{folder}/"},
        counts=counts(cache, plain, views, len(classes)),
        metrics=metrics,
        metadata={"training_end": end.replace("_", " "), "image_size": str(recipe.side_px)},
    )


def budget(arguments: Arguments, used_s: float) -> float:
    """What is left of the time budget for learning; 0 is no bound."""
    given = arguments.whole("time-budget-s")
    return max(given - used_s, 1.0) if given else 0.0


def side_px(arguments: Arguments, storage: Storage, training: Sequence[Example]) -> int:
    """The image size that was asked for, or one that fits the first pictures."""
    asked = arguments.whole("image-size")
    if asked:
        if asked % MULTIPLE_PX or not SMALLEST_SIDE_PX <= asked <= LARGEST_SIDE_PX:
            raise BadConfiguration(
                f"--image-size must be a multiple of {MULTIPLE_PX} from {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX}."
            )
        return asked
    sizes = []
    for example in training[:LOOKED_AT]:
        try:
            with Image.open(io.BytesIO(storage.read_bytes(example.uri))) as picture:
                sizes.append(picture.size)
        except (BadConfiguration, *DECODER_ERRORS):  # told when the features are made
            continue
    return fitting_side(sizes)


def counts(cache: FeatureCache, plain: FeatureCache, views: int, classes: int) -> dict[str, int]:
    """What was learned from."""
    return {
        "training_images": len(cache.looks) // views,
        "validation_images": len(plain.looks),
        "classes": classes,
        "unreadable_images": cache.unreadable + plain.unreadable,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)

    def body(ending: Ending) -> Result:
        ending.phase("TRAINING_MODEL")
        return with_registration(arguments.values, lambda: train(arguments, Storage()))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
