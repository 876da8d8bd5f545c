"""Trains an image classifier on a Vertex import file: a small head on features of a frozen EfficientNet-Lite0.

    python -m train.image_classification.main --training-file=gs://B/train.jsonl --output-uri=gs://B/model/ \
        --ending-uri=gs://B/endings/run/ --seed=20

One class a picture: logistic regression, or nearest neighbours (--method=neighbours). Any number (--multi-label=true):
a head that looks for each class at every place of the picture. No torch, no download: the weights are in a package.
With --backbone=hf:NAME the features are those of a vision transformer that lies in the GPU image, and with
--fine-tune=true it learns the classes first.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other; before anything loads OpenMP

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jobkit.arguments import Arguments, parse
from jobkit.checkpoints import Checkpoints
from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadData
from jobkit.image.features import Recipe
from jobkit.image.model import save_model
from jobkit.progress import say
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.splits import TRAINING, VALIDATION
from jobkit.standing_file import StandingFile
from jobkit.storage import Storage
from train.image_classification.features import extract
from train.image_classification.learners import METHODS, Learned, Lesson, by_places
from train.image_classification.lines import Example, examples
from train.image_classification.options import OPTIONAL, Options, options_of, recipe_of
from train.image_classification.spatial import Limits

REQUIRED = ("training-file", "output-uri")


def trained_examples(storage: Storage, training_file: str, multi_label: bool) -> list[Example]:
    """The examples of training and validation. Raises BadData when one has several classes and may not."""
    taught = []
    for example in examples(storage.read_lines(training_file)):
        if len(example.labels) > 1 and not multi_label:
            raise BadData(
                "A picture of the training file has several classes.",
                "This model type learns one answer a picture; take a multi classification model type.",
            )
        # Without a class it is a true negative for a model of several, and nothing for a model of one.
        if example.ml_use in (TRAINING, VALIDATION) and (example.labels or multi_label):
            taught.append(example)
    labels = {label for example in taught if example.ml_use == TRAINING for label in example.labels}
    if len(labels) < least_classes(multi_label):
        raise BadData(
            f"The training split has pictures of fewer than {least_classes(multi_label)} classes.",
            "Label more pictures, or move some into the training split.",
        )
    return taught


def least_classes(multi_label: bool) -> int:
    """Of one answer a picture there must be two; of a box to be ticked one is enough, for it may be left unticked."""
    return 1 if multi_label else 2


def tuned_recipe(
    storage: Storage, taught: list[Example], options: Options, recipe: Recipe, kept: Checkpoints, folder: Path
) -> Recipe:
    """The recipe with a network that has learned the classes, where that is asked for."""
    if not options.fine_tune:
        return recipe
    from train.image_classification.tuned import tuned  # torch takes seconds to load

    return tuned(storage, taught, options, recipe, kept.inner("network"), folder)[0]


def learn(
    storage: Storage, taught: list[Example], options: Options, recipe: Recipe, kept: Checkpoints, folder: Path
) -> tuple[Learned, int]:
    """(what was learned, how many pictures could not be read); `folder` holds the features while it lasts."""
    table = extract(storage, kept, taught, recipe, folder)
    readable = [example for example, good in zip(taught, table.readable.tolist(), strict=True) if good]
    labels = sorted({label for example in readable if example.ml_use == TRAINING for label in example.labels})
    if len(labels) < least_classes(options.multi_label):
        raise BadData("The pictures of too many classes cannot be read.", "The job's log names the pictures.")
    limits = Limits(0 if options.fine_tune else options.epochs, options.budget_s)
    lesson = Lesson(table, taught, tuple(labels), options.seed, limits, StandingFile(kept.inner("head")))
    learned = by_places(lesson, 0) if options.multi_label else METHODS[options.method](lesson, options.neighbours)
    return learned, len(taught) - len(readable)


def train(arguments: Arguments, storage: Storage) -> Result:
    """Reads, learns, saves; the figures are of the validation split."""
    started = time.monotonic()
    options = options_of(arguments)
    recipe = recipe_of(options)
    training_file, output_uri = arguments.text("training-file"), arguments.folder("output-uri")
    taught = trained_examples(storage, training_file, options.multi_label)
    settings = {**vars(options), "network": recipe.as_json()}
    kept = Checkpoints.of(storage, training_file, settings)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        recipe = tuned_recipe(storage, taught, options, recipe, kept, folder)
        learned, unreadable = learn(storage, taught, options, recipe, kept, folder)
        save_model(storage, output_uri, learned.model)
    metrics = {**learned.figures, "training_seconds": round(time.monotonic() - started, 1)}
    say("The model is trained", figures=json.dumps(metrics))
    counts = Counter(example.ml_use for example in taught)
    return Result(
        outputs={"model": f"{output_uri}/"},
        counts={
            "training_images": counts[TRAINING],
            "validation_images": counts[VALIDATION],
            "classes": len(learned.model.labels),
            "unreadable_images": unreadable,
        },
        metrics=metrics,
        metadata={"backbone": recipe.backbone, "image_size": str(recipe.side_px)},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, {**OPTIONAL, **REGISTRATION}, argv)

    def body(ending: Ending) -> Result:
        ending.phase("TRAINING_MODEL")
        return with_registration(arguments.values, lambda: train(arguments, Storage()))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
