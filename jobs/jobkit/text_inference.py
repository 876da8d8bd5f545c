"""Inference of text classifiers: predicts every row of the manifest, evaluates the labelled ones, brings all to
Labelbox. Streams: memory holds one batch of rows, and what is counted."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import labelbox
import numpy as np
import numpy.typing as npt

from jobkit.arguments import Arguments
from jobkit.classification_output import ClassificationOutput, finish
from jobkit.dataset_report import class_entries
from jobkit.ending import Result
from jobkit.evaluation import THRESHOLDS
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.progress import Progress
from jobkit.sinks import chosen_sink
from jobkit.storage import Storage
from jobkit.text_model import DESCRIPTION_FILE, WEIGHTS_FILE, TextModel

REQUIRED = ("model-run-id", "manifest", "model", "dataset-report", "output-uri")
OPTIONAL = {"sink": "auto", "project": "", "upload-min-confidence": "0.0"}
BATCH = 512


def predict(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work."""
    sink = chosen_sink(arguments)
    minimum = arguments.share("upload-min-confidence")
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    model = load_model(storage, arguments.folder("model"))
    output = ClassificationOutput(
        class_entries(report), arguments.text("model-run-id"), single=model.single, upload_min_confidence=minimum
    )
    folder = arguments.folder("output-uri")
    progress = Progress("Predicting rows", report.get("rows", {}).get("seen"))
    with storage.line_writer(f"{folder}/predictions.ndjson") as predictions:
        for batch in _batches(read_manifest(storage, arguments.text("manifest"))):
            for row, scores in zip(batch, model.scores([row.content for row in batch]), strict=True):
                for line in output.rows(row, _answers(model, scores), model.decide(scores)):
                    predictions.write(json.dumps(line, ensure_ascii=False))
            progress.step(len(batch))
    progress.finish()
    notes = {"model": model.name}
    return finish(output, report, notes, storage, folder, sink, make_client)


def load_model(storage: Storage, folder_uri: str) -> TextModel:
    with tempfile.TemporaryDirectory() as name:
        for file in (WEIGHTS_FILE, DESCRIPTION_FILE):
            storage.download(f"{folder_uri}/{file}", Path(name) / file)
        return TextModel.load(Path(name))


def _answers(model: TextModel, scores: npt.NDArray[np.float64]) -> Mapping[str, float]:
    if model.single:
        best = int(scores.argmax())
        return {model.classes[best]: float(scores[best])}
    worth = np.flatnonzero(scores >= THRESHOLDS[0])  # no threshold is lower; with thousands of classes this is fast
    return {model.classes[index]: float(scores[index]) for index in worth.tolist()}


def _batches(rows: Iterator[ManifestRow]) -> Iterator[Sequence[ManifestRow]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
