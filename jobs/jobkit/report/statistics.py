"""Figures of the report that counts alone do not give: intervals, curves over the threshold, calibration. Pure.

Streamed: memory by classes and not by rows. No library, so that every inference job can carry it.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from jobkit.evaluation import DIGITS, f1, ratio

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % point
GRID = tuple(step / 1000 for step in range(1001))
BINS = 10
GROUPS = 200
SEED = 20_201
MAX_RESAMPLES, MIN_RESAMPLES = 1000, 200
MAX_WORK = 10_000_000  # additions; with very many classes fewer resamples are drawn

Interval = tuple[float, float]


def wilson(hits: int, rows: int) -> Interval:
    """The 95 % Wilson score interval of a share. https://doi.org/10.1080/01621459.1927.10502953"""
    if not rows:
        return (0.0, 1.0)
    share, squared = hits / rows, Z_95**2
    centre = (share + squared / (2 * rows)) / (1 + squared / rows)
    half = Z_95 * (share * (1 - share) / rows + squared / (4 * rows**2)) ** 0.5 / (1 + squared / rows)
    return (round(max(0.0, centre - half), DIGITS), round(min(1.0, centre + half), DIGITS))


@dataclass(frozen=True, slots=True)
class Point:
    """What counts if only answers of at least `threshold` do, over all classes."""

    threshold: float
    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return f1(self.tp, self.fp, self.fn)


class ThresholdCurve:
    """Right and wrong answers by confidence, in steps of 0.001: at each step the figures are exact."""

    def __init__(self) -> None:
        self._right = [0] * len(GRID)
        self._wrong = [0] * len(GRID)
        self._labelled = 0

    def add(self, truth: Collection[str], given: Mapping[str, float]) -> None:
        """Notes one labelled row."""
        self.expect(len(truth))
        for name, confidence in given.items():
            self.note(confidence, right=name in truth)

    def expect(self, labelled: int) -> None:
        """Notes so many labelled answers, found or not."""
        self._labelled += labelled

    def note(self, confidence: float, *, right: bool) -> None:
        """Notes one answer of the model."""
        side = self._right if right else self._wrong
        side[max(bisect_right(GRID, confidence) - 1, 0)] += 1

    def points(self) -> list[Point]:
        """From the highest threshold that has an answer down to 0; steps where nothing changes are left out."""
        found, tp, fp = [], 0, 0
        for index in reversed(range(len(GRID))):
            if self._right[index] or self._wrong[index]:
                tp, fp = tp + self._right[index], fp + self._wrong[index]
                found.append(Point(GRID[index], tp, fp, self._labelled - tp))
        return found

    def at(self, threshold: float) -> Point:
        """The figures at one step of the grid."""
        start = bisect_left(GRID, threshold)
        tp, fp = sum(self._right[start:]), sum(self._wrong[start:])
        return Point(threshold, tp, fp, self._labelled - tp)

    def best(self) -> Point | None:
        """Where F1 is best; of equal thresholds the nearest to 0.5. None without an answer."""
        found: Point | None = None
        points = self.points()
        for point, lower in zip_longest(points, points[1:]):
            least = GRID[bisect_right(GRID, lower.threshold)] if lower else GRID[0]  # as good as the point's own
            same = replace(point, threshold=min(max(0.5, least), point.threshold))
            if found is None or (same.f1, -abs(same.threshold - 0.5)) > (found.f1, -abs(found.threshold - 0.5)):
                found = same
        return found

    def average_precision(self) -> float:
        """Precision weighted by each step's gain in recall (scikit-learn's average_precision_score)."""
        total, before = 0.0, 0
        for point in self.points():
            total += (point.tp - before) * point.tp / (point.tp + point.fp)
            before = point.tp
        return ratio(total, self._labelled)


@dataclass(slots=True)
class Bin:
    """Answers of about the same confidence."""

    answers: int = 0
    right: int = 0
    confidence: float = 0.0  # sum

    @property
    def mean(self) -> float:
        return self.confidence / self.answers

    @property
    def share(self) -> float:
        return self.right / self.answers


