"""Inference of named entities: predicts every row of the manifest (or reads AutoML's batch output), evaluates the
labelled ones, brings all to Labelbox. Streams: memory holds one row, and what is counted."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labelbox

from jobkit.arguments import Arguments
from jobkit.dataset_report import class_entries
from jobkit.ending import Result
from jobkit.errors import BadConfiguration
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.ner_automl import AutomlEntities
from jobkit.ner_baseline import KnownNames
from jobkit.ner_dataset import entities_of
from jobkit.ner_model import DESCRIPTION_FILE, WEIGHTS_FILE, EntityModel
from jobkit.ner_output import EntityOutput, finish
from jobkit.ner_spans import Entity
from jobkit.progress import Progress
from jobkit.sinks import SINKS
from jobkit.splits import TRAINING
from jobkit.storage import Storage

REQUIRED = ("model-run-id", "manifest", "dataset-report", "output-uri")
OPTIONAL = {"model": "", "predictions": "", "sink": "auto", "upload-min-confidence": "0.0"}

Finder = Callable[[ManifestRow], Sequence[Entity] | None]


def predict(arguments: Arguments, storage: Storage, make_client: Callable[[], labelbox.Client]) -> Result:
    """Does the job's work."""
    sink = arguments.one_of("sink", SINKS)
    minimum = arguments.share("upload-min-confidence")
    manifest = arguments.text("manifest")
    report: dict[str, Any] = json.loads(storage.read_text(arguments.text("dataset-report")))
    classes = class_entries(report)
    find, notes = _finder(arguments, storage, [entry.display_name for entry in classes])
    output = EntityOutput(classes, arguments.text("model-run-id"), _known_names(storage, manifest), minimum)
    folder = arguments.folder("output-uri")
    progress = Progress("Predicting rows", report.get("rows", {}).get("seen"))
    with storage.line_writer(f"{folder}/predictions.ndjson") as predictions:
        for row in read_manifest(storage, manifest):
            for line in output.rows(row, find(row)):
                predictions.write(json.dumps(line, ensure_ascii=False))
            progress.step()
    progress.finish()
    return finish(output, report, notes(), storage, folder, sink, make_client)


def _finder(
    arguments: Arguments, storage: Storage, classes: Sequence[str]
) -> tuple[Finder, Callable[[], dict[str, str]]]:
    """(what gives a row its entities: our model, or files that AutoML wrote; what to tell of it in the end)."""
    if bool(arguments.text("model")) == bool(arguments.text("predictions")):
        raise BadConfiguration("Give either --model or --predictions.")
    if arguments.text("model"):
        model = load_model(storage, arguments.folder("model"))
        return lambda row: model.find(row.content), lambda: {"model": f"crf of {model.kind}"}
    found = AutomlEntities.read(storage, arguments.text("predictions"), classes)
    return found.of, lambda: {"model": "AutoML text entity extraction", **found.notes()}


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
