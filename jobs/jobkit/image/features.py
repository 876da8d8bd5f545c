"""One vector a picture: the feature maps of a frozen network, pooled over the picture by average and maximum, or whole.

Measured on small data (4 classes of drawn fruit on photographs, drawings of the test never seen in training): stride 32
was as good as or better than the layer before ImageNet's classes, and average with maximum better than average alone.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobkit.image.backbone import TAP_CHANNELS, WEIGHTS_SHA256, Backbone
from jobkit.image.batches import Pixels
from jobkit.image.pretrained import require_libraries

Features = NDArray[np.float32]
POOLING = ("average", "maximum")
PATCHES = ("patches",)  # the tap of a pretrained transformer, which has no strides to choose from


@dataclass(frozen=True)
class Recipe:
    """All that must be the same in training and prediction; saved beside the model."""

    taps: tuple[str, ...] = ("s32",)
    side_px: int = 224
    pooled: bool = True  # else the maps themselves, one behind the other: what is in the picture, and where
    backbone: str = "efficientnet-lite0"
    weights_sha256: str = WEIGHTS_SHA256
    width: int = 0  # numbers a patch of a pretrained transformer; 0: EfficientNet-Lite0
    patch_px: int = 0
    # Where the pretrained network lies on this machine; how it got there is no part of what was learned.
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def pretrained(self) -> bool:
        """Whether the network comes from a folder, and is saved with the model."""
        return self.width > 0

    @property
    def size(self) -> int:
        """The length of a picture's vector."""
        if not self.pooled:
            return sum(channels * cells * cells for channels, cells in self.map_shapes())
        return 2 * self.width if self.pretrained else len(POOLING) * sum(TAP_CHANNELS[tap] for tap in self.taps)

    def map_shapes(self) -> tuple[tuple[int, int], ...]:
        """(channels, cells a side) of each map; the name of a tap of EfficientNet-Lite0 says its stride."""
        if self.pretrained:
            cells = self.side_px // self.patch_px
            return (self.width, cells), (self.width, cells // 2)
        return tuple((TAP_CHANNELS[tap], -(-self.side_px // int(tap[1:]))) for tap in self.taps)

    def as_json(self) -> dict[str, object]:
        left_out = {"pooled", "folder", *(() if self.pretrained else ("width", "patch_px"))}
        own = {name: value for name, value in asdict(self).items() if name not in left_out}
        return own | {"taps": list(self.taps), "pooling": list(POOLING if self.pooled else ())}

    @staticmethod
    def from_json(saved: dict[str, object], folder: Path | None = None) -> "Recipe":
        """Raises ValueError when the model was made with another network than the installed one."""
        taps, side_px = saved.get("taps"), saved.get("side_px")
        width, patch_px = saved.get("width", 0), saved.get("patch_px", 0)
        if not isinstance(taps, list) or not isinstance(side_px, int):
            raise ValueError("the model's preprocessing has no taps or no side_px")
        if not isinstance(width, int) or not isinstance(patch_px, int) or (width > 0) != (patch_px > 0):
            raise ValueError("the model's preprocessing has a width without patches, or patches without a width")
        pooled = bool(saved.get("pooling"))
        weights = str(saved.get("weights_sha256"))
        names = tuple(map(str, taps))
        recipe = Recipe(names, side_px, pooled, str(saved.get("backbone")), weights, width, patch_px, folder)
        if not recipe.pretrained and recipe.weights_sha256 != WEIGHTS_SHA256:
            raise ValueError("the model was made with other weights of the network than the installed ones")
        return recipe


class _Network(Protocol):
    def features(self, pixels: Pixels) -> Features:
        """(n, recipe.size) for pixels (n, side, side, 3)."""


class FeatureExtractor:
    """Turns pixels into vectors; made once, used for all batches. A pretrained network's recipe has its folder."""

    def __init__(self, recipe: Recipe, threads: int | None = None) -> None:
        self.recipe = recipe
        self._network = _network(recipe, threads)

    def features(self, pixels: Pixels, mirrored: bool = False) -> Features:
        """(n, recipe.size) for pixels (n, side, side, 3); `mirrored` sees each picture from left to right reversed."""
        if not len(pixels):
            return np.empty((0, self.recipe.size), np.float32)
        return self._network.features(pixels[:, :, ::-1] if mirrored else pixels)


def _network(recipe: Recipe, threads: int | None) -> _Network:
    if not recipe.pretrained:
        return _Lite0Features(recipe, threads)
    if recipe.folder is None:
        raise ValueError("a recipe with a pretrained network needs the network's folder")
    require_libraries(f"A model on {recipe.backbone}")
    from jobkit.image.encoder import EncoderFeatures  # torch takes seconds to load, and few models need it

    return EncoderFeatures(recipe.folder, recipe.pooled)


class _Lite0Features:
    def __init__(self, recipe: Recipe, threads: int | None) -> None:
        self._recipe = recipe
        self._backbone = Backbone(recipe.taps, threads)

    def features(self, pixels: Pixels) -> Features:
        # TensorFlow's preprocessing of the EfficientNet-Lite models: (x - 127) / 128.
        scaled = (np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) - 127.0) / 128.0
        maps, taps = self._backbone.maps(scaled), self._recipe.taps
        if not self._recipe.pooled:
            return np.concatenate([maps[tap].reshape(len(pixels), -1) for tap in taps], axis=1)
        pooled = [pool for tap in taps for pool in (maps[tap].mean((2, 3)), maps[tap].max((2, 3)))]
        return np.concatenate(pooled, axis=1)
