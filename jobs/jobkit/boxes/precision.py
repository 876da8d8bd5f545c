"""Average precision as COCO counts it, and how far it would move with other pictures (a bootstrap). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobkit.boxes.geometry import Flags, Floats
from jobkit.evaluation import DIGITS
from jobkit.report.statistics import GROUPS, MAX_RESAMPLES, MIN_RESAMPLES, SEED, Interval

RECALLS = np.linspace(0.0, 1.0, 101)
MAX_WORK = 300_000_000  # additions; with very many boxes fewer resamples are drawn
Whole = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Ranked:
    """The predicted boxes of one class that count, the surest first.

    hits      (overlaps, boxes): at which overlaps a box is right
    says      (overlaps, boxes): at which it counts at all
    group     the group of pictures that a box is of
    labelled  labelled boxes by group
    """

    hits: Flags
    says: Flags
    group: Whole
    labelled: Whole

    def average_precision(self, weights: Whole) -> Floats | None:
        """By overlap, if each group counted so often; None where nothing is labelled then."""
        labelled = float(weights @ self.labelled[: len(weights)])
        if not labelled:
            return None
        each = weights[self.group]
        pairs = zip(self.hits, self.says, strict=True)
        return np.array([average_precision(each * hits, each * says, labelled) for hits, says in pairs])


def average_precision(right: Whole | Flags, counted: Whole | Flags, labelled: float) -> float:
    """The mean over 101 recalls of the best precision at that recall or a higher one. Of each box, the surest first:
    how often it is right, and how often it counts."""
    if not len(right):
        return 0.0
    tp, said = np.cumsum(right, dtype=np.float64), np.cumsum(counted, dtype=np.float64)
    precision = np.maximum.accumulate((tp / (said + np.spacing(1)))[::-1])[::-1]
    at = np.searchsorted(tp / labelled, RECALLS, side="left")
    return float(np.where(at < len(tp), precision[np.minimum(at, len(tp) - 1)], 0.0).mean())


def precision_intervals(classes: Iterable[Ranked], images: int) -> dict[str, Interval]:
    """95 % percentile intervals of map_50 and map_50_95; empty with fewer than two pictures. Pictures are drawn one by
    one up to GROUPS of them, else as groups. The same boxes in the same order give the same intervals."""
    ranked = [*classes]
    if images < 2 or not ranked:
        return {}
    groups = min(images, GROUPS)
    work = sum(one.hits.size for one in ranked) + len(RECALLS) * len(ranked)
    count = max(MIN_RESAMPLES, min(MAX_RESAMPLES, MAX_WORK // work))
    drawn: list[tuple[float, float]] = []
    for weights in np.random.default_rng(SEED).multinomial(groups, np.full(groups, 1 / groups), size=count):
        each = [found for one in ranked if (found := one.average_precision(weights)) is not None]
        if each:
            means = np.mean(each, axis=0)
            drawn.append((float(means[0]), float(means.mean())))
    bounds = np.percentile(np.array(drawn), [2.5, 97.5], axis=0).round(DIGITS) if drawn else np.empty((2, 0))
    return {name: (float(low), float(high)) for name, low, high in zip(("map_50", "map_50_95"), *bounds, strict=False)}
