"""Any number of classes a picture: a small head on whole feature maps, learned by gradient descent in numpy.

Which place of a picture shows the class is not known, only that some place does: multiple-instance learning. The loss
is binary cross-entropy; AdamW; the round with the lowest validation loss is kept, and training stops when none of the
last PATIENCE rounds was better. Measured against logistic regression on pooled features with 80 pictures of 1 to 5
objects: micro-F1 0.91 against 0.63.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobkit.image.heads import SpatialHead, Weights, above, split_maps, strongest
from jobkit.progress import Progress, say
from jobkit.standing_file import Standing, StandingFile
from train.image_classification.features import FeatureTable

HIDDEN = 96
LEARNING_RATE, DECAY = 2e-3, 1e-2
MOMENTUM, SECOND_MOMENTUM, EPSILON = 0.9, 0.99, 1e-8
BATCH = 16
MAX_ROUNDS, PATIENCE = 60, 10
ROUNDS_WITHOUT_VALIDATION = 12
CHECKPOINT_EVERY_S = 30.0
LARGE = 4096  # rows a round from which all cores are worth their cost

Array = NDArray[np.floating]  # float32 in training; a test of the gradients takes float64
Truth = NDArray[np.float32]  # (examples, classes), 1 where the picture has the class
Rows = NDArray[np.int64]
_LAYERS = ("fine", "coarse", "hidden_bias", "out", "out_bias", "whole")
_DECAYED = frozenset({"fine", "coarse", "out", "whole"})


@dataclass(frozen=True)
class Fitted:
    """The head that was kept, the round that made it, and its mean validation loss (None without such a split)."""

    head: SpatialHead
    round: int
    validation_loss: float | None


@dataclass(frozen=True)
class Scale:
    """Mean and spread of each channel of both maps over the training pictures."""

    fine_mean: Weights
    fine_spread: Weights
    coarse_mean: Weights
    coarse_spread: Weights


class Maps:
    """Reads batches of the table as maps whose channels have mean 0 and spread 1 over the training pictures."""

    def __init__(self, table: FeatureTable, training: Rows) -> None:
        self._table = table
        self.channels = [channels for channels, _ in table.recipe.map_shapes()]
        self.scale = self._measured(training)

    def read(self, rows: Rows, mirrored: bool = False) -> tuple[Array, Array]:
        """(fine, coarse) maps of the rows, each (n, places, channels)."""
        source = self._table.mirrored if mirrored else self._table.plain
        fine, coarse = split_maps(np.asarray(source[rows], np.float32), *self.channels)
        scale = self.scale
        return (fine - scale.fine_mean) / scale.fine_spread, (coarse - scale.coarse_mean) / scale.coarse_spread

    def _measured(self, training: Rows) -> Scale:
        sums = [np.zeros((2, channels)) for channels in self.channels]
        seen = [0, 0]
        for start in range(0, len(training), BATCH):
            block = np.asarray(self._table.plain[training[start : start + BATCH]], np.float32)
            for index, part in enumerate(split_maps(block, *self.channels)):
                flat = part.reshape(-1, part.shape[2]).astype(np.float64)
                sums[index] += (flat.sum(axis=0), np.square(flat).sum(axis=0))
                seen[index] += len(flat)
        figures: list[Weights] = []
        for total, count in zip(sums, seen, strict=True):
            mean = total[0] / count
            spread = np.sqrt(np.maximum(total[1] / count - np.square(mean), 0.0)) + 1e-6
            figures += [mean.astype(np.float32), spread.astype(np.float32)]
        return Scale(*figures)


@dataclass(frozen=True)
class Limits:
    """`rounds` of 0 lets the trainer choose; `budget_s` of 0 is no bound on the seconds of learning."""

    rounds: int = 0
    budget_s: float = 0.0


FREELY = Limits()


def fit(
    table: FeatureTable,
    truth: Truth,
    training: Rows,
    validation: Rows,
    seed: int,
    limits: Limits = FREELY,
    kept: StandingFile | None = None,
) -> Fitted:
    """Learns from the training rows and chooses the round on the validation rows; same inputs, same head, also where a
    first attempt was broken off and `kept` has its standing."""
    with threadpool_limits(1 if len(training) < LARGE else None):
        maps = Maps(table, training)
        rounds = limits.rounds or (MAX_ROUNDS if len(validation) else ROUNDS_WITHOUT_VALIDATION)
        course = Course.begun(seed, maps.channels, truth.shape[1])
        standing = kept.load() if kept else None
        if standing is not None:
            course.restore(standing)
            say("The training goes on from its checkpoint", round=course.round)
        began = saved = time.monotonic()
        progress = Progress("Rounds of training", total=rounds)
        progress.step(course.round)
        while course.round < rounds and not (len(validation) and course.round - course.best_round >= PATIENCE):
            used_s = course.used_s + time.monotonic() - began
            if limits.budget_s and course.round and used_s >= limits.budget_s:
                break
            for rows, mirrored in shuffled(course.dice, training):
                course.learner.step(*maps.read(rows, mirrored), truth[rows])
            course.count(mean_loss(course.learner.head, maps, truth, validation) if len(validation) else None)
            progress.step()
            if kept and time.monotonic() - saved >= CHECKPOINT_EVERY_S:
                kept.save(course.standing(course.used_s + time.monotonic() - began))
                saved = time.monotonic()
    loss = None if course.best_loss is None else round(course.best_loss, 4)
    say("Training stops", rounds=course.round, best_round=course.best_round, validation_loss=loss)
    return Fitted(folded(course.best, maps.scale), course.best_round, course.best_loss)


def shuffled(dice: np.random.Generator, training: Rows) -> Iterator[tuple[Rows, bool]]:
    """The training rows and their mirror images in batches, in a new order; a batch is mirrored as a whole."""
    whole = [(dice.permutation(training), mirrored) for mirrored in (False, True)]
    parts = [(rows[start : start + BATCH], flag) for rows, flag in whole for start in range(0, len(rows), BATCH)]
    return (parts[index] for index in dice.permutation(len(parts)))


def new_head(dice: np.random.Generator, channels: list[int], classes: int) -> SpatialHead:
    """Small random weights; classes start as rather absent, which most are in most pictures."""
    fine, coarse = channels

    def drawn(inputs: int, outputs: int, fan: int) -> Weights:
        return dice.normal(0.0, fan**-0.5, (inputs, outputs)).astype(np.float32)

    return SpatialHead(
        fine=drawn(fine, HIDDEN, fine + coarse),
        coarse=drawn(coarse, HIDDEN, fine + coarse),
        hidden_bias=np.zeros(HIDDEN, np.float32),
        out=drawn(HIDDEN, classes, HIDDEN),
        out_bias=np.full(classes, -1.0, np.float32),
        whole=np.zeros((fine + coarse, classes), np.float32),
    )


def gradients(head: SpatialHead, fine: Array, coarse: Array, truth: Truth) -> tuple[dict[str, Array], Array]:
    """(gradient of the batch's mean loss by layer, the batch's scores before the sigmoid). The loss is summed over
    classes and averaged over pictures."""
    covering = above(fine.shape[1])
    hidden = np.maximum(fine @ head.fine + (coarse @ head.coarse)[:, covering] + head.hidden_bias, 0.0)
    pooled, share = strongest(hidden @ head.out + head.out_bias)
    average = np.concatenate([fine.mean(axis=1), coarse.mean(axis=1)], axis=1)
    scores: Array = pooled + average @ head.whole
    error: Array = (1.0 / (1.0 + np.exp(-np.clip(scores, -60, 60))) - truth) / len(truth)
    by_place: Array = share * error[:, None, :]
    by_hidden: Array = (by_place @ head.out.T) * (hidden > 0)
    width, side = by_hidden.shape[2], round(coarse.shape[1] ** 0.5)
    by_coarse: Array = by_hidden.reshape(-1, side, 2, side, 2, width).sum(axis=(2, 4))
    return {
        "fine": fine.reshape(-1, fine.shape[2]).T @ by_hidden.reshape(-1, width),
        "coarse": coarse.reshape(-1, coarse.shape[2]).T @ by_coarse.reshape(-1, width),
        "hidden_bias": by_hidden.sum(axis=(0, 1)),
        "out": hidden.reshape(-1, width).T @ by_place.reshape(-1, by_place.shape[2]),
        "out_bias": error.sum(axis=0),
        "whole": average.T @ error,
    }, scores


class Learner:
    """AdamW (https://arxiv.org/abs/1711.05101) on a head's layers."""

    def __init__(self, head: SpatialHead) -> None:
        self.head = head
        self.steps = 0
        self._first = {name: np.zeros_like(getattr(head, name)) for name in _LAYERS}
        self._second = {name: np.zeros_like(getattr(head, name)) for name in _LAYERS}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The head with its two momenta, to go on from."""
        parts = (("head", vars(self.head)), ("first", self._first), ("second", self._second))
        return {f"{part}.{name}": np.ascontiguousarray(values[name]) for part, values in parts for name in _LAYERS}

    def restore(self, tensors: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Takes up what `tensors` gave."""
        self.head = SpatialHead(**{name: tensors[f"head.{name}"] for name in _LAYERS})
        self._first = {name: np.array(tensors[f"first.{name}"]) for name in _LAYERS}
        self._second = {name: np.array(tensors[f"second.{name}"]) for name in _LAYERS}
        self.steps = steps

    def step(self, fine: Array, coarse: Array, truth: Truth) -> None:
        """One step down the gradient of a batch."""
        self.steps += 1
        found, _ = gradients(self.head, fine, coarse, truth)
        moved = {}
        for name, gradient in found.items():
            first, second = self._first[name], self._second[name]
            first += (1 - MOMENTUM) * (gradient - first)
            second += (1 - SECOND_MOMENTUM) * (np.square(gradient) - second)
            direction = first / (1 - MOMENTUM**self.steps)
            direction /= np.sqrt(second / (1 - SECOND_MOMENTUM**self.steps)) + EPSILON
            layer = getattr(self.head, name)
            decay = DECAY * layer if name in _DECAYED else 0.0
            moved[name] = (layer - LEARNING_RATE * (direction + decay)).astype(np.float32)
        self.head = replace(self.head, **moved)


@dataclass
class Course:
    """What changes while learning; kept in checkpoints. Without validation the last head is the best."""

    dice: np.random.Generator
    learner: Learner
    best: SpatialHead
    round: int = 0
    best_round: int = 0
    best_loss: float | None = None
    used_s: float = 0.0

    @classmethod
    def begun(cls, seed: int, channels: list[int], classes: int) -> "Course":
        """Nothing learned yet."""
        dice = np.random.default_rng(seed)
        learner = Learner(new_head(dice, channels, classes))
        return cls(dice, learner, learner.head)

    def count(self, loss: float | None) -> None:
        """Notes a round that ended with this validation loss (None without such a split)."""
        self.round += 1
        if loss is None or self.best_loss is None or loss < self.best_loss:
            self.best, self.best_round, self.best_loss = self.learner.head, self.round, loss

    def standing(self, used_s: float) -> Standing:
        """All of it, to go on from."""
        tensors = self.learner.tensors() | {f"best.{name}": getattr(self.best, name) for name in _LAYERS}
        figures = {"round": self.round, "best_round": self.best_round, "best_loss": self.best_loss, "used_s": used_s}
        return Standing(tensors, {**figures, "steps": self.learner.steps, "dice": self.dice.bit_generator.state})

    def restore(self, standing: Standing) -> None:
        """Takes up what an earlier attempt left."""
        tensors, figures = standing.tensors, standing.figures
        self.learner.restore(tensors, figures["steps"])
        self.best = SpatialHead(**{name: tensors[f"best.{name}"] for name in _LAYERS})
        self.dice.bit_generator.state = figures["dice"]
        self.round, self.best_round = figures["round"], figures["best_round"]
        self.best_loss, self.used_s = figures["best_loss"], figures["used_s"]


def mean_loss(head: SpatialHead, maps: Maps, truth: Truth, rows: Rows) -> float:
    """Mean binary cross-entropy a picture and class."""
    total = 0.0
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        _, scores = gradients(head, *maps.read(chosen), truth[chosen])
        exact = scores.astype(np.float64)
        total += float((np.logaddexp(0.0, exact) - truth[chosen] * exact).sum())
    return float(total / (len(rows) * truth.shape[1]))


def folded(head: SpatialHead, scale: Scale) -> SpatialHead:
    """The same head for maps as the network gives them: their scaling goes into the weights. A constant may move out of
    the log-sum-exp, so that of `whole` goes into the last bias."""
    fine: Weights = head.fine / scale.fine_spread[:, None]
    coarse: Weights = head.coarse / scale.coarse_spread[:, None]
    mean = np.concatenate([scale.fine_mean, scale.coarse_mean])
    whole = head.whole / np.concatenate([scale.fine_spread, scale.coarse_spread])[:, None]
    return replace(
        head,
        fine=fine,
        coarse=coarse,
        hidden_bias=head.hidden_bias - scale.fine_mean @ fine - scale.coarse_mean @ coarse,
        whole=whole,
        out_bias=head.out_bias - mean @ whole,
    )
