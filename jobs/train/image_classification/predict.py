"""Predicts pictures with a trained model, in and out in Vertex's batch prediction files, as one command.

    python -m train.image_classification.predict --model=gs://B/model/ --instances=gs://B/instances.jsonl \
        --output-uri=gs://B/out/ --confidence-threshold=0.0 --max-predictions=5
"""

import argparse
import sys
from collections.abc import Sequence

from jobkit.batch_prediction import predict_all
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
    args = arguments(argv)
    try:
        done = predict_all(
            Storage(),
            args.model,
            args.instances,
            args.output_uri,
            threshold=args.confidence_threshold,
            limit=args.max_predictions,
        )
    except JobError as error:
        say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
        return 1
    say("The prediction is done", predictions=done.predicted, errors=done.failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