@dataclass(slots=True)
class Calibration:
    """Whether answers of 0.8 are right eight times in ten: ten bins of equal width, as scikit-learn's
    calibration_curve."""

    bins: tuple[Bin, ...] = field(default_factory=lambda: tuple(Bin() for _ in range(BINS)))

    def add(self, confidence: float, right: bool) -> None:
        """Notes one answer."""
        one = self.bins[min(bisect_left(_EDGES, confidence), BINS - 1)]
        one.answers += 1
        one.right += right
        one.confidence += confidence

    def expected_error(self) -> float:
        """The expected calibration error: the mean gap between confidence and share of right answers, by answers."""
        gap = sum(abs(one.right - one.confidence) for one in self.bins)
        return ratio(gap, sum(one.answers for one in self.bins))


_EDGES = tuple(step / BINS for step in range(1, BINS))


class Resampling:
    """Seeded bootstrap of F1. Rows are dealt to 200 groups in turn, and groups are drawn with replacement: up to 200
    rows this is the ordinary bootstrap, and with more rows memory stays flat."""

    def __init__(self) -> None:
        self._groups: list[dict[str, list[int]]] = []
        self._rows = 0

    def add(self, truth: Collection[str], decided: Collection[str]) -> None:
        """Notes one labelled row."""
        self.note(
            {
                name: [name in truth and name in decided, name not in truth, name not in decided]
                for name in {*truth, *decided}
            }
        )

    def note(self, counts: Mapping[str, Sequence[int]]) -> None:
        """Notes one labelled row by each class's right, wrong and missed answers."""
        if len(self._groups) < GROUPS:
            self._groups.append({})
        group = self._groups[self._rows % GROUPS]
        self._rows += 1
        for name, one in counts.items():
            sums = group.setdefault(name, [0, 0, 0])
            for kind, count in enumerate(one):
                sums[kind] += count

    @property
    def resamples(self) -> int:
        """How many are drawn."""
        work = sum(len(group) for group in self._groups)
        return max(MIN_RESAMPLES, min(MAX_RESAMPLES, MAX_WORK // max(work, 1)))

    def intervals(self) -> dict[str, Interval]:
        """95 % percentile intervals of macro_f1 and micro_f1; empty with fewer than two rows. The same rows in the same
        order give the same intervals."""
        if self._rows < 2:
            return {}
        drawn = list(self._draws())
        return {name: _middle([one[index] for one in drawn]) for index, name in enumerate(("macro_f1", "micro_f1"))}

    def _draws(self) -> Iterator[Interval]:
        numbers = {name: index for index, name in enumerate({name: 0 for group in self._groups for name in group})}
        groups = [[(numbers[name], *counts) for name, counts in group.items()] for group in self._groups]
        dice = random.Random(SEED)  # noqa: S311  # a bootstrap, no secret
        for _ in range(self.resamples):
            tp, fp, fn = [0] * len(numbers), [0] * len(numbers), [0] * len(numbers)
            for group in dice.choices(groups, k=len(groups)):
                for index, hits, alarms, misses in group:
                    tp[index] += hits
                    fp[index] += alarms
                    fn[index] += misses
            each = [f1(*counts) for counts in zip(tp, fp, fn, strict=True) if any(counts)]
            yield ratio(sum(each), len(each)), f1(sum(tp), sum(fp), sum(fn))


def _middle(values: list[float]) -> Interval:
    """From the 2.5th to the 97.5th percentile."""
    ordered = sorted(values)
    cut = int(len(ordered) * 0.025)
    return (ordered[cut], ordered[-1 - cut])


class SplitStatistics:
    """All of these figures of one split."""

    def __init__(self, *, single: bool) -> None:
        self._single = single
        self.rows = 0
        self.exact = 0
        self.curve = ThresholdCurve()
        self.calibration = Calibration()
        self.resampling = Resampling()

    def add(self, truth: Collection[str], answers: Mapping[str, float], decided: Collection[str]) -> None:
        """Notes one labelled row. Of a single choice only the best answer counts, as in the evaluation."""
        self.rows += 1
        self.exact += set(truth) == set(decided)
        given = answers
        if self._single and answers:
            best = max(answers, key=lambda name: (answers[name], name))
            given = {best: answers[best]}
        self.curve.add(truth, given)
        for name, confidence in given.items():
            self.calibration.add(confidence, name in truth)
        self.resampling.add(truth, decided)

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals by the figure's name in metrics.json."""
        return {"accuracy": wilson(self.exact, self.rows), **self.resampling.intervals()}
