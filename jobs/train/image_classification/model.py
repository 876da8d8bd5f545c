"""The saved model: safetensors for the numbers, JSON for the rest, no pickle. It lies in a folder of the bucket."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from jobkit.errors import BadConfiguration
from jobkit.image_features import Recipe
from jobkit.storage import Storage
from train.image_classification.head import Head

VERSION = 1
TENSORS, LABELS, PREPROCESSING = "model.safetensors", "labels.json", "preprocessing.json"


@dataclass(frozen=True)
class ImageClassifier:
    """One answer a picture: `labels[i]` belongs to column i of the head."""

    labels: tuple[str, ...]
    recipe: Recipe
    head: Head


def save_model(storage: Storage, folder_uri: str, model: ImageClassifier) -> None:
    """Writes the three files. Safe to repeat: the same model gives the same bytes."""
    folder = folder_uri.rstrip("/")
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / TENSORS
        save_file({"weights": model.head.weights, "bias": model.head.bias}, path, metadata={"format": "numpy"})
        storage.upload_file(path, f"{folder}/{TENSORS}", content_type="application/octet-stream")
    storage.write_text(f"{folder}/{LABELS}", json.dumps(list(model.labels), ensure_ascii=False))
    preprocessing = {"version": VERSION, "head": "softmax", **model.recipe.as_json()}
    storage.write_text(f"{folder}/{PREPROCESSING}", json.dumps(preprocessing, sort_keys=True))


def load_model(storage: Storage, folder_uri: str) -> ImageClassifier:
    """Reads what save_model wrote. Raises BadConfiguration when the folder holds no such model."""
    folder = folder_uri.rstrip("/")
    preprocessing = json.loads(storage.read_text(f"{folder}/{PREPROCESSING}"))
    if preprocessing.get("version") != VERSION or preprocessing.get("head") != "softmax":
        raise BadConfiguration(f"The model in {folder} was written by another version of the trainer.")
    try:
        recipe = Recipe.from_json(preprocessing)
        labels = tuple(map(str, json.loads(storage.read_text(f"{folder}/{LABELS}"))))
        tensors = load(storage.read_bytes(f"{folder}/{TENSORS}"))
        head = Head(tensors["weights"], tensors["bias"])
    except (ValueError, KeyError, SafetensorError) as error:
        raise BadConfiguration(f"The model in {folder} cannot be read.") from error
    if head.weights.shape != (recipe.size, len(labels)) or head.bias.shape != (len(labels),):
        raise BadConfiguration(f"The model in {folder} does not fit its own labels.")
    return ImageClassifier(labels, recipe, head)
