"""Inference of named entities: predicts every row of the manifest (or reads AutoML's batch output), evaluates the
labelled ones, brings all to Labelbox. Streams: memory holds one batch of rows, and what is counted."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import labelbox

from jobkit.arguments import Arguments
from jobkit.dataset_report import class_entries
from jobkit.ending import Result
from jobkit.errors import BadConfiguration
from jobkit.labelbox_rows import to_line
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.model_files import download_model
from jobkit.ner.automl import AutomlEntities
from jobkit.ner.baseline import KnownNames
from jobkit.ner.dataset import entities_of
from jobkit.ner.finders import Finder, load_finder
from jobkit.ner.output import EntityOutput, finish
from jobkit.ner.spans import Entity
from jobkit.progress import Progress
from jobkit.sinks import chosen_sink
from jobkit.splits import TRAINING
from jobkit.storage import Storage
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
BATCH, BATCH_LETTERS = 64, 200_000


def predict(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work."""
    sink = chosen_sink(arguments)
    minimum = arguments.share("upload-min-confidence")
    manifest = arguments.text("manifest")
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    classes = class_entries(report)
    folder = arguments.folder("output-uri")
    progress = Progress("Predicting rows", report.get("rows", {}).get("seen"))
    with _source(arguments, storage, [entry.display_name for entry in classes]) as source:
        output = EntityOutput(classes, arguments.text("model-run-id"), _known_names(storage, manifest), minimum)
        with storage.line_writer(f"{folder}/predictions.ndjson") as predictions:
            for batch in _batches(read_manifest(storage, manifest)):
                for row, entities in zip(batch, source.of(batch), strict=True):
                    for line in output.rows(row, entities):
                        predictions.write(to_line(line))
                progress.step(len(batch))
        notes = source.notes()
    progress.finish()
    return finish(output, report, notes, storage, folder, sink, make_client, parameters=arguments.values)


class Source(Protocol):
    """What gives rows their entities."""

    def of(self, rows: Sequence[ManifestRow]) -> Sequence[Sequence[Entity] | None]:
        """The entities of each row, perhaps none; None where there is no prediction."""

    def notes(self) -> dict[str, str]:
        """What to tell of it in the report."""


class _Model:
    """Our own model."""

    def __init__(self, model: Finder) -> None:
        self._model = model

    def of(self, rows: Sequence[ManifestRow]) -> Sequence[Sequence[Entity]]:
        return self._model.find_all([row.content for row in rows])

    def notes(self) -> dict[str, str]:
        return {"model": self._model.name}


class _Automl:
    """The files that AutoML wrote; entities below the threshold are left out."""

    def __init__(self, entities: AutomlEntities, threshold: float) -> None:
        self._entities, self._threshold = entities, threshold

    def of(self, rows: Sequence[ManifestRow]) -> Sequence[Sequence[Entity] | None]:
        return [self._said(self._entities.of(row)) for row in rows]

    def _said(self, found: Sequence[Entity] | None) -> Sequence[Entity] | None:
        return None if found is None else [entity for entity in found if entity.confidence >= self._threshold]

    def notes(self) -> dict[str, str]:
        return self._entities.notes()


def _batches(rows: Iterable[ManifestRow]) -> Iterator[Sequence[ManifestRow]]:
    """Rows together, as many as a network likes to read at once, and no more text than fits into memory."""
    batch: list[ManifestRow] = []
    letters = 0
    for row in rows:
        batch.append(row)
        letters += len(row.content)
        if len(batch) == BATCH or letters >= BATCH_LETTERS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


@contextmanager
def _source(arguments: Arguments, storage: Storage, classes: Sequence[str]) -> Iterator[Source]:
    """Our model, or the files that AutoML wrote; a threshold that was asked for takes the place of the model's own."""
    threshold = threshold_of(arguments)
    if bool(arguments.text("model")) == bool(arguments.text("predictions")):
        raise BadConfiguration("Give either --model or --predictions.")
    if arguments.text("model"):
        model = load_model(storage, arguments.folder("model"))
        if threshold is not None:
            model.threshold = threshold
        yield _Model(model)
        return
    with TextPredictions() as predictions:
        predictions.read(storage, arguments.text("predictions"))
        yield _Automl(AutomlEntities(predictions, classes), threshold or 0.0)


def _known_names(storage: Storage, manifest: str) -> KnownNames:
    """The names that labelled training rows hold."""
    names = KnownNames()
    for row in read_manifest(storage, manifest):
        if row.split == TRAINING:
            names.learn(row.content, entities_of(row) or ())
    return names


def load_model(storage: Storage, folder_uri: str) -> Finder:
    """The model that training left at a gs:// folder."""
    with tempfile.TemporaryDirectory() as name:
        download_model(storage, folder_uri, Path(name))
        return load_finder(Path(name))
