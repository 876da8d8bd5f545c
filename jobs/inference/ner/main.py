"""Inference job for named entities: predicts every row, evaluates, reports, and brings predictions to Labelbox."""

import sys
from collections.abc import Sequence

from jobkit.arguments import parse
from jobkit.ending import run_job
from jobkit.labelbox import client
from jobkit.ner.inference import OPTIONAL, REQUIRED, predict


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda ending: predict(arguments, ending.storage, client))


if __name__ == "__main__":
    sys.exit(main())
