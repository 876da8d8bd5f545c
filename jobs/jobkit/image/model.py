"""A saved image classifier: safetensors for the numbers, JSON for the rest, no pickle; a folder of the bucket.

A model on a pretrained network holds that network too, so that what predicts needs no weights in its image.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from jobkit.errors import BadConfiguration
from jobkit.image.features import Recipe
from jobkit.image.heads import HEADS, Head, arrays
from jobkit.image.network_files import fetch_network, keep_network
from jobkit.storage import Storage

VERSION = 1
TENSORS, LABELS, PREPROCESSING = "model.safetensors", "labels.json", "preprocessing.json"
THRESHOLDS = "thresholds.json"


@dataclass(frozen=True)
class ImageClassifier:
    """`labels[i]` belongs to column i of the head's confidences. `thresholds` (label -> confidence from which it counts
    as said) are of a model with any number of classes a picture."""

    labels: tuple[str, ...]
    recipe: Recipe
    head: Head
    thresholds: Mapping[str, float] = field(default_factory=dict)


def save_model(storage: Storage, folder_uri: str, model: ImageClassifier) -> None:
    """Writes the model's files. Safe to repeat: the same model gives the same bytes."""
    folder = folder_uri.rstrip("/")
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / TENSORS
        save_file(arrays(model.head), path, metadata={"format": "numpy"})
        storage.upload_file(path, f"{folder}/{TENSORS}", content_type="application/octet-stream")
    storage.write_text(f"{folder}/{LABELS}", json.dumps(list(model.labels), ensure_ascii=False))
    if model.thresholds:
        thresholds = json.dumps(dict(model.thresholds), ensure_ascii=False)
        storage.write_text(f"{folder}/{THRESHOLDS}", thresholds)
    if model.recipe.folder is not None:
        keep_network(storage, model.recipe.folder, folder)
    preprocessing = {"version": VERSION, "head": model.head.kind, **model.recipe.as_json()}
    storage.write_text(f"{folder}/{PREPROCESSING}", json.dumps(preprocessing, sort_keys=True))


def load_model(storage: Storage, folder_uri: str) -> ImageClassifier:
    """Reads what save_model wrote. Raises BadConfiguration when the folder holds no such model."""
    folder = folder_uri.rstrip("/")
    preprocessing = json.loads(storage.read_text(f"{folder}/{PREPROCESSING}"))
    kind = preprocessing.get("head")
    if preprocessing.get("version") != VERSION or kind not in HEADS:
        raise BadConfiguration(f"The model in {folder} was written by another version of the trainer.")
    thresholds: dict[str, float] = {}
    try:
        recipe = Recipe.from_json(preprocessing)
        if recipe.pretrained:
            recipe = replace(recipe, folder=fetch_network(storage, folder))
        labels = tuple(map(str, json.loads(storage.read_text(f"{folder}/{LABELS}"))))
        head: Head = HEADS[kind](**load(storage.read_bytes(f"{folder}/{TENSORS}")))
        if not head.single:
            saved = json.loads(storage.read_text(f"{folder}/{THRESHOLDS}"))
            thresholds = {label: float(saved[label]) for label in labels}
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadConfiguration(f"The model in {folder} cannot be read.") from error
    if not head.fits(recipe, len(labels)):
        raise BadConfiguration(f"The model in {folder} does not fit its own labels.")
    return ImageClassifier(labels, recipe, head, thresholds)
