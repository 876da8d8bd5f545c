"""ETL job for named entities: Labelbox model run in; Vertex text extraction JSONL, manifest and report out."""

import sys
from collections.abc import Sequence

from jobkit.arguments import parse
from jobkit.ending import run_job
from jobkit.labelbox import client
from jobkit.ner.etl import OPTIONAL, REQUIRED, prepare


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(
        arguments.text("ending-uri"),
        lambda ending: prepare(arguments, ending, client(), ending.storage),
    )


if __name__ == "__main__":
    sys.exit(main())
