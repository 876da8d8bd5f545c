"""A pretrained vision transformer (DINOv2 and its like), read from a folder: one vector for the whole picture, and one
for each patch of it. Needs torch and transformers.
"""

import inspect
import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the import: a missing file must fail at once, not ask a hub

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from jobkit.errors import BadConfiguration
from jobkit.image.batches import Pixels
from jobkit.image.pretrained import CONFIG, PROCESSOR, Scaling
from jobkit.transformer.network import chosen_device


def precision(device: torch.device) -> torch.dtype:
    """What a device computes in: bfloat16 on a GPU that can, else float16; float32 on a CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def on_device(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array as a tensor there; the copy to a GPU runs beside its work."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def patch_of(folder: Path) -> tuple[int, int]:
    """(numbers a patch, side of a patch in pixels). Raises BadConfiguration for a network without patches."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        return int(config["hidden_size"]), int(config["patch_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfiguration(
            f"The model {folder.name} does not look at pictures in patches.",
            "Take a vision transformer, such as DINOv2.",
        ) from error


class Encoder:
    """The network on the GPU if there is one; it learns nothing unless its module is made to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.width, self.patch_px = patch_of(folder)
        self.device = chosen_device()
        self._scaling = Scaling.of(folder)
        try:
            module = AutoModel.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError) as error:
            raise BadConfiguration(
                f"The model {folder.name} cannot be read ({type(error).__name__}).",
                "It must be a vision transformer that transformers knows, saved as safetensors.",
            ) from error
        self.module: Any = module.to(self.device).eval()
        # Some networks stretch their positions to the picture only when they are told to.
        stretches = "interpolate_pos_encoding" in inspect.signature(module.forward).parameters
        self._more = {"interpolate_pos_encoding": True} if stretches else {}

    def numbers(self, pixels: Pixels) -> NDArray[np.float32]:
        """Pixels (n, side, side, 3) as the network takes them; on any thread."""
        return self._scaling.numbers(pixels)

    def tensors(self, pixels: Pixels) -> torch.Tensor:
        """The same, on the network's device."""
        return on_device(self.numbers(pixels), self.device)

    def read(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(whole (n, width), patches (n, width, cells, cells)) in float32, with gradients where they are wanted."""
        cells = pictures.shape[-1] // self.patch_px
        kind = precision(self.device)
        with torch.autocast(self.device.type, dtype=kind, enabled=kind != torch.float32):
            tokens = self.module(pixel_values=pictures, **self._more).last_hidden_state
        places = cells * cells
        if tokens.ndim != 3 or tokens.shape[1] <= places:
            raise BadConfiguration(f"The model {self.folder.name} has no vector for the whole picture.")
        # What stands before the patches are the picture's own vector and, in some networks, registers.
        patches = tokens[:, -places:].float().transpose(1, 2).reshape(len(tokens), -1, cells, cells)
        return tokens[:, 0].float(), patches

    def save(self, folder: Path) -> None:
        """The network as it is now, with what it needs to be read again."""
        self.module.save_pretrained(str(folder), safe_serialization=True)
        if (self.folder / PROCESSOR).exists():
            shutil.copy(self.folder / PROCESSOR, folder / PROCESSOR)


class EncoderFeatures:
    """What a frozen encoder sees of pictures, as classifiers take it."""

    def __init__(self, folder: Path, pooled: bool) -> None:
        self._encoder, self._pooled = Encoder(folder), pooled

    def features(self, pixels: Pixels) -> NDArray[np.float32]:
        """Pooled: the picture's own vector and the mean of its patches. Else the patches, and then the means of every
        four that touch: the two maps that the head for any number of classes looks at."""
        with torch.inference_mode():
            whole, patches = self._encoder.read(self._encoder.tensors(pixels))
            if self._pooled:
                parts = [whole, patches.mean((2, 3))]
            else:
                parts = [patches.flatten(1), torch.nn.functional.avg_pool2d(patches, 2).flatten(1)]
            result: NDArray[np.float32] = torch.cat(parts, dim=1).cpu().numpy()
        return result
