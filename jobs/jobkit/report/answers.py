"""Figures of answers of which a row may have any number, entities and boxes alike: intervals, curve, calibration. Pure.

Streamed: memory by classes and not by rows.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobkit.evaluation import DIGITS
from jobkit.report.gallery import HITS, MISTAKES, SUSPECT_CONFIDENCE, SUSPECTS, UNCERTAIN, Judgement
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


def judged_answers(answers: Collection[Answer], labelled: int, least: float = 0.0) -> Judgement:
    """A row with so many labelled answers. The model's below `least` are no mistakes, but show that it wavers."""
    said = [one for one in answers if one.confidence >= least]
    wrong = [one.confidence for one in said if not one.right]
    mistakes = len(wrong) + labelled - (len(said) - len(wrong))
    return Judgement(
        mistake=(mistakes, max(wrong, default=0.0)) if mistakes else None,
        hit=bool(said) and not mistakes,
        sureness=min((abs(one.confidence - 0.5) for one in answers), default=None),
        dissent=max(wrong, default=None),
    )


def answer_rules(which: str) -> dict[str, str]:
    """Which rows a list shows; `which` is what is counted."""
    return {
        MISTAKES: f" with mistakes, those with most wrong and missed {which} first; of equal ones, that with the "
        "surest wrong one.",
        UNCERTAIN: f", those first where one of the {which} found has a confidence nearest to 0.5; right or wrong.",
        HITS: f" where {which} were found, all of them right and none missed, drawn by a hash of their data row id.",
        SUSPECTS: f" of any split where the model finds with at least {SUSPECT_CONFIDENCE:g} what nobody labelled so, "
        "the surest first. The model may be wrong, or the label.",
    }


def answers_json(found: AnswerStatistics) -> dict[str, Any]:
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
