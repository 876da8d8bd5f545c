"""Inference of text classifiers: predicts every row of the manifest (or reads AutoML's batch output), evaluates the
labelled ones, brings all to Labelbox. Streams: memory holds one batch of rows, and what is counted."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import labelbox
import numpy as np
import numpy.typing as npt

from jobkit.arguments import Arguments
from jobkit.classification_output import ClassificationOutput, finish
from jobkit.dataset_report import class_entries
from jobkit.ending import Result
from jobkit.errors import BadConfiguration
from jobkit.evaluation import THRESHOLDS
from jobkit.labelbox_rows import to_line
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.model_files import download_model
from jobkit.progress import Progress
from jobkit.sinks import chosen_sink
from jobkit.storage import Storage
from jobkit.text.automl import AutomlClasses, Said
from jobkit.text.model import TextModel
from jobkit.text.predictions import TextPredictions
from jobkit.thresholds import AUTO, threshold_of

REQUIRED = ("model-run-id", "manifest", "dataset-report", "output-uri")
OPTIONAL = {
    "model": "",
    "predictions": "",
    "sink": "auto",
    "project": "",
    "threshold": AUTO,
    "upload-min-confidence": "0.0",
    "compare-with": "previous",
}
BATCH = 512


def predict(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work."""
    sink = chosen_sink(arguments)
    minimum = arguments.share("upload-min-confidence")
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    classes = class_entries(report)
    folder = arguments.folder("output-uri")
    progress = Progress("Predicting rows", report.get("rows", {}).get("seen"))
    with _source(arguments, storage, report) as source:
        output = ClassificationOutput(
            classes, arguments.text("model-run-id"), single=source.single, upload_min_confidence=minimum
        )
        with storage.line_writer(f"{folder}/predictions.ndjson") as predictions:
            for batch in _batches(read_manifest(storage, arguments.text("manifest"))):
                for row, (answers, decided) in zip(batch, source.of(batch), strict=True):
                    for line in output.rows(row, answers, decided):
                        predictions.write(to_line(line))
                progress.step(len(batch))
        notes = source.notes()
    progress.finish()
    return finish(output, report, notes, storage, folder, sink, make_client, parameters=arguments.values)


class Source(Protocol):
    """What gives rows their answers."""

    single: bool

    def of(self, rows: Sequence[ManifestRow]) -> Iterable[Said]:
        """(answers, decided classes) of each row."""

    def notes(self) -> dict[str, str]:
        """What to tell of it in the report."""


class _Model:
    """Our own model."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.single = model.single

    def of(self, rows: Sequence[ManifestRow]) -> Iterator[Said]:
        for scores in self._model.scores([row.content for row in rows]):
            yield _answers(self._model, scores), self._model.decide(scores)

    def notes(self) -> dict[str, str]:
        return {"model": self._model.name}


@contextmanager
def _source(arguments: Arguments, storage: Storage, report: Mapping[str, Any]) -> Iterator[Source]:
    """Our model, or the files that AutoML wrote; a threshold that was asked for takes the place of their own."""
    threshold = threshold_of(arguments)
    if bool(arguments.text("model")) == bool(arguments.text("predictions")):
        raise BadConfiguration("Give either --model or --predictions.")
    if arguments.text("model"):
        model = load_model(storage, arguments.folder("model"))
        yield _Model(model if threshold is None else model.deciding_at(threshold))
        return
    with TextPredictions() as predictions:
        predictions.read(storage, arguments.text("predictions"))
        yield AutomlClasses(predictions, report, threshold)


def load_model(storage: Storage, folder_uri: str) -> TextModel:
    """The model that training left at a gs:// folder, of whatever kind."""
    with tempfile.TemporaryDirectory() as name:
        download_model(storage, folder_uri, Path(name))
        return TextModel.load(Path(name))


def _answers(model: TextModel, scores: npt.NDArray[np.float64]) -> Mapping[str, float]:
    if model.single:
        best = int(scores.argmax())
        return {model.classes[best]: float(scores[best])}
    least = min((THRESHOLDS[0], *model.thresholds))  # what is less is neither counted nor said
    worth = np.flatnonzero(scores >= least)
    return {model.classes[index]: float(scores[index]) for index in worth.tolist()}


def _batches(rows: Iterator[ManifestRow]) -> Iterator[Sequence[ManifestRow]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
