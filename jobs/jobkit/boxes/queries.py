"""A detector of the DETR family (D-FINE, RT-DETRv2) from a folder: each of its queries stands for at most one object.

D-FINE: https://arxiv.org/abs/2410.13842; RT-DETRv2: https://arxiv.org/abs/2407.17140. Needs torch and transformers,
not torchvision.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the import: a missing file must fail at once, not ask a hub

import torch
from transformers import AutoConfig, AutoModelForObjectDetection
from transformers.utils import logging as transformers_logging

from jobkit.boxes.decoding import Found, decode_queries
from jobkit.errors import BadConfiguration
from jobkit.image.batches import Pixels
from jobkit.image.encoder import on_device, precision
from jobkit.image.pretrained import PROCESSOR, Scaling
from jobkit.transformer.network import chosen_device

# Its bars and its table of new weights are no log lines.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

Target = dict[str, torch.Tensor]


class QueryNetwork:
    """The network on the GPU if there is one, in 16 bits there; its weights and its loss are in 32."""

    def __init__(self, folder: Path, module: Any) -> None:
        self.folder = folder
        self.device = chosen_device()
        self.module = module.to(self.device).eval()
        self._scaling = Scaling.of(folder)
        # Matching and overlaps of boxes need more digits than 16 bits have.
        module.loss_function = _in_float32(module.loss_function)

    @classmethod
    def begin(cls, folder: Path, labels: Sequence[str], seed: int) -> "QueryNetwork":
        """A pretrained network that is to find these classes: what tells its old ones apart starts anew."""
        torch.manual_seed(seed)
        config = _read(AutoConfig.from_pretrained, folder)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
        return cls(folder, _loaded(folder, config, ignore_mismatched_sizes=True))

    @classmethod
    def load(cls, folder: Path) -> "QueryNetwork":
        """One that was saved."""
        return cls(folder, _loaded(folder, _read(AutoConfig.from_pretrained, folder)))

    def save(self, folder: Path) -> None:
        """Writes config, safetensors and preprocessing."""
        self.module.save_pretrained(str(folder), safe_serialization=True)
        if (self.folder / PROCESSOR).exists():
            shutil.copy(self.folder / PROCESSOR, folder / PROCESSOR)

    def numbers(self, pixels: Pixels) -> Any:
        """Pixels (n, side, side, 3) as an array that the network takes; on any thread."""
        return self._scaling.numbers(pixels)

    def loss(self, numbers: Any, targets: Sequence[Target]) -> torch.Tensor:
        """The network's own loss. Targets: `class_labels` (boxes) and `boxes` (boxes, 4), middle and size in parts of
        the sides."""
        there = [{name: value.to(self.device) for name, value in target.items()} for target in targets]
        with self._fast():
            result: torch.Tensor = self.module(pixel_values=on_device(numbers, self.device), labels=there).loss
        return result.float()

    def said(self, pixels: Pixels) -> tuple[Any, Any]:
        """(chances (n, queries, classes), boxes (n, queries, 4) as in targets) as arrays. Learns nothing."""
        with torch.inference_mode(), self._fast():
            answer = self.module(pixel_values=on_device(self.numbers(pixels), self.device))
        return torch.sigmoid(answer.logits.float()).cpu().numpy(), answer.pred_boxes.float().cpu().numpy()

    def _fast(self) -> torch.autocast:
        kind = precision(self.device)
        return torch.autocast(self.device.type, dtype=kind, enabled=kind != torch.float32)


class QueryFinder:
    """A network's answers as boxes."""

    def __init__(self, network: QueryNetwork, exponent: float = 1.0) -> None:
        self._network, self._exponent = network, exponent
        self.device = network.device

    def found(self, pixels: Pixels, threshold: float, most: int) -> list[Found]:
        """The boxes of each of at least one picture; pixels (n, side, side, 3)."""
        chances, boxes = self._network.said(pixels)
        return [decode_queries(*one, threshold, most, self._exponent) for one in zip(chances, boxes, strict=True)]


def _loaded(folder: Path, config: Any, **more: Any) -> Any:
    """The module in float32 for pictures of any size; nothing of it comes from elsewhere than the folder."""
    config.use_pretrained_backbone = False
    config.anchor_image_size = config.eval_size = None
    reader = AutoModelForObjectDetection.from_pretrained
    return _read(reader, folder, config=config, use_safetensors=True, dtype=torch.float32, **more)


def _read(reader: Any, folder: Path, **more: Any) -> Any:
    try:
        return reader(str(folder), local_files_only=True, trust_remote_code=False, **more)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise BadConfiguration(
            f"The detector {folder.name} cannot be read ({type(error).__name__}).",
            "It must be a D-FINE or an RT-DETRv2 in transformers' own format, saved as safetensors.",
        ) from error


def _in_float32(function: Any) -> Any:
    """The function on float32, whatever it is given, and outside of autocast."""

    def wrapped(*given: Any, **named: Any) -> Any:
        device = next((value.device.type for value in given if isinstance(value, torch.Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*_raised(list(given)), **_raised(named))

    return wrapped


def _raised(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _raised(one) for name, one in value.items()}
    return type(value)(_raised(one) for one in value) if type(value) in (list, tuple) else value
