"""Inference job for image classifiers: reads a batch prediction's shards, evaluates, reports, and brings predictions
to Labelbox.

    python -m inference.image_classification.main --model-run-id=ID --manifest=gs://B/data/run/manifest.jsonl \
        --predictions=gs://B/batch/run/prediction-m-2026-11-23T16:00:00.000Z/ \
        --dataset-report=gs://B/data/run/dataset_report.json --output-uri=gs://B/data/out/ --ending-uri=gs://B/endings/run/
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import labelbox

from jobkit.arguments import Arguments, parse
from jobkit.classification_output import ClassificationOutput, finish
from jobkit.dataset_report import class_entries
from jobkit.ending import Result, run_job
from jobkit.image_predictions import ImagePredictions, ReadFigures
from jobkit.labelbox import client
from jobkit.manifest import read_manifest
from jobkit.progress import Progress, say
from jobkit.sinks import SINKS
from jobkit.storage import Storage

REQUIRED = ("model-run-id", "manifest", "predictions", "dataset-report", "output-uri")
OPTIONAL = {"sink": "auto", "upload-min-confidence": "0.0"}


def conclude(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work. Rows without a prediction, all of them even, are counted and reported, never fatal."""
    sink = arguments.one_of("sink", SINKS)
    minimum = arguments.share("upload-min-confidence")
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    output = ClassificationOutput(
        class_entries(report), arguments.text("model-run-id"), single=True, upload_min_confidence=minimum
    )
    folder = arguments.folder("output-uri")
    with ImagePredictions() as predictions:
        predictions.read(storage, arguments.text("predictions"))
        missing = write_rows(storage, arguments.text("manifest"), f"{folder}/predictions.ndjson", predictions, output)
        figures = predictions.figures
    say("All rows are matched", rows=output.counts["rows"], without_prediction=missing, errors=figures.errors)
    result = finish(output, report, notes(figures, missing), storage, folder, sink, make_client)
    counts = {
        **result.counts,
        "rows_without_prediction": missing,
        "image_errors": figures.errors,
        "unreadable_lines": figures.unreadable_lines,
    }
    return Result(result.outputs, counts, result.metrics, {**result.metadata, **told(missing, output.counts["rows"])})


def write_rows(
    storage: Storage, manifest: str, target: str, predictions: ImagePredictions, output: ClassificationOutput
) -> int:
    """Writes Labelbox's rows of every row of the manifest; returns how many rows have no prediction."""
    progress = Progress("Rows matched with predictions")
    missing = 0
    with storage.line_writer(target) as writer:
        for row in read_manifest(storage, manifest):
            answers = predictions.answers(row.content)
            missing += answers is None
            for line in output.rows(row, answers, decided(answers)):
                writer.write(json.dumps(line, ensure_ascii=False))
            progress.step()
    progress.finish()
    return missing


def decided(answers: Mapping[str, float] | None) -> tuple[str, ...]:
    """The one class that the model says: its surest; none where nothing was above the model's threshold."""
    if not answers:
        return ()
    return (max(answers, key=lambda name: (answers[name], name)),)


def notes(figures: ReadFigures, missing: int) -> dict[str, str]:
    """What the batch prediction left behind, for the report."""
    lines = {"prediction files": f"{figures.prediction_files} with {figures.predictions} images"}
    if missing:
        lines["rows without prediction"] = str(missing)
    if figures.errors:
        reasons = "; ".join(f"{text} ({count})" for text, count in figures.reasons.most_common(5))
        lines["images that failed"] = f"{figures.errors}: {reasons}"
    if figures.unreadable_lines:
        lines["unreadable prediction lines"] = str(figures.unreadable_lines)
    return lines


def told(missing: int, rows: int) -> dict[str, str]:
    """What Labelbox shows about rows that were not predicted."""
    return {"rows_without_prediction": f"{missing} of {rows}"} if missing else {}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda _: conclude(arguments, Storage(), client))


if __name__ == "__main__":
    sys.exit(main())
