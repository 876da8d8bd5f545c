"""Fine-tunes a whole detector of the DETR family from the image's models: for a GPU, from hundreds of pictures on.

The learning rate and the bound on gradients are usual ones of this family and were not tuned here; the network that
turns pixels into features learns at a tenth of the rate. Needs torch and transformers.
"""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobkit.boxes.decoding import Found
from jobkit.boxes.features import BoxRecipe
from jobkit.boxes.model import BoxModel
from jobkit.boxes.queries import QueryFinder, QueryNetwork, Target
from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadData
from jobkit.image.pixel_table import PixelTable
from jobkit.image.pretrained import Use, fingerprint, folder_of, own_side_px
from jobkit.image.tuning import Plan, Tuning
from jobkit.progress import say
from jobkit.storage import Storage
from train.bounding_boxes.cache import Look, look_of
from train.bounding_boxes.examples import Corners, Example
from train.bounding_boxes.judging import LEAST_CHANCE, MOST, Judge, exponent_for
from train.bounding_boxes.options import Options
from train.bounding_boxes.trained import Lesson, Trained
from train.bounding_boxes.views import View, random_view

LEARNING_RATE, BACKBONE_SHARE = 1e-4, 0.1
LARGEST_GRADIENT = 0.1
USUAL_SIDE_PX = 640
SAMPLES, FEWEST_EPOCHS, MOST_EPOCHS = 20_000, 12, 72
PLAIN_SHARE = 0.3  # of the training's looks are at the picture as it is, or at its mirror image
MEASURE = "map_50_95"
VALIDATION_BATCH = 8


def planned_epochs(pictures: int) -> int:
    """Enough epochs for a small data set, few for a large one."""
    return min(max(math.ceil(SAMPLES / max(pictures, 1)), FEWEST_EPOCHS), MOST_EPOCHS)


