"""Fine-tunes a pretrained encoder on the classes, for a GPU; the heads are then learned on what it sees, as on a frozen
one, so that a model is the same three parts whatever its network has learned.

While it learns it has a head of its own kind: a linear layer for one class a picture, and for any number one that looks
at every patch (log-sum-exp over the places, as jobkit.image.heads.SpatialHead). Needs torch and transformers.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadData
from jobkit.image.batches import Pixels
from jobkit.image.encoder import Encoder, on_device
from jobkit.image.features import Recipe
from jobkit.image.heads import SHARPNESS
from jobkit.image.pixel_table import PixelTable
from jobkit.image.pretrained import fingerprint
from jobkit.image.tuning import Plan, Tuning
from jobkit.progress import say
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage
from train.image_classification.lines import Example
from train.image_classification.options import Options

# Encoders of this kind are usually tuned at 1e-5 to 5e-5; their new head, which knows nothing, at far more.
LEARNING_RATE, HEAD_SHARE = 2e-5, 50.0
SAMPLES, FEWEST_EPOCHS, MOST_EPOCHS = 6_000, 4, 30
HIDDEN = 96
NEAREST = 0.7  # of the side: the smallest part of a picture that is looked at
BATCH = 16


def planned_epochs(pictures: int) -> int:
    """Enough epochs for a small data set, few for a large one."""
    return min(max(math.ceil(SAMPLES / max(pictures, 1)), FEWEST_EPOCHS), MOST_EPOCHS)


class ClassHead(nn.Module):  # type: ignore[misc, unused-ignore] # torch is installed in GPU images only
    """Scores of classes from what the encoder sees."""

    def __init__(self, width: int, classes: int, places: bool) -> None:
        super().__init__()
        self.whole = nn.Linear(2 * width, classes)
        self.place = nn.Sequential(nn.Conv2d(width, HIDDEN, 1), nn.ReLU(), nn.Conv2d(HIDDEN, classes, 1))
        self._places = places

    def forward(self, whole: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.whole(torch.cat([whole, patches.mean((2, 3))], dim=1))
        if not self._places:
            return scores
        somewhere = SHARPNESS * self.place(patches).flatten(2)
        return scores + (torch.logsumexp(somewhere, dim=2) - math.log(somewhere.shape[2])) / SHARPNESS


class ClassTask:
    """The encoder and its head as what jobkit.image.tuning learns. `rows` of the table are pictures, by split."""

    def __init__(
        self,
        encoder: Encoder,
        table: PixelTable,
        truth: NDArray[np.float32],
        rows: tuple[NDArray[np.int64], NDArray[np.int64]],
        several: bool,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._encoder, self._table, self._truth, self._several = encoder, table, truth, several
        self._training, self._validation = rows
        head = ClassHead(encoder.width, truth.shape[1], several).to(encoder.device)
        self.module: nn.Module = nn.ModuleDict({"network": encoder.module, "head": head})
        self.device, self.count = encoder.device, len(self._training)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The head learns faster than the encoder, which already knows much."""
        return [
            (list(self.module[part].parameters()), share) for part, share in (("network", 1.0), ("head", HEAD_SHARE))
        ]

    def prepare(self, rows: Sequence[int], seeds: Sequence[int]) -> tuple[Any, Any]:
        """Numbers and classes of some pictures, each seen in a way of its own."""
        chosen = self._training[list(rows)]
        seen = [part_of(self._table.pixels[row], seed) for row, seed in zip(chosen, seeds, strict=True)]
        return self._encoder.numbers(np.stack(seen)), self._truth[chosen]

    def loss(self, prepared: tuple[Any, Any]) -> torch.Tensor:
        """Cross-entropy: of one class a picture, or of each class for itself."""
        numbers, truth = prepared
        return self._loss(self._scores(on_device(numbers, self.device)), on_device(truth, self.device))

    def score(self) -> float | None:
        """The negative mean loss on the validation pictures."""
        if not len(self._validation):
            return None
        total = 0.0
        for start in range(0, len(self._validation), BATCH):
            rows = self._validation[start : start + BATCH]
            with torch.inference_mode():
                scores = self._scores(self._encoder.tensors(np.asarray(self._table.pixels[rows])))
                total += float(self._loss(scores, on_device(self._truth[rows], self.device))) * len(rows)
        return -total / len(self._validation)

    def _scores(self, pictures: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.module["head"](*self._encoder.read(pictures))
        return scores

    def _loss(self, scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        if self._several:
            return nn.functional.binary_cross_entropy_with_logits(scores, truth)
        return nn.functional.cross_entropy(scores, truth)


def part_of(plain: Pixels, seed: int) -> Pixels:
    """A random part of a picture at the picture's own size, mirrored half of the time."""
    dice = np.random.default_rng(seed)
    side = len(plain)
    taken = round(side * dice.uniform(NEAREST, 1.0))
    left, top = dice.integers(0, side - taken + 1, 2).tolist()
    seen = plain[:, ::-1] if dice.random() < 0.5 else plain
    picture = Image.fromarray(np.ascontiguousarray(seen))
    box = (left, top, left + taken, top + taken)
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))


def tuned(
    storage: Storage, taught: Sequence[Example], options: Options, recipe: Recipe, kept: Checkpoints, folder: Path
) -> tuple[Recipe, str]:
    """The recipe with the tuned network, which is saved in `folder`, and why the tuning ended."""
    if recipe.folder is None:
        raise ValueError("only a network from a folder can be tuned")
    table = PixelTable.filled(storage, [example.uri for example in taught], recipe.side_px, folder / "pixels")
    classes = sorted({name for example in taught if example.ml_use == TRAINING for name in example.labels})
    truth = np.array([[name in example.labels for name in classes] for example in taught], np.float32)
    usable = table.readable & (truth.any(axis=1) | options.multi_label)
    rows = [np.flatnonzero(usable & np.array([example.ml_use == split for example in taught])) for split in _SPLITS]
    if not len(rows[0]):
        raise BadData("No picture of the training split can be read.", "The job's log names the pictures.")
    encoder = Encoder(recipe.folder)
    if encoder.device.type == "cpu":
        say("There is no GPU: fine-tuning a network may take hours here", severity="WARNING")
    epochs = options.epochs or planned_epochs(len(rows[0]))
    rate = options.learning_rate or LEARNING_RATE
    plan = Plan(epochs, options.batch_size, rate, options.seed, float(options.budget_s))
    task = ClassTask(encoder, table, truth, (rows[0], rows[1]), options.multi_label, options.seed)
    end = Tuning(task, plan, kept).run()
    saved = folder / "network"
    encoder.save(saved)
    return replace(recipe, folder=saved, weights_sha256=fingerprint(saved)), end


_SPLITS = (TRAINING, VALIDATION)
