"""What the detector sees of a picture: feature maps of a frozen network at strides 8, 16 and 32."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from jobkit.image.backbone import TAP_CHANNELS, WEIGHTS_SHA256, Backbone, Maps
from jobkit.image.batches import Pixels
from jobkit.transformer.backbones import PREFIX

TAPS = ("s8", "s16", "s32")
STRIDES = (8, 16, 32)
MULTIPLE_PX = 32  # of a side, so that each map is exactly twice as fine as the next


@dataclass(frozen=True)
class BoxRecipe:
    """All that must be the same in training and prediction; saved beside the model."""

    side_px: int
    width: int = 64  # channels of the neck
    backbone: str = "efficientnet-lite0"
    weights_sha256: str = WEIGHTS_SHA256

    @property
    def pretrained(self) -> bool:
        """Whether the whole detector is a pretrained one that was fine-tuned, not a head on a frozen network."""
        return self.backbone.startswith(PREFIX)

    def __post_init__(self) -> None:
        if self.side_px < MULTIPLE_PX or self.side_px % MULTIPLE_PX:
            raise ValueError(f"side_px must be a multiple of {MULTIPLE_PX}, not {self.side_px}")

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(TAP_CHANNELS[tap] for tap in TAPS)

    def map_shape(self, index: int) -> tuple[int, int, int]:
        """(channels, height, width) of the map of TAPS[index]."""
        cells = self.side_px // STRIDES[index]
        return self.channels[index], cells, cells

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "taps": list(TAPS)}

    @staticmethod
    def from_json(saved: dict[str, object]) -> "BoxRecipe":
        """Raises ValueError when the model was made with another network than the one installed here."""
        side_px, width = saved.get("side_px"), saved.get("width")
        if not isinstance(side_px, int) or not isinstance(width, int):
            raise ValueError("the model's preprocessing has no side_px or no width")
        recipe = BoxRecipe(side_px, width, str(saved.get("backbone")), str(saved.get("weights_sha256")))
        if not recipe.pretrained and recipe.weights_sha256 != WEIGHTS_SHA256:
            raise ValueError("the model was made with other weights of the network than the installed ones")
        return recipe


class BoxFeatures:
    """Turns pixels into feature maps; made once, used for all batches."""

    def __init__(self, threads: int | None = None) -> None:
        self._backbone = Backbone(TAPS, threads)

    def maps(self, pixels: Pixels) -> list[NDArray[np.float32]]:
        """The maps of TAPS, each (n, channels, height, width), for pixels (n, side, side, 3)."""
        # TensorFlow's preprocessing of the EfficientNet-Lite models: (x - 127) / 128.
        scaled = (np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) - 127.0) / 128.0
        maps: Maps = self._backbone.maps(scaled)
        return [maps[tap] for tap in TAPS]


def fitting_side(sizes: Sequence[tuple[int, int]], smallest: int = 256, largest: int = 512) -> int:
    """The side to squeeze pictures of these sizes to: their median longer side, within what is affordable."""
    longer = float(np.median([max(size) for size in sizes])) if sizes else smallest
    side = round(longer / MULTIPLE_PX) * MULTIPLE_PX
    return min(max(side, smallest), largest)