class Pictures:
    """The readable pictures of a split with what is to be found in them."""

    def __init__(
        self, storage: Storage, examples: Sequence[Example], classes: Sequence[str], table: PixelTable
    ) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        self.rows = table.rows()
        self.pixels = table.pixels
        self.looks = [look_of(examples[row], View(), numbers) for row in self.rows]
        self.unreadable = len(examples) - len(self.rows)

    def __len__(self) -> int:
        return len(self.looks)

    def plain(self, places: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The pixels of some pictures."""
        return np.asarray(self.pixels[self.rows[places]])

    def seen(self, place: int, view: View) -> tuple[NDArray[np.uint8], Look]:
        """A picture through a view."""
        look = self.looks[place]
        corners, visible = view.corners(look.corners)
        pixels = view.pixels(np.asarray(self.pixels[self.rows[place]]))
        return pixels, Look(corners[visible], look.classes[visible])


class BoxTask:
    """The detector as what jobkit.image.tuning learns."""

    def __init__(self, network: QueryNetwork, training: Pictures, validation: Pictures, judge: Judge) -> None:
        self._network, self._training, self._validation, self._judge = network, training, validation, judge
        self.module: torch.nn.Module = network.module
        self.device, self.count = network.device, len(training)
        self.figures: dict[str, float] = {}
        self.cut = 0.5

    def groups(self) -> list[tuple[list[torch.nn.Parameter], float]]:
        """The backbone learns more slowly than what stands on it."""
        below = [value for name, value in self.module.named_parameters() if ".backbone." in name]
        above = [value for name, value in self.module.named_parameters() if ".backbone." not in name]
        return [
            ([value for value in above if value.requires_grad], 1.0),
            ([value for value in below if value.requires_grad], BACKBONE_SHARE),
        ]

    def prepare(self, rows: Sequence[int], seeds: Sequence[int]) -> tuple[Any, list[Target]]:
        """Numbers and targets of some pictures, each seen in a way of its own."""
        seen = [self._training.seen(row, _view(seed)) for row, seed in zip(rows, seeds, strict=True)]
        numbers = self._network.numbers(np.stack([pixels for pixels, _ in seen]))
        return numbers, [target(look) for _, look in seen]

    def loss(self, prepared: tuple[Any, list[Target]]) -> torch.Tensor:
        """The network's own."""
        return self._network.loss(*prepared)

    def score(self) -> float | None:
        """mAP@[.5:.95] of the validation pictures."""
        if not len(self._judge):
            return None
        self.figures, self.cut = self._judge.figures(self._find)
        return self.figures.get(MEASURE, 0.0)

    def _find(self, rows: NDArray[np.intp]) -> list[Found]:
        finder = QueryFinder(self._network)
        parts = [rows[start : start + VALIDATION_BATCH] for start in range(0, len(rows), VALIDATION_BATCH)]
        return [found for part in parts for found in finder.found(self._validation.plain(part), LEAST_CHANCE, MOST)]


def target(look: Look) -> Target:
    """A look as the network is taught it: middle and size in parts of the sides."""
    return {
        "class_labels": torch.from_numpy(look.classes.astype(np.int64)),
        "boxes": torch.from_numpy(middles_and_sizes(look.corners)),
    }


def middles_and_sizes(corners: Corners) -> NDArray[np.float32]:
    """(n, 4): middle across, middle down, width, height."""
    middle, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    result: NDArray[np.float32] = np.concatenate([middle, size], axis=1).astype(np.float32)
    return result


def _view(seed: int) -> View:
    dice = np.random.default_rng(seed)
    if dice.random() < PLAIN_SHARE:
        return View(mirrored=bool(dice.random() < 0.5))
    return random_view(dice)


@contextmanager
def tuned(storage: Storage, lesson: Lesson, options: Options) -> Iterator[Trained]:
    """Reads and learns; the model's folder lasts as long as the block."""
    began = time.monotonic()
    folder = folder_of(options.backbone, Use.DETECTOR)
    side_px = options.side_px or own_side_px(folder, USUAL_SIDE_PX)
    epochs = options.epochs or planned_epochs(len(lesson.training))
    origin = fingerprint(folder)
    settings = {**vars(options), "side_px": side_px, "epochs": epochs, "network": origin, "classes": lesson.classes}
    checkpoints = Checkpoints.of(storage, lesson.training_file, settings)
    with tempfile.TemporaryDirectory() as work:
        training, validation = (
            pictures(storage, examples, lesson.classes, side_px, Path(work) / name)
            for name, examples in (("training", lesson.training), ("validation", lesson.validation))
        )
        if not any(len(look.corners) for look in training.looks):
            raise BadData("No picture with a box can be read.", "The job's log names the pictures.")
        network = QueryNetwork.begin(folder, lesson.classes, options.seed)
        if network.device.type == "cpu":
            say("There is no GPU: fine-tuning a whole detector may take days here", severity="WARNING")
        left_s = max(options.budget_s - (time.monotonic() - began), 1.0) if options.budget_s else 0.0
        rate = options.learning_rate or LEARNING_RATE
        plan = Plan(epochs, options.batch_size, rate, options.seed, left_s, LARGEST_GRADIENT)
        task = BoxTask(network, training, validation, Judge(validation.looks, lesson.classes, side_px))
        tuning = Tuning(task, plan, checkpoints)
        end = tuning.run()
        task.module.eval()
        task.score()  # of the best weights, which the network now has
        saved = Path(work) / "model"
        network.save(saved)
        recipe = BoxRecipe(side_px, 0, options.backbone, fingerprint(saved))
        yield Trained(
            BoxModel(lesson.classes, recipe, {}, exponent_for(task.cut), saved),
            end,
            task.figures,
            task.cut,
            tuning.state.epoch,
            tuning.state.best_epoch,
            len(training),
            len(validation),
            training.unreadable + validation.unreadable,
        )


def pictures(
    storage: Storage, examples: Sequence[Example], classes: Sequence[str], side_px: int, path: Path
) -> Pictures:
    """Reads a split."""
    table = PixelTable.filled(storage, [example.uri for example in examples], side_px, path)
    return Pictures(storage, examples, classes, table)
