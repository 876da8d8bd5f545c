"""Where the fine-tuning of a model stands: one file of tensors (safetensors), with plain figures in its header."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from jobkit.checkpoints import Checkpoints
from jobkit.progress import say

FILE = "standing.safetensors"


@dataclass
class Standing:
    """`epoch` and `batch` are done; `best` is the best validation score so far, that of `best_epoch`; `used_s` the
    time spent on it, before preemptions too; `loss` the sum over the current epoch's batches."""

    epoch: int = 0
    batch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    used_s: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Parts:
    """Tensors by the part they belong to."""

    network: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)


def keep(checkpoints: Checkpoints, standing: Standing, parts: Parts, scale: dict[str, Any]) -> None:
    """Writes over the last one; safe to repeat."""
    tensors = {
        f"{part}.{name}": value.contiguous() for part, values in vars(parts).items() for name, value in values.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        save_file(tensors, path, metadata={"standing": json.dumps(vars(standing)), "scale": json.dumps(scale)})
        checkpoints.keep(FILE, path)


def fetch(checkpoints: Checkpoints) -> tuple[Standing, Parts, dict[str, Any]] | None:
    """The last one that was kept; None where there is none that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        if not checkpoints.fetch(FILE, path):
            return None
        parts = Parts()
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                for key in file.keys():  # noqa: SIM118 - the file is no mapping
                    part, _, name = key.partition(".")
                    getattr(parts, part)[name] = file.get_tensor(key)
            return Standing(**json.loads(header["standing"])), parts, json.loads(header["scale"])
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = type(error).__name__
            say("The checkpoint cannot be read; the training starts anew", severity="WARNING", reason=reason)
            return None
