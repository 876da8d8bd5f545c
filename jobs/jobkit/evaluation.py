"""Counting how right predictions are: classification, streamed row by row, memory by classes and not by rows.

Rows without a prediction count (their true classes are missed); predictions on rows without a label are counted and
not judged. Thresholds are for the reader's choice of a confidence; the decision itself is the model's.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobkit.splits import SPLITS, TRAINING

THRESHOLDS = tuple(step / 10 for step in range(1, 10))
THRESHOLD_WORDS = tuple(map(str, THRESHOLDS))  # as metrics are keyed by them
DIGITS = 6


def ratio(part: float, whole: float) -> float:
    """part / whole, and 0 where there is nothing."""
    return round(part / whole, DIGITS) if whole else 0.0


def f1(tp: int, fp: int, fn: int) -> float:
    """The harmonic mean of precision and recall."""
    return ratio(2 * tp, 2 * tp + fp + fn)


def confusion_of(
    classes: Mapping[str, Mapping[str, Any]], taken: Mapping[tuple[str, str], int]
) -> dict[str, dict[str, int]]:
    """true class -> predicted class -> how many, of what is found in a row and not chosen for it; only what occurs.

    classes   class -> its `tp`, `fp` and `fn`
    taken     (true class, predicted class) -> how many are taken for one of another class

    The rest is "": predicted where nothing is labelled (true class ""), or missed (predicted class ""). So a class's
    own field is its tp, its line adds up to tp + fn and its column to tp + fp.
    """
    table = {name: {name: counts["tp"], "": counts["fn"]} for name, counts in classes.items()}
    nothing = {name: counts["fp"] for name, counts in classes.items()}
    for (true, said), count in taken.items():
        table[true][said] = count
        table[true][""] -= count
        nothing[said] -= count
    lines = {true: {said: count for said, count in sorted(line.items()) if count} for true, line in table.items()}
    lines[""] = {said: count for said, count in sorted(nothing.items()) if count}
    return {true: line for true, line in sorted(lines.items()) if line}


@dataclass(slots=True)
class _Counts:
    """Hits, false alarms and misses of each class; true negatives follow from the number of rows."""

    tp: Counter[str] = field(default_factory=Counter)
    fp: Counter[str] = field(default_factory=Counter)
    fn: Counter[str] = field(default_factory=Counter)

    def add(self, truth: Collection[str], predicted: Collection[str]) -> None:
        for name in truth:
            (self.tp if name in predicted else self.fn)[name] += 1
        for name in predicted:
            if name not in truth:
                self.fp[name] += 1

    def of(self, name: str, rows: int) -> tuple[int, int, int, int]:
        """(TP, FP, TN, FN): the order of Labelbox's confusion matrices."""
        tp, fp, fn = self.tp[name], self.fp[name], self.fn[name]
        return tp, fp, rows - tp - fp - fn, fn


@dataclass(slots=True)
class _Split:
    """Everything that is counted of one split."""

    rows: int = 0
    exact: int = 0
    without_prediction: int = 0
    without_label: int = 0
    decided: _Counts = field(default_factory=_Counts)
    at: tuple[_Counts, ...] = field(default_factory=lambda: tuple(_Counts() for _ in THRESHOLDS))
    truths: Counter[tuple[str, ...]] = field(default_factory=Counter)
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)


