"""Figures of answers of which a row may have any number, entities and boxes alike: intervals, curve, calibration. Pure.

Streamed: memory by classes and not by rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobkit.evaluation import DIGITS
from jobkit.report.statistics import SEED, Calibration, Interval, Resampling, ThresholdCurve, wilson


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that the model says; `right` if it is labelled so."""

    name: str
    confidence: float
    right: bool


class AnswerStatistics:
    """All of these figures of one split. Answers below `least` count in the curve and the calibration only."""

    def __init__(self, least: float = 0.0) -> None:
        self._least = least
        self.rows = 0
        self.exact = 0
        self.curve = ThresholdCurve()
        self.calibration = Calibration()
        self.resampling = Resampling()

    def add(self, answers: Iterable[Answer], labelled: Mapping[str, int]) -> tuple[int, int, int]:
        """Notes one labelled row; `labelled` is how many of each class it has. Gives its (right, wrong, missed)."""
        counts = {name: [0, 0, number] for name, number in labelled.items() if number}
        self.curve.expect(sum(labelled.values()))
        for answer in answers:
            self.curve.note(answer.confidence, right=answer.right)
            self.calibration.add(answer.confidence, answer.right)
            if answer.confidence >= self._least:
                one = counts.setdefault(answer.name, [0, 0, 0])
                one[not answer.right] += 1
                one[2] -= answer.right
        self.resampling.note(counts)
        tp, fp, fn = (sum(column) for column in zip((0, 0, 0), *counts.values(), strict=True))
        self.rows += 1
        self.exact += not fp and not fn
        return tp, fp, fn

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals by the figure's name in metrics.json."""
        return {"row_accuracy": wilson(self.exact, self.rows), **self.resampling.intervals()}


def answers_json(found: AnswerStatistics) -> dict[str, object]:
    """metrics.json's part on one split."""
    best = found.curve.best()
    return {
        "intervals_95": {name: list(interval) for name, interval in found.intervals().items()},
        "bootstrap": {"resamples": found.resampling.resamples, "seed": SEED},
        "best_threshold": {"threshold": best.threshold, "f1": best.f1} if best else None,
        "expected_calibration_error": found.calibration.expected_error(),
        "calibration": [
            {"answers": one.answers, "confidence": round(one.mean, DIGITS), "right": round(one.share, DIGITS)}
            for one in found.calibration.bins
            if one.answers
        ],
    }
