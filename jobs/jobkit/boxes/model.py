"""The saved detector: safetensors for the numbers, JSON for the rest, no pickle. It lies in a folder of the bucket.

Its head finds centres on a frozen network's maps, or it is a whole transformer, which then lies in a folder of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jobkit.boxes.features import BoxRecipe
from jobkit.errors import BadConfiguration
from jobkit.image.network_files import fetch_network, keep_network
from jobkit.image.pretrained import CONFIG
from jobkit.storage import Storage

VERSION = 1
TENSORS, LABELS, PREPROCESSING = "model.safetensors", "labels.json", "preprocessing.json"

CENTRES, QUERIES = "centres", "queries"

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class BoxModel:
    """`labels[i]` belongs to map i of the head. `exponent` bends chances into confidences, see train's calibration.

    Of a head on a frozen network `weights` are the numbers; a transformer lies in `folder` on this machine instead."""

    labels: tuple[str, ...]
    recipe: BoxRecipe
    weights: Weights
    exponent: float = 1.0
    folder: Path | None = field(default=None, compare=False)

    @property
    def head(self) -> str:
        """The word for its kind, as it is saved."""
        return QUERIES if self.recipe.pretrained else CENTRES


def save_model(storage: Storage, folder_uri: str, model: BoxModel) -> None:
    """Writes the model's files. Safe to repeat: the same model gives the same bytes."""
    folder = folder_uri.rstrip("/")
    if model.folder is not None:
        keep_network(storage, model.folder, folder)
    else:
        storage.write_bytes(f"{folder}/{TENSORS}", save(dict(model.weights), metadata={"format": "numpy"}))
    storage.write_text(f"{folder}/{LABELS}", json.dumps(list(model.labels), ensure_ascii=False))
    preprocessing = {"version": VERSION, "head": model.head, "exponent": model.exponent, **model.recipe.as_json()}
    storage.write_text(f"{folder}/{PREPROCESSING}", json.dumps(preprocessing, sort_keys=True))


def load_model(storage: Storage, folder_uri: str) -> BoxModel:
    """Reads what save_model wrote. Raises BadConfiguration when the folder holds no such model."""
    folder = folder_uri.rstrip("/")
    try:
        preprocessing = json.loads(storage.read_text(f"{folder}/{PREPROCESSING}"))
        if preprocessing.get("version") != VERSION or preprocessing.get("head") not in (CENTRES, QUERIES):
            raise BadConfiguration(f"The model in {folder} was written by another version of the trainer.")
        labels = tuple(map(str, json.loads(storage.read_text(f"{folder}/{LABELS}"))))
        recipe, exponent = BoxRecipe.from_json(preprocessing), float(preprocessing["exponent"])
        if preprocessing["head"] == QUERIES:
            network = fetch_network(storage, folder)
            model = BoxModel(labels, recipe, {}, exponent, network)
            fits = len(json.loads((network / CONFIG).read_text())["id2label"]) == len(labels)
        else:
            weights = load(storage.read_bytes(f"{folder}/{TENSORS}"))
            model = BoxModel(labels, recipe, weights, exponent)
            fits = weights["centre.bias"].shape == (len(labels),)
        fits = fits and model.head == preprocessing["head"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadConfiguration(f"The model in {folder} cannot be read.") from error
    if not fits:
        raise BadConfiguration(f"The model in {folder} does not fit its own labels.")
    return model
