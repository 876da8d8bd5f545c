"""Trains an image classifier on a Vertex import file: a small head on features of a frozen EfficientNet-Lite0.

    python -m train.image_classification.main --training-file=gs://B/train.jsonl --output-uri=gs://B/model/ \
        --ending-uri=gs://B/endings/run/ --seed=20

One class a picture: logistic regression, or nearest neighbours (--method=neighbours). Any number (--multi-label=true):
a head that looks for each class at every place of the picture. No torch, no download: the weights are in a package.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jobkit import __version__
from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadConfiguration, BadData
from jobkit.image.features import Recipe
from jobkit.image.model import save_model
from jobkit.progress import say
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage
from train.image_classification.features import extract
from train.image_classification.learners import METHODS, Learned, Lesson, by_places
from train.image_classification.lines import Example, examples

POOLED = Recipe()
PLACES = Recipe(taps=("s16", "s32"), pooled=False)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--training-file", required=True, help="Vertex image import file, gs://...jsonl")
    parser.add_argument("--output-uri", required=True, help="folder for the model, gs://.../")
    parser.add_argument("--ending-uri", required=True)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--multi-label", choices=("true", "false"), default="false")
    parser.add_argument("--method", choices=tuple(METHODS), default="regression", help="of one class a picture")
    parser.add_argument("--neighbours", type=int, default=5, help="how many, for --method=neighbours")
    for name, default in REGISTRATION.items():
        parser.add_argument(f"--{name}", default=default)
    return parser.parse_args(argv)


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
    if len({label for example in taught if example.ml_use == TRAINING for label in example.labels}) < 2:
        raise BadData(
            "The training split has pictures of fewer than two classes.",
            "Label more pictures, or move some into the training split.",
        )
    return taught


def learn(args: argparse.Namespace, storage: Storage, taught: list[Example], folder: Path) -> tuple[Learned, int]:
    """(what was learned, how many pictures could not be read); `folder` holds the features while it lasts."""
    multi_label = args.multi_label == "true"
    table = extract(storage, args.training_file, taught, PLACES if multi_label else POOLED, folder)
    readable = [example for example, good in zip(taught, table.readable.tolist(), strict=True) if good]
    labels = sorted({label for example in readable if example.ml_use == TRAINING for label in example.labels})
    if len(labels) < 2:
        raise BadData("The pictures of all classes but one cannot be read.", "The job's log names the pictures.")
    lesson = Lesson(table, taught, tuple(labels), args.seed)
    learned = by_places(lesson, 0) if multi_label else METHODS[args.method](lesson, args.neighbours)
    return learned, len(taught) - len(readable)


def train(args: argparse.Namespace, storage: Storage) -> Result:
    """Reads, learns, saves; the figures are of the validation split."""
    if args.neighbours < 1:
        raise BadConfiguration(f"--neighbours must be at least 1, not {args.neighbours}.")
    started = time.monotonic()
    taught = trained_examples(storage, args.training_file, args.multi_label == "true")
    with tempfile.TemporaryDirectory() as folder:
        learned, unreadable = learn(args, storage, taught, Path(folder))
    save_model(storage, args.output_uri, learned.model)
    metrics = {**learned.figures, "training_seconds": round(time.monotonic() - started, 1)}
    say("The model is trained", figures=json.dumps(metrics))
    counts = Counter(example.ml_use for example in taught)
    return Result(
        outputs={"model": args.output_uri.rstrip("/") + "/"},
        counts={
            "training_images": counts[TRAINING],
            "validation_images": counts[VALIDATION],
            "classes": len(learned.model.labels),
            "unreadable_images": unreadable,
        },
        metrics=metrics,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)

    def body(ending: Ending) -> Result:
        ending.phase("TRAINING_MODEL")
        registration = {name: getattr(args, name.replace("-", "_")) for name in REGISTRATION}
        return with_registration(registration, lambda: train(args, Storage()))

    return run_job(args.ending_uri, body)


if __name__ == "__main__":
    sys.exit(main())
