"""Inference job that finds boxes with a model of our own trainer, in the place of a Vertex batch prediction job.

    python -m inference.box_prediction.main --model=gs://B/data/model/ --instances=gs://B/data/run/instances.jsonl \
        --output-uri=gs://B/data/out/ --ending-uri=gs://B/endings/run/

Reads and writes Vertex's own files, so that the job that evaluates need not know who predicted.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other; before anything loads OpenMP

import sys
from collections.abc import Sequence

from jobkit.arguments import Arguments, parse
from jobkit.boxes.model import load_model
from jobkit.ending import Result, run_job
from jobkit.storage import Storage

REQUIRED = ("model", "instances", "output-uri")
OPTIONAL = {"confidence-threshold": "0.01", "max-predictions": "500"}


def run(arguments: Arguments, storage: Storage) -> Result:
    """Does the job's work. Images that cannot be read are in the errors files and counted, never fatal."""
    from jobkit.boxes.prediction import predict  # torch takes seconds to load

    folder = f"{arguments.folder('output-uri')}/"
    predicted, failed = predict(
        storage,
        load_model(storage, arguments.text("model")),
        arguments.text("instances"),
        folder,
        arguments.share("confidence-threshold"),
        arguments.whole("max-predictions", least=1),
    )
    return Result(outputs={"predictions": folder}, counts={"predicted": predicted, "image_errors": failed})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda ending: run(arguments, ending.storage))


if __name__ == "__main__":
    sys.exit(main())
