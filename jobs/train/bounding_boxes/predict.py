"""Finds boxes with a trained detector, in and out in Vertex's batch prediction files.

    python -m train.bounding_boxes.predict --model=gs://B/model/ --instances=gs://B/instances.jsonl \
        --output-uri=gs://B/out/ --confidence-threshold=0.0 --max-predictions=100
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in training, before anything loads OpenMP

import argparse
import sys
from collections.abc import Sequence

from jobkit.boxes.model import load_model
from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.storage import Storage


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="folder of the model, gs://.../")
    parser.add_argument("--instances", required=True, help="gs://...jsonl")
    parser.add_argument("--output-uri", required=True, help="folder for the shards, gs://.../")
    parser.add_argument("--confidence-threshold", type=float, default=0.0)
    parser.add_argument("--max-predictions", type=int, default=10)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all lines were read, also where single pictures failed; 1 otherwise."""
    from jobkit.boxes.prediction import predict  # torch takes seconds to load

    args = arguments(argv)
    storage = Storage()
    try:
        model = load_model(storage, args.model)
        predicted, failed = predict(
            storage, model, args.instances, args.output_uri, args.confidence_threshold, args.max_predictions
        )
    except JobError as error:
        say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
        return 1
    say("The prediction is done", predictions=predicted, errors=failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
