"""Pretrained models that lie in the image: `hf:NAME` is the folder NAME of MODELS_DIR, never an address of a hub.

The folders hold Hugging Face's files (config.json, model.safetensors, the tokenizer's). The image's build puts them
there: jobs/weights/README.md.
"""

import importlib.util
import os
import re
from pathlib import Path

from jobkit.errors import BadConfiguration

PREFIX = "hf:"
FOLDER_VARIABLE = "MODELS_DIR"
FOLDER = "/models"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILLING = (
    "Images with transformers hold the models that the models.txt beside their Dockerfile names: add the model there, "
    "lock it (make lock-weights), build the image, and set trainer to gpu."
)


def is_transformer(backbone: str) -> bool:
    """Whether the word names a pretrained model."""
    return backbone.startswith(PREFIX)


def models_folder() -> Path:
    """The folder with a folder a model."""
    return Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)


def text_models() -> tuple[str, ...]:
    """The names of the models of texts that lie in the image, sorted: those with a tokenizer."""
    try:
        folders = sorted(models_folder().iterdir())
    except OSError:
        return ()
    return tuple(folder.name for folder in folders if _is_whole(folder))


def _is_whole(folder: Path) -> bool:
    has = [(folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")]
    return any(has) and (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def folder_of(backbone: str) -> Path:
    """The folder of `hf:NAME`; BadConfiguration that names what is there, and how more gets there."""
    name = backbone.removeprefix(PREFIX)
    known = text_models()
    if _NAME.fullmatch(name) and name in known:
        return models_folder() / name
    there = ", ".join(PREFIX + one for one in known) if known else "none"
    raise BadConfiguration(f"No model of texts '{name[:60]}' lies in this image (there: {there}).", _FILLING)


def are_supported() -> bool:
    """Whether the libraries are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def require_libraries(what: str) -> None:
    """BadConfiguration where `what` needs libraries that this image lacks."""
    if not are_supported():
        raise BadConfiguration(f"{what} needs torch and transformers, which this image has not.", _FILLING)
