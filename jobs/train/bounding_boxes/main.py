"""Trains a detector of boxes on a file in Vertex's import format: frozen features and a small head that learns, or
with --backbone=hf:NAME a whole detector of the DETR family that lies in the image (D-FINE, RT-DETRv2).

    python -m train.bounding_boxes.main --training-file=gs://B/data/run/training.jsonl --output-uri=gs://B/model/ \
        --ending-uri=gs://B/endings/run/ --seed=0 --time-budget-s=3600
"""

import os

# Threads that spin while they wait starve each other on a small machine: eight times the time was measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobkit.arguments import Arguments, parse
from jobkit.boxes.model import save_model
from jobkit.ending import Ending, Result, run_job
from jobkit.image.pretrained import Use, folder_of, require_libraries
from jobkit.progress import say
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.storage import Storage
from train.bounding_boxes.examples import taught
from train.bounding_boxes.options import OPTIONAL, Options, options_of
from train.bounding_boxes.trained import Lesson, Trained

REQUIRED = ("training-file", "output-uri")


def train(arguments: Arguments, storage: Storage) -> Result:
    """Reads, learns, saves; the figures are of the validation split."""
    began = time.monotonic()
    options = options_of(arguments)
    if options.pretrained:  # told before anything is read
        folder_of(options.backbone, Use.DETECTOR)
        require_libraries(f"A detector of {options.backbone}")
    training_file = arguments.text("training-file")
    folder = arguments.folder("output-uri")
    with learned(storage, Lesson(training_file, *taught(storage, training_file)), options) as trained:
        save_model(storage, folder, trained.model)
    metrics = {f"validation_{name}": value for name, value in trained.figures.items()}
    metrics |= {"epochs": trained.epochs, "best_epoch": trained.best_epoch, "cut": round(trained.cut, 4)}
    metrics["training_seconds"] = round(time.monotonic() - began, 1)
    say("The model is trained", end=trained.end, figures=json.dumps(metrics))
    recipe = trained.model.recipe
    return Result(
        outputs={"model": f"{folder}/"},
        counts={
            "training_images": trained.training_images,
            "validation_images": trained.validation_images,
            "classes": len(trained.model.labels),
            "unreadable_images": trained.unreadable_images,
        },
        metrics=metrics,
        metadata={
            "training_end": trained.end.replace("_", " "),
            "image_size": str(recipe.side_px),
            "backbone": recipe.backbone,
        },
    )


@contextmanager
def learned(storage: Storage, lesson: Lesson, options: Options) -> Iterator[Trained]:
    """The model that the options ask for; what it holds on disk lasts as long as the block."""
    if options.pretrained:
        from train.bounding_boxes.tuned import tuned  # transformers takes seconds to load

        with tuned(storage, lesson, options) as trained:
            yield trained
    else:
        from train.bounding_boxes.frozen import train_head  # torch takes seconds to load

        yield train_head(storage, lesson, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, {**OPTIONAL, **REGISTRATION}, argv)

    def body(ending: Ending) -> Result:
        ending.phase("TRAINING_MODEL")
        return with_registration(arguments.values, lambda: train(arguments, Storage()))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
