"""Where the training of a head stands, as one file of its checkpoints, so that a later attempt goes on from there."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jobkit.checkpoints import Checkpoints
from jobkit.progress import say

FILE = "standing.safetensors"
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Standing:
    """All that is needed to go on: tensors by name, and plain figures."""

    tensors: Tensors
    figures: Mapping[str, Any]


class StandingFile:
    """Each save writes over the last one."""

    def __init__(self, checkpoints: Checkpoints, name: str = FILE) -> None:
        self._checkpoints, self._name = checkpoints, name

    def save(self, standing: Standing) -> None:
        """Keeps the standing. Safe to repeat. One that cannot be kept is only logged: it costs time at worst."""
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / FILE
            save_file(standing.tensors, path, metadata={"figures": json.dumps(dict(standing.figures))})
            self._checkpoints.keep(self._name, path)

    def load(self) -> Standing | None:
        """The last one that was kept; None where there is none that can be read."""
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / FILE
            if not self._checkpoints.fetch(self._name, path):
                return None
            try:
                with safe_open(path, framework="numpy") as file:
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                    return Standing(tensors, json.loads(file.metadata()["figures"]))
            except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
                reason = type(error).__name__
                say("A checkpoint cannot be read; its part is done anew", severity="WARNING", reason=reason)
                return None
