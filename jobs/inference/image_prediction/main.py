"""Inference job that predicts images with a model of our own trainer, in the place of a Vertex batch prediction job.

    python -m inference.image_prediction.main --model=gs://B/data/model/ --instances=gs://B/data/run/instances.jsonl \
        --output-uri=gs://B/data/out/ --ending-uri=gs://B/endings/run/

Reads and writes Vertex's own files, so that the job that evaluates need not know who predicted.
"""

import sys
from collections.abc import Sequence

from jobkit.arguments import Arguments, parse
from jobkit.batch_prediction import predict_all
from jobkit.ending import Result, run_job
from jobkit.storage import Storage

REQUIRED = ("model", "instances", "output-uri")
OPTIONAL = {"confidence-threshold": "0.0", "max-predictions": "1000"}


def run(arguments: Arguments, storage: Storage) -> Result:
    """Does the job's work. Images that cannot be read are in the errors files and counted, never fatal."""
    folder = f"{arguments.folder('output-uri')}/"
    done = predict_all(
        storage,
        arguments.text("model"),
        arguments.text("instances"),
        folder,
        threshold=arguments.share("confidence-threshold"),
        limit=arguments.whole("max-predictions", least=1),
    )
    return Result(outputs={"predictions": folder}, counts={"predicted": done.predicted, "image_errors": done.failed})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda ending: run(arguments, ending.storage))


if __name__ == "__main__":
    sys.exit(main())
