"""Pretrained networks for pictures that lie in the image: `hf:NAME` is the folder NAME of MODELS_DIR, never a hub's
address. Each folder holds Hugging Face's files: config.json, *.safetensors and preprocessor_config.json.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobkit.errors import BadConfiguration
from jobkit.transformer.backbones import PREFIX, models_folder

LITE0 = "lite0"  # EfficientNet-Lite0, which is in every image of these jobs
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
DETECTORS = ("d_fine", "rt_detr_v2")  # model types of transformers that find boxes, and that are tested here
# Of the pictures that nearly all encoders have learned from; for a folder that says nothing of its own.
IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILLING = (
    "The build puts there what the models.txt beside the image's Dockerfile names and jobs/weights/lock.json locks: "
    "name it there, run make lock-weights, build the gpu image, and set trainer to gpu."
)


class Use(Enum):
    """What a network is taken for, as it is said to the user."""

    ENCODER = "model of pictures"
    DETECTOR = "detector"


def is_pretrained(backbone: str) -> bool:
    """Whether the word names a folder. Raises BadConfiguration for one that names nothing."""
    if backbone == LITE0:
        return False
    if backbone.startswith(PREFIX):
        return True
    raise BadConfiguration(f"--backbone must be {LITE0} or {PREFIX}NAME, not '{backbone[:60]}'.")


def folder_of(backbone: str, use: Use) -> Path:
    """The folder of `hf:NAME`; BadConfiguration that names what is there, and how more gets there."""
    name = backbone.removeprefix(PREFIX)
    known = [folder.name for folder in _folders() if use_of(folder) is use]
    if _NAME.fullmatch(name) and name in known:
        return models_folder() / name
    there = ", ".join(PREFIX + one for one in known) if known else "none"
    raise BadConfiguration(f"No {use.value} '{name[:60]}' lies in this image (there: {there}).", _FILLING)


def require_libraries(what: str) -> None:
    """BadConfiguration where `what` needs libraries that this image lacks."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadConfiguration(f"{what} needs {' and '.join(missing)}, which this image has not.", _FILLING)


def use_of(folder: Path) -> Use | None:
    """What the network of a folder is for; None where there is none, or one of texts."""
    if not any(folder.glob("*.safetensors")) or any(folder.glob("tokenizer*")):
        return None
    try:
        kind = json.loads((folder / CONFIG).read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Use.DETECTOR if kind in DETECTORS else Use.ENCODER


def _folders() -> Iterator[Path]:
    try:
        yield from sorted(path for path in models_folder().iterdir() if path.is_dir())
    except OSError:
        return


def fingerprint(folder: Path) -> str:
    """SHA-256 of the network's description and weights: what was learned on one network is of no use on another."""
    digest = hashlib.sha256((folder / CONFIG).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Scaling:
    """How pixels (0 to 255) become the network's numbers: (pixel * factor - mean) / spread, a channel at a time."""

    factor: float
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @staticmethod
    def of(folder: Path) -> "Scaling":
        """As the folder's preprocessor_config.json says; a detector without one takes pixels from 0 to 1."""
        detector = use_of(folder) is Use.DETECTOR
        try:
            said = json.loads((folder / PROCESSOR).read_text())
        except (OSError, ValueError):
            said = {}
        factor = float(said.get("rescale_factor") or 1 / 255) if said.get("do_rescale", True) else 1.0
        if not said.get("do_normalize", not detector):
            return Scaling(factor, (0.0,) * 3, (1.0,) * 3)
        return Scaling(
            factor, _three(said.get("image_mean"), IMAGENET_MEAN), _three(said.get("image_std"), IMAGENET_SPREAD)
        )

    def numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 3, height, width) for pixels (n, height, width, 3)."""
        scaled = (pixels * np.float32(self.factor) - np.array(self.mean, np.float32)) / np.array(
            self.spread, np.float32
        )
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def own_side_px(folder: Path, otherwise: int) -> int:
    """The side that the network's own preprocessing gives pictures, if it says one for squares."""
    try:
        size = json.loads((folder / PROCESSOR).read_text())["size"]
        height, width = int(size["height"]), int(size["width"])
    except (OSError, ValueError, KeyError, TypeError):
        return otherwise
    return height if height == width else otherwise


def _three(given: Sequence[float] | None, usual: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(float, given)) if given and len(given) == 3 else usual
