"""Inference job for detectors: reads a batch prediction's shards, evaluates, reports, and brings boxes to Labelbox.

    python -m inference.bounding_boxes.main --model-run-id=ID --manifest=gs://B/data/run/manifest.jsonl \
        --predictions=gs://B/batch/run/prediction-m-2026-11-23T16:00:00.000Z/ \
        --dataset-report=gs://B/data/run/dataset_report.json --output-uri=gs://B/data/out/ --ending-uri=gs://B/endings/run/
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import labelbox

from jobkit.arguments import Arguments, parse
from jobkit.boxes.matching import bit_of
from jobkit.boxes.output import BoxOutput, finish
from jobkit.boxes.predictions import BoxPredictions
from jobkit.class_names import ClassNames
from jobkit.dataset_report import class_entries
from jobkit.ending import Result, run_job
from jobkit.errors import BadConfiguration
from jobkit.labelbox import client
from jobkit.labelbox_rows import to_line
from jobkit.manifest import read_manifest
from jobkit.progress import Progress, say
from jobkit.report.thumbnails import Thumbnails
from jobkit.sinks import SINKS
from jobkit.storage import Storage

PICTURE_SIDE = 256  # pixels, of the report's pictures
REQUIRED = ("model-run-id", "manifest", "predictions", "dataset-report", "output-uri")
OPTIONAL = {"sink": "auto", "upload-min-confidence": "0.0", "iou": "0.5", "compare-with": "previous"}


def conclude(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work. Rows without a prediction, all of them even, are counted and reported, never fatal."""
    sink = arguments.one_of("sink", SINKS)
    minimum, iou = arguments.share("upload-min-confidence"), overlap(arguments)
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    classes = class_entries(report)
    names = ClassNames.of_entries(classes)
    output = BoxOutput(classes, arguments.text("model-run-id"), minimum, iou)
    folder = arguments.folder("output-uri")
    with BoxPredictions(names) as predictions:
        predictions.read(storage, arguments.text("predictions"))
        write_rows(storage, arguments.text("manifest"), f"{folder}/predictions.ndjson", predictions, output)
        figures, malformed = predictions.figures, predictions.malformed
        notes = {**told(predictions, output.counts["rows_without_prediction"]), **names.note()}
    say("All rows are matched", rows=output.counts["rows"], errors=figures.errors)
    result = finish(
        output,
        report,
        notes,
        storage,
        folder,
        sink,
        make_client,
        parameters=arguments.values,
        pictures=Thumbnails(storage, PICTURE_SIDE),
    )
    counts = {
        **result.counts,
        "image_errors": figures.errors,
        "unreadable_lines": figures.unreadable_lines,
        "malformed_boxes": malformed,
    }
    missing, rows = output.counts["rows_without_prediction"], output.counts["rows"]
    shown = {"rows_without_prediction": f"{missing} of {rows}"} if missing else {}
    return Result(result.outputs, counts, result.metrics, {**result.metadata, **shown})


def overlap(arguments: Arguments) -> float:
    """--iou: the overlap from which a box is a hit. Raises BadConfiguration for one that is not counted at."""
    iou = arguments.share("iou")
    try:
        bit_of(iou)
    except ValueError as error:
        raise BadConfiguration(f"--iou: {error}.") from error
    return iou


def write_rows(storage: Storage, manifest: str, target: str, predictions: BoxPredictions, output: BoxOutput) -> None:
    """Writes Labelbox's rows of every row of the manifest; a picture is known by its uri, its size by the manifest."""
    progress = Progress("Rows matched with predictions")
    with storage.line_writer(target) as writer:
        for row in read_manifest(storage, manifest):
            details = row.details or {}
            predicted = predictions.boxes(row.content, details.get("width", 1), details.get("height", 1))
            for line in output.rows(row, predicted):
                writer.write(to_line(line))
            progress.step()
    progress.finish()


def told(predictions: BoxPredictions, missing: int) -> dict[str, str]:
    """What the batch prediction left behind, for the report."""
    figures = predictions.figures
    lines = {"prediction files": f"{figures.prediction_files} with {figures.predictions} images"}
    if missing:
        lines["rows without prediction"] = str(missing)
    if figures.errors:
        reasons = "; ".join(f"{text} ({count})" for text, count in figures.reasons.most_common(5))
        lines["images that failed"] = f"{figures.errors}: {reasons}"
    if figures.unreadable_lines:
        lines["unreadable prediction lines"] = str(figures.unreadable_lines)
    if predictions.malformed:
        lines["malformed boxes"] = str(predictions.malformed)
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda _: conclude(arguments, Storage(), client))


if __name__ == "__main__":
    sys.exit(main())