class ClassificationEvaluation:
    """Streams (truth, prediction) pairs and gives metrics.json's `splits` part.

    classes   the display names that the model can predict
    single    True: one class a row (radio); False: any number (checklist)
    """

    def __init__(self, classes: Iterable[str], *, single: bool) -> None:
        self._classes = tuple(classes)
        self._single = single
        self._splits = defaultdict(_Split, {split: _Split() for split in SPLITS})

    def add(
        self,
        split: str,
        truth: Collection[str] | None,
        answers: Mapping[str, float] | None,
        decided: Collection[str] | None = None,
    ) -> None:
        """Counts one row.

        truth     its classes; None = nobody labelled it
        answers   class -> confidence (0..1); None = the row has no prediction. Of a single choice, only its best counts
        decided   the classes that the model says; by default the best answer (single) or those of at least 0.5
        """
        counts = self._splits[split]
        if truth is None:
            counts.without_label += answers is not None
            return
        given = self._best(answers or {}) if self._single else (answers or {})
        if decided is None:
            decided = [name for name, confidence in given.items() if self._single or confidence >= 0.5]
        counts.rows += 1
        counts.without_prediction += answers is None
        counts.exact += set(truth) == set(decided)
        counts.truths[tuple(sorted(truth))] += 1
        counts.decided.add(truth, decided)
        for threshold, at in zip(THRESHOLDS, counts.at, strict=True):
            at.add(truth, [name for name, confidence in given.items() if confidence >= threshold])
        if self._single and truth:
            counts.confused[next(iter(truth)), next(iter(decided), "")] += 1

    @staticmethod
    def _best(answers: Mapping[str, float]) -> dict[str, float]:
        if not answers:
            return {}
        best = max(answers, key=lambda name: (answers[name], name))
        return {best: answers[best]}

    def metrics(self) -> dict[str, Any]:
        """The figures of every split that has a labelled row, plain JSON."""
        return {name: self._figures(name, split) for name, split in self._splits.items() if split.rows}

    def confusion(self, split: str) -> dict[str, dict[str, int]]:
        """true class -> predicted class -> rows ("" = no prediction); single choice only."""
        table: dict[str, dict[str, int]] = {}
        for (true, predicted), count in sorted(self._splits[split].confused.items()):
            table.setdefault(true, {})[predicted] = count
        return table

    def summary(self, split: str) -> dict[str, float]:
        """The headline figures of one split; empty when it has no labelled row."""
        counts = self._splits[split]
        return self._headline(counts) if counts.rows else {}

    def _figures(self, name: str, split: _Split) -> dict[str, Any]:
        return {
            **self._headline(split),
            "rows": split.rows,
            "rows_without_prediction": split.without_prediction,
            "predictions_without_label": split.without_label,
            "classes": {entry: self._class_figures(entry, split) for entry in self._all_classes(split)},
            **({"confusion": self.confusion(name)} if self._single else {}),
        }

    def _all_classes(self, split: _Split) -> list[str]:
        """The model's classes, and those that only labels or predictions know."""
        others = {name for truth in split.truths for name in truth} | set(split.decided.fp)
        return [*self._classes, *sorted(others.difference(self._classes))]

    def _headline(self, split: _Split) -> dict[str, float]:
        counts = split.decided
        tp, fp, fn = counts.tp.total(), counts.fp.total(), counts.fn.total()
        each = [
            (ratio(a, a + b), ratio(a, a + c), f1(a, b, c))
            for name in self._all_classes(split)
            for a, b, _, c in [counts.of(name, split.rows)]
            if a + b + c
        ]
        mean = [ratio(sum(column), len(each)) for column in zip(*each, strict=True)] if each else [0.0, 0.0, 0.0]
        return {
            "accuracy": ratio(split.exact, split.rows),
            "micro_precision": ratio(tp, tp + fp),
            "micro_recall": ratio(tp, tp + fn),
            "micro_f1": f1(tp, fp, fn),
            "macro_precision": mean[0],
            "macro_recall": mean[1],
            "macro_f1": mean[2],
            "majority_baseline": self._majority_baseline(split),
        }

    def _majority_baseline(self, split: _Split) -> float:
        """What always giving the training rows' most common answer would reach: accuracy, or micro-F1 for several."""
        source = self._splits[TRAINING] if self._splits[TRAINING].rows else split
        if self._single:
            return ratio(split.truths[source.truths.most_common(1)[0][0]], split.rows)
        ticks: Counter[str] = Counter()
        for truth, count in source.truths.items():
            ticks.update(dict.fromkeys(truth, count))
        if not ticks:
            return 0.0
        common = ticks.most_common(1)[0][0]
        tp = sum(count for truth, count in split.truths.items() if common in truth)
        wanted = sum(len(truth) * count for truth, count in split.truths.items())
        return f1(tp, split.rows - tp, wanted - tp)

    def _class_figures(self, name: str, split: _Split) -> dict[str, Any]:
        tp, fp, tn, fn = split.decided.of(name, split.rows)
        by_confidence = zip(THRESHOLDS, split.at, strict=True)
        return {
            "support": tp + fn,
            "tp": tp,
            "fp": fp,
            "tn": tn,
            "fn": fn,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "by_confidence": {str(threshold): list(at.of(name, split.rows)) for threshold, at in by_confidence},
        }
