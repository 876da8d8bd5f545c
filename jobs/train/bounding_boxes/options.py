"""What a training of a detector may be told, checked, with the values that need no thought."""

import math
from dataclasses import dataclass

from jobkit.arguments import Arguments
from jobkit.boxes.features import MULTIPLE_PX
from jobkit.errors import BadConfiguration
from jobkit.image.pretrained import LITE0, is_pretrained

# 0 lets the trainer choose; a budget of 0 is no bound.
OPTIONAL = {
    "backbone": LITE0,
    "seed": "0",
    "epochs": "0",
    "image-size": "0",
    "batch-size": "16",
    "learning-rate": "0",
    "time-budget-s": "0",
}
SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 64, 1024


@dataclass(frozen=True)
class Options:
    """As OPTIONAL; each 0 that lets the trainer choose is still a 0."""

    backbone: str
    seed: int
    epochs: int
    side_px: int
    batch_size: int
    learning_rate: float
    budget_s: int

    @property
    def pretrained(self) -> bool:
        """Whether a whole pretrained detector is fine-tuned."""
        return is_pretrained(self.backbone)


def options_of(arguments: Arguments) -> Options:
    """The job's arguments. Raises BadConfiguration that names the wrong one."""
    side_px = arguments.whole("image-size")
    if side_px and (side_px % MULTIPLE_PX or not SMALLEST_SIDE_PX <= side_px <= LARGEST_SIDE_PX):
        raise BadConfiguration(
            f"--image-size must be a multiple of {MULTIPLE_PX} from {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX}."
        )
    backbone = arguments.text("backbone")
    is_pretrained(backbone)
    return Options(
        backbone,
        arguments.whole("seed"),
        arguments.whole("epochs"),
        side_px,
        arguments.whole("batch-size", least=1),
        learning_rate(arguments),
        arguments.whole("time-budget-s"),
    )


def learning_rate(arguments: Arguments) -> float:
    """From 0 (the trainer chooses) to 1."""
    try:
        rate = float(arguments.text("learning-rate"))
    except ValueError:
        rate = math.nan
    if not 0.0 <= rate <= 1.0:
        raise BadConfiguration(f"--learning-rate must be from 0 to 1, not '{arguments.text('learning-rate')}'.")
    return rate
