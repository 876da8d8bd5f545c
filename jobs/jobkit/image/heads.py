"""The parts of image classifiers that learn, as they predict: numbers on top of a frozen network's features.

Each is a frozen dataclass of arrays with a `kind` and `confidences`; how they are learned is the training job's.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from jobkit.image.features import Features, Recipe

Confidences = NDArray[np.float64]
Weights = NDArray[np.float32]
SHARPNESS = 4.0  # of the log-sum-exp: 0 would be the average over the picture, infinity its strongest place
_TINY = 1e-6


class Head(Protocol):
    """Class confidences from features."""

    kind: ClassVar[str]
    single: ClassVar[bool]  # one class a picture: each row of confidences sums to 1

    def confidences(self, features: Features) -> Confidences:
        """(n, classes), each 0..1."""

    def fits(self, recipe: Recipe, classes: int) -> bool:
        """Whether the arrays have the shapes that go with the recipe and the number of classes."""


@dataclass(frozen=True)
class SoftmaxHead:
    """One class a picture. Scores = features @ weights + bias; softmax over them are the confidences."""

    kind: ClassVar[str] = "softmax"
    single: ClassVar[bool] = True
    weights: Weights
    bias: Weights

    def confidences(self, features: Features) -> Confidences:
        """(n, classes), each row sums to 1."""
        scores = features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Confidences = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def fits(self, recipe: Recipe, classes: int) -> bool:
        """Whether the arrays have the right shapes."""
        return recipe.pooled and self.weights.shape == (recipe.size, classes) and self.bias.shape == (classes,)


@dataclass(frozen=True)
class NeighbourHead:
    """One class a picture: what its nearest pictures of the training are, the nearer the more it counts.

    Nearness is measured after (features - center) @ metric, brought to length 1. `vectors` are the training's pictures
    there, `targets` their classes; `count` is [how many neighbours, number of classes].
    """

    kind: ClassVar[str] = "neighbours"
    single: ClassVar[bool] = True
    center: Weights
    metric: Weights
    vectors: Weights
    targets: NDArray[np.int64]
    count: NDArray[np.int64]

    def confidences(self, features: Features) -> Confidences:
        """(n, classes): each class's share of the neighbours' weight, which is 1 / distance; each row sums to 1."""
        neighbours, classes = min(int(self.count[0]), len(self.vectors)), int(self.count[1])
        moved = np.matmul(features - self.center, self.metric, dtype=np.float32)
        likeness = unit_vectors(moved) @ self.vectors.T
        nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :neighbours]
        distance = np.sqrt(
            np.maximum(2.0 - 2.0 * np.take_along_axis(likeness, nearest, axis=1), 0.0).astype(np.float64)
        )
        weight = 1.0 / (distance + _TINY)  # a picture that training has itself decides alone, and divides by no zero
        shares = np.zeros((len(features), classes))
        rows = np.arange(len(features))[:, None]
        np.add.at(shares, (rows, self.targets[nearest]), weight)
        result: Confidences = shares / np.maximum(shares.sum(axis=1, keepdims=True), _TINY)
        return result

    def fits(self, recipe: Recipe, classes: int) -> bool:
        """Whether the arrays have the right shapes."""
        return (
            recipe.pooled
            and self.vectors.ndim == 2
            and self.vectors.shape[1] == recipe.size
            and self.center.shape == (recipe.size,)
            and self.metric.shape == (recipe.size, recipe.size)
            and self.targets.shape == (len(self.vectors),)
            and self.count.shape == (2,)
            and int(self.count[1]) == classes
            and len(self.vectors) > 0
        )


@dataclass(frozen=True)
class SpatialHead:
    """Any number of classes a picture: two layers look at every place of the finer map, together with the place of the
    coarser map above it; log-sum-exp over the places says whether the class is anywhere (multiple-instance learning).
    A linear layer on the average over the picture is added for classes that are about the whole of it."""

    kind: ClassVar[str] = "spatial"
    single: ClassVar[bool] = False
    fine: Weights  # (channels, hidden)
    coarse: Weights  # (channels, hidden)
    hidden_bias: Weights
    out: Weights  # (hidden, classes)
    out_bias: Weights
    whole: Weights  # (channels of both, classes)

    def confidences(self, features: Features) -> Confidences:
        """(n, classes), each 0..1 for itself."""
        fine, coarse = split_maps(features, len(self.fine), len(self.coarse))
        hidden = np.maximum(fine @ self.fine + (coarse @ self.coarse)[:, above(fine.shape[1])] + self.hidden_bias, 0)
        somewhere, _ = strongest(hidden @ self.out + self.out_bias)
        scores = somewhere + np.concatenate([fine.mean(axis=1), coarse.mean(axis=1)], axis=1) @ self.whole
        result: Confidences = 1.0 / (1.0 + np.exp(-np.clip(scores.astype(np.float64), -60, 60)))
        return result

    def fits(self, recipe: Recipe, classes: int) -> bool:
        """Whether the arrays have the right shapes."""
        channels, hidden = [channels for channels, _ in recipe.map_shapes()], len(self.hidden_bias)
        return (
            not recipe.pooled
            and len(channels) == 2
            and self.fine.shape == (channels[0], hidden)
            and self.coarse.shape == (channels[1], hidden)
            and self.out.shape == (hidden, classes)
            and self.out_bias.shape == (classes,)
            and self.whole.shape == (sum(channels), classes)
        )


HEADS: dict[str, type[SoftmaxHead] | type[NeighbourHead] | type[SpatialHead]] = {
    head.kind: head for head in (SoftmaxHead, NeighbourHead, SpatialHead)
}


def arrays(head: Head) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """The head's arrays by name, as they are saved."""
    return {field.name: np.ascontiguousarray(getattr(head, field.name)) for field in fields(head)}  # type: ignore[arg-type]


def unit_vectors(features: Features) -> Weights:
    """The rows at length 1: only their direction says what is in a picture."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    result: Weights = (features / np.maximum(lengths, _TINY)).astype(np.float32)
    return result


def split_maps(features: Features, fine_channels: int, coarse_channels: int) -> tuple[Weights, Weights]:
    """The two maps of each row as (n, places, channels); the coarser has a quarter of the finer's places."""
    places = features.shape[1] // (4 * fine_channels + coarse_channels)
    fine, coarse = features[:, : 4 * places * fine_channels], features[:, 4 * places * fine_channels :]
    return (
        fine.reshape(len(features), fine_channels, 4 * places).transpose(0, 2, 1).astype(np.float32),
        coarse.reshape(len(features), coarse_channels, places).transpose(0, 2, 1).astype(np.float32),
    )


def above(fine_places: int) -> NDArray[np.int64]:
    """The number of the coarse place that covers each fine one; both maps are squares, read line by line."""
    side = round(fine_places**0.5)
    lines, columns = np.divmod(np.arange(fine_places), side)
    result: NDArray[np.int64] = (lines // 2) * (side // 2) + columns // 2
    return result


def strongest(scores: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """(log-mean-exp over the places of (n, places, classes), each place's share in it)."""
    sharp = SHARPNESS * scores
    highest = sharp.max(axis=1, keepdims=True)
    raised = np.exp(sharp - highest)
    pooled: NDArray[np.floating] = (highest[:, 0] + np.log(raised.mean(axis=1))) / SHARPNESS
    return pooled, raised / raised.sum(axis=1, keepdims=True)
