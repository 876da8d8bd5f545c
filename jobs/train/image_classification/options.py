"""What a training of a classifier may be told, checked, with the values that need no thought."""

import math
from dataclasses import dataclass

from jobkit.arguments import Arguments
from jobkit.errors import BadConfiguration
from jobkit.image.features import PATCHES, Recipe
from jobkit.image.pretrained import LITE0, Use, fingerprint, folder_of, is_pretrained, require_libraries

# 0 lets the trainer choose; a budget of 0 is no bound.
OPTIONAL = {
    "seed": "20",
    "multi-label": "false",
    "method": "regression",
    "neighbours": "5",
    "backbone": LITE0,
    "fine-tune": "false",
    "image-size": "0",
    "epochs": "0",
    "batch-size": "16",
    "learning-rate": "0",
    "time-budget-s": "0",
}
METHODS = ("regression", "neighbours")
USUAL_SIDE_PX, SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 224, 56, 1024
LITE0_MULTIPLE_PX = 32  # so that each map is exactly twice as fine as the next


@dataclass(frozen=True)
class Options:
    """As OPTIONAL; each 0 that lets the trainer choose is still a 0."""

    seed: int
    multi_label: bool
    method: str
    neighbours: int
    backbone: str
    fine_tune: bool
    side_px: int
    epochs: int
    batch_size: int
    learning_rate: float
    budget_s: int


def options_of(arguments: Arguments) -> Options:
    """The job's arguments. Raises BadConfiguration that names the wrong one."""
    options = Options(
        arguments.whole("seed"),
        arguments.flag("multi-label"),
        arguments.one_of("method", METHODS),
        arguments.whole("neighbours", least=1),
        arguments.text("backbone"),
        arguments.flag("fine-tune"),
        arguments.whole("image-size"),
        arguments.whole("epochs"),
        arguments.whole("batch-size", least=1),
        _learning_rate(arguments),
        arguments.whole("time-budget-s"),
    )
    if options.fine_tune and not is_pretrained(options.backbone):
        raise BadConfiguration(
            f"--fine-tune=true needs a network that can learn; {LITE0} is frozen.",
            "Set backbone to hf:NAME, a model that lies in the gpu image, and trainer to gpu.",
        )
    return options


def recipe_of(options: Options) -> Recipe:
    """The features that the options ask for. Raises BadConfiguration for a missing network or a wrong size."""
    pooled = not options.multi_label
    if not is_pretrained(options.backbone):
        side_px = _side(options.side_px, LITE0_MULTIPLE_PX)
        return Recipe(side_px=side_px) if pooled else Recipe(("s16", "s32"), side_px, pooled=False)
    folder = folder_of(options.backbone, Use.ENCODER)
    require_libraries(f"A model on {options.backbone}")
    from jobkit.image.encoder import patch_of  # torch takes seconds to load

    width, patch_px = patch_of(folder)
    side_px = _side(options.side_px, 2 * patch_px)  # the finer map has two patches for one of the coarser
    return Recipe(PATCHES, side_px, pooled, options.backbone, fingerprint(folder), width, patch_px, folder)


def _side(asked: int, multiple: int) -> int:
    if not asked:
        return max(round(USUAL_SIDE_PX / multiple), 1) * multiple
    if asked % multiple or not SMALLEST_SIDE_PX <= asked <= LARGEST_SIDE_PX:
        raise BadConfiguration(
            f"--image-size must be a multiple of {multiple} from {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} "
            f"for this backbone, not {asked}."
        )
    return asked


def _learning_rate(arguments: Arguments) -> float:
    try:
        rate = float(arguments.text("learning-rate"))
    except ValueError:
        rate = math.nan
    if not 0.0 <= rate <= 1.0:
        raise BadConfiguration(f"--learning-rate must be from 0 to 1, not '{arguments.text('learning-rate')}'.")
    return rate
