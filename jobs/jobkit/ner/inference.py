"""Inference of named entities: predicts every row of the manifest (or reads AutoML's batch output), evaluates the
labelled ones, brings all to Labelbox. Streams: memory holds one row, and what is counted."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import labelbox

from jobkit.arguments import Arguments
from jobkit.dataset_report import class_entries
from jobkit.ending import Result
from jobkit.errors import BadConfiguration
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.ner.automl import AutomlEntities
from jobkit.ner.baseline import KnownNames
from jobkit.ner.dataset import entities_of
from jobkit.ner.model import DESCRIPTION_FILE, WEIGHTS_FILE, EntityModel
from jobkit.ner.output import EntityOutput, finish
from jobkit.ner.spans import Entity
from jobkit.progress import Progress
from jobkit.sinks import chosen_sink
from jobkit.splits import TRAINING
from jobkit.storage import Storage
from jobkit.text.predictions import TextPredictions

REQUIRED = ("model-run-id", "manifest", "dataset-report", "output-uri")
OPTIONAL = {"model": "", "predictions": "", "sink": "auto", "project": "", "upload-min-confidence": "0.0"}


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
            for row in read_manifest(storage, manifest):
                for line in output.rows(row, source.of(row)):
                    predictions.write(json.dumps(line, ensure_ascii=False))
                progress.step()
        notes = source.notes()
    progress.finish()
    return finish(output, report, notes, storage, folder, sink, make_client)


class Source(Protocol):
    """What gives a row its entities."""

    def of(self, row: ManifestRow) -> Sequence[Entity] | None:
        """The row's entities, perhaps none; None where there is no prediction."""

    def notes(self) -> dict[str, str]:
        """What to tell of it in the report."""


class _Model:
    """Our own model."""

    def __init__(self, model: EntityModel) -> None:
        self._model = model

    def of(self, row: ManifestRow) -> Sequence[Entity]:
        return self._model.find(row.content)

    def notes(self) -> dict[str, str]:
        return {"model": f"crf of {self._model.kind}"}


@contextmanager
def _source(arguments: Arguments, storage: Storage, classes: Sequence[str]) -> Iterator[Source]:
    """Our model, or the files that AutoML wrote."""
    if bool(arguments.text("model")) == bool(arguments.text("predictions")):
        raise BadConfiguration("Give either --model or --predictions.")
    if arguments.text("model"):
        yield _Model(load_model(storage, arguments.folder("model")))
        return
    with TextPredictions() as predictions:
        predictions.read(storage, arguments.text("predictions"))
        yield AutomlEntities(predictions, classes)


def _known_names(storage: Storage, manifest: str) -> KnownNames:
    """The names that labelled training rows hold."""
    names = KnownNames()
    for row in read_manifest(storage, manifest):
        if row.split == TRAINING:
            names.learn(row.content, entities_of(row) or ())
    return names


def load_model(storage: Storage, folder_uri: str) -> EntityModel:
    """The model that training left at a gs:// folder."""
    with tempfile.TemporaryDirectory() as name:
        for file in (WEIGHTS_FILE, DESCRIPTION_FILE):
            storage.download(f"{folder_uri}/{file}", Path(name) / file)
        return EntityModel.load(Path(name))
