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

from inference.image_classification.decisions import Decision, ThresholdRule, chosen_thresholds, surest_from
from jobkit.arguments import Arguments, parse
from jobkit.class_names import ClassNames
from jobkit.classification_output import ClassificationOutput, finish
from jobkit.dataset_report import ClassEntry, class_entries
from jobkit.ending import Result, run_job
from jobkit.image.predictions import ImagePredictions, ReadFigures
from jobkit.labelbox import client
from jobkit.labelbox_rows import to_line
from jobkit.manifest import read_manifest
from jobkit.progress import Progress, say
from jobkit.report.thumbnails import Thumbnails
from jobkit.sinks import SINKS
from jobkit.storage import Storage
from jobkit.thresholds import AUTO, threshold_of

REQUIRED = ("model-run-id", "manifest", "predictions", "dataset-report", "output-uri")
OPTIONAL = {"sink": "auto", "upload-min-confidence": "0.0", "threshold": AUTO, "compare-with": "previous"}


def conclude(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work. Rows without a prediction, all of them even, are counted and reported, never fatal."""
    sink = arguments.one_of("sink", SINKS)
    minimum, threshold = arguments.share("upload-min-confidence"), threshold_of(arguments)
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    classes, single, manifest = class_entries(report), report["task"] == "single", arguments.text("manifest")
    output = ClassificationOutput(classes, arguments.text("model-run-id"), single=single, upload_min_confidence=minimum)
    folder = arguments.folder("output-uri")
    told_in_report, names = dict[str, str](), ClassNames.of_entries(classes)
    with ImagePredictions(names) as predictions:
        predictions.read(storage, arguments.text("predictions"))
        decide: Decision = surest_from(threshold or 0.0)
        if not single:
            rule = rule_of(threshold, classes, lambda: chosen_thresholds(storage, manifest, predictions, classes))
            decide, told_in_report = rule.decided, rule.note()
        missing = write_rows(storage, manifest, f"{folder}/predictions.ndjson", predictions, output, decide)
        figures = predictions.figures
    say("All rows are matched", rows=output.counts["rows"], without_prediction=missing, errors=figures.errors)
    said = {**notes(figures, missing), **told_in_report, **names.note()}
    result = finish(
        output,
        report,
        said,
        storage,
        folder,
        sink,
        make_client,
        parameters=arguments.values,
        pictures=Thumbnails(storage),
    )
    counts = {
        **result.counts,
        "rows_without_prediction": missing,
        "image_errors": figures.errors,
        "unreadable_lines": figures.unreadable_lines,
    }
    return Result(result.outputs, counts, result.metrics, {**result.metadata, **told(missing, output.counts["rows"])})


def rule_of(
    threshold: float | None, classes: Sequence[ClassEntry], choose: Callable[[], Mapping[str, float]]
) -> ThresholdRule:
    """The rule with the threshold that the run set for all classes, else with those that `choose` gives."""
    if threshold is None:
        return ThresholdRule(classes, choose())
    return ThresholdRule(classes, {entry.display_name: threshold for entry in classes}, "set by the run")


def write_rows(
    storage: Storage,
    manifest: str,
    target: str,
    predictions: ImagePredictions,
    output: ClassificationOutput,
    decide: Decision,
) -> int:
    """Writes Labelbox's rows of every row of the manifest; returns how many rows have no prediction."""
    progress = Progress("Rows matched with predictions")
    missing = 0
    with storage.line_writer(target) as writer:
        for row in read_manifest(storage, manifest):
            answers = predictions.answers(row.content)
            missing += answers is None
            for line in output.rows(row, answers, decide(answers or {})):
                writer.write(to_line(line))
            progress.step()
    progress.finish()
    return missing


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
