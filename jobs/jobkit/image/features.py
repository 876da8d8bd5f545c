"""One vector a picture: the feature maps of a frozen network, pooled over the picture by average and maximum, or whole.

Measured on small data (4 classes of drawn fruit on photographs, drawings of the test never seen in training): stride 32
was as good as or better than the layer before ImageNet's classes, and average with maximum better than average alone.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from jobkit.image.backbone import TAP_CHANNELS, WEIGHTS_SHA256, Backbone
from jobkit.image.batches import Pixels

Features = NDArray[np.float32]
POOLING = ("average", "maximum")


@dataclass(frozen=True)
class Recipe:
    """All that must be the same in training and prediction; saved beside the model."""

    taps: tuple[str, ...] = ("s32",)
    side_px: int = 224
    pooled: bool = True  # else the maps themselves, one behind the other: what is in the picture, and where
    backbone: str = "efficientnet-lite0"
    weights_sha256: str = WEIGHTS_SHA256

    @property
    def size(self) -> int:
        """The length of a picture's vector."""
        if self.pooled:
            return len(POOLING) * sum(TAP_CHANNELS[tap] for tap in self.taps)
        return sum(channels * cells * cells for channels, cells in self.map_shapes())

    def map_shapes(self) -> tuple[tuple[int, int], ...]:
        """(channels, cells a side) of each tap's map; a tap's name says its stride."""
        return tuple((TAP_CHANNELS[tap], -(-self.side_px // int(tap[1:]))) for tap in self.taps)

    def as_json(self) -> dict[str, object]:
        own = {name: value for name, value in asdict(self).items() if name != "pooled"}
        return own | {"taps": list(self.taps), "pooling": list(POOLING if self.pooled else ())}

    @staticmethod
    def from_json(saved: dict[str, object]) -> "Recipe":
        """Raises ValueError when the model was made with another network than the one installed here."""
        taps = saved.get("taps")
        side_px = saved.get("side_px")
        if not isinstance(taps, list) or not isinstance(side_px, int):
            raise ValueError("the model's preprocessing has no taps or no side_px")
        pooled = bool(saved.get("pooling"))
        weights = str(saved.get("weights_sha256"))
        recipe = Recipe(tuple(map(str, taps)), side_px, pooled, str(saved.get("backbone")), weights)
        if recipe.weights_sha256 != WEIGHTS_SHA256:
            raise ValueError("the model was made with other weights of the network than the installed ones")
        return recipe


class FeatureExtractor:
    """Turns pixels into vectors; made once, used for all batches."""

    def __init__(self, recipe: Recipe, threads: int | None = None) -> None:
        self.recipe = recipe
        self._backbone = Backbone(recipe.taps, threads)

    def features(self, pixels: Pixels, mirrored: bool = False) -> Features:
        """(n, recipe.size) for pixels (n, side, side, 3); `mirrored` sees each picture from left to right reversed."""
        if not len(pixels):
            return np.empty((0, self.recipe.size), np.float32)
        seen = pixels[:, :, ::-1] if mirrored else pixels
        # TensorFlow's preprocessing of the EfficientNet-Lite models: (x - 127) / 128.
        scaled = (np.ascontiguousarray(seen.transpose(0, 3, 1, 2), dtype=np.float32) - 127.0) / 128.0
        maps = self._backbone.maps(scaled)
        if not self.recipe.pooled:
            return np.concatenate([maps[tap].reshape(len(seen), -1) for tap in self.recipe.taps], axis=1)
        pooled = [pool for tap in self.recipe.taps for pool in (maps[tap].mean((2, 3)), maps[tap].max((2, 3)))]
        return np.concatenate(pooled, axis=1)
