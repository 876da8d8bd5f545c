"""Where a training stands, kept in the bucket beside the training file, so that a later attempt goes on from there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.storage import Storage

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Standing:
    """All that is needed to go on: tensors by name, and plain figures."""

    tensors: Tensors
    figures: Mapping[str, Any]


class Checkpoints:
    """One object that each save writes over. Trainings of other data or other settings have other objects."""

    def __init__(self, storage: Storage, training_file: str, settings: Mapping[str, object]) -> None:
        words = json.dumps([training_file, storage.size(training_file), dict(settings)], sort_keys=True)
        name = hashlib.sha256(words.encode()).hexdigest()[:20]
        self._storage = storage
        self._uri = f"{training_file.rpartition('/')[0]}/checkpoints/{name}.safetensors"

    def save(self, standing: Standing) -> None:
        """Keeps the standing. One that cannot be kept is only logged: it costs time at worst."""
        try:
            data = save(standing.tensors, metadata={"figures": json.dumps(dict(standing.figures))})
            self._storage.write_bytes(self._uri, data)
        except JobError as error:
            say("The checkpoint could not be kept", severity="WARNING", reason=error.sentence)

    def load(self) -> Standing | None:
        """The last standing of a training like this one; None where there is none that can be read."""
        if not self._storage.exists(self._uri):
            return None
        data = self._storage.read_bytes(self._uri)
        try:
            length = int.from_bytes(data[:8], "little")
            figures = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["figures"])
            return Standing({name: np.array(value) for name, value in load(data).items()}, figures)
        except (SafetensorError, ValueError, KeyError) as error:
            say("The checkpoint cannot be read; the training starts anew", severity="WARNING", reason=str(error)[:200])
            return None
