"""The saved detector: safetensors for the numbers, JSON for the rest, no pickle. It lies in a folder of the bucket."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jobkit.boxes.features import BoxRecipe
from jobkit.errors import BadConfiguration
from jobkit.storage import Storage

VERSION = 1
TENSORS, LABELS, PREPROCESSING = "model.safetensors", "labels.json", "preprocessing.json"

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class BoxModel:
    """`labels[i]` belongs to map i of the head. `exponent` bends chances into confidences, see train's calibration."""

    labels: tuple[str, ...]
    recipe: BoxRecipe
    weights: Weights
    exponent: float = 1.0


def save_model(storage: Storage, folder_uri: str, model: BoxModel) -> None:
    """Writes the three files. Safe to repeat: the same model gives the same bytes."""
    folder = folder_uri.rstrip("/")
    storage.write_bytes(f"{folder}/{TENSORS}", save(dict(model.weights), metadata={"format": "numpy"}))
    storage.write_text(f"{folder}/{LABELS}", json.dumps(list(model.labels), ensure_ascii=False))
    preprocessing = {"version": VERSION, "head": "centres", "exponent": model.exponent, **model.recipe.as_json()}
    storage.write_text(f"{folder}/{PREPROCESSING}", json.dumps(preprocessing, sort_keys=True))


def load_model(storage: Storage, folder_uri: str) -> BoxModel:
    """Reads what save_model wrote. Raises BadConfiguration when the folder holds no such model."""
    folder = folder_uri.rstrip("/")
    try:
        preprocessing = json.loads(storage.read_text(f"{folder}/{PREPROCESSING}"))
        if preprocessing.get("version") != VERSION or preprocessing.get("head") != "centres":
            raise BadConfiguration(f"The model in {folder} was written by another version of the trainer.")
        labels = tuple(map(str, json.loads(storage.read_text(f"{folder}/{LABELS}"))))
        weights = load(storage.read_bytes(f"{folder}/{TENSORS}"))
        model = BoxModel(labels, BoxRecipe.from_json(preprocessing), weights, float(preprocessing["exponent"]))
        fits = weights["centre.bias"].shape == (len(labels),)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadConfiguration(f"The model in {folder} cannot be read.") from error
    if not fits:
        raise BadConfiguration(f"The model in {folder} does not fit its own labels.")
    return model
