"""Counting how right entities are, streamed row by row: exactly, and by overlap; by class and by confidence.

exact     same class, start and end; white space at an entity's ends does not count
overlap   same class and at least one character in common; each entity is matched at most once, sure ones first
Rows without a prediction count (their entities are missed); predictions on rows without a label are only counted.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobkit.evaluation import THRESHOLDS, confusion_of, f1, ratio
from jobkit.ner.spans import Entity
from jobkit.splits import SPLITS

EXACT = "exact"
OVERLAP = "overlap"


def trimmed(entity: Entity, text: str) -> Entity:
    """The entity without white space at its ends."""
    part = text[entity.start : entity.end]
    if not part.strip() or not (part[0].isspace() or part[-1].isspace()):
        return entity
    start = entity.start + len(part) - len(part.lstrip())
    return Entity(start, start + len(part.strip()), entity.name, entity.confidence)


@dataclass(frozen=True, slots=True)
class Match:
    """What a row's predictions are worth: those that are right, those that are not, and the true ones missed."""

    right: tuple[Entity, ...]
    wrong: tuple[Entity, ...]
    missed: tuple[Entity, ...]


def match(truth: Sequence[Entity], found: Sequence[Entity], way: str) -> Match:
    """Pairs found with true entities, the surest first, so that a higher confidence only takes pairs away."""
    left = {(one.start, one.end, one.name): one for one in truth}
    right: list[Entity] = []
    wrong: list[Entity] = []
    for entity in sorted(found, key=lambda one: -one.confidence):
        key: tuple[int, int, str] | None = (entity.start, entity.end, entity.name)
        if key not in left:
            same = (one for one in left.values() if one.name == entity.name)
            key = _longest_overlap(entity, same) if way == OVERLAP else None
        if key is None:
            wrong.append(entity)
        else:
            del left[key]
            right.append(entity)
    return Match(tuple(right), tuple(wrong), tuple(left.values()))


def mistaken(exact: Match) -> Iterator[tuple[str, str]]:
    """(true class, found class) of each entity that is taken for one of another class.

    What is exactly right stays so, and what is left is first paired within its class, as it counts by overlap: that is
    an entity with other ends, not another class. Of what is then left the surest found one is paired with the true one
    that it shares most characters with, each taken once.
    """
    if not exact.wrong or not exact.missed:
        return
    rest = match(exact.missed, exact.wrong, OVERLAP)
    left = {(one.start, one.end, one.name): one for one in rest.missed}
    for entity in rest.wrong:
        key = _longest_overlap(entity, left.values())
        if key:
            del left[key]
            yield key[2], entity.name


def _longest_overlap(entity: Entity, truth: Iterable[Entity]) -> tuple[int, int, str] | None:
    best, longest = None, 0
    for true in truth:
        common = min(true.end, entity.end) - max(true.start, entity.start)
        if common > longest:
            best, longest = (true.start, true.end, true.name), common
    return best


def _step(confidence: float) -> int:
    """How many of the thresholds a confidence reaches."""
    return bisect_right(THRESHOLDS, confidence)


@dataclass(slots=True)
class _Class:
    """Right and wrong predictions of one class by the number of thresholds they reach."""

    support: int = 0
    right: list[int] = field(default_factory=lambda: [0] * (len(THRESHOLDS) + 1))
    wrong: list[int] = field(default_factory=lambda: [0] * (len(THRESHOLDS) + 1))

    def of(self, least: int = 0) -> tuple[int, int, int]:
        """(TP, FP, FN) of predictions that reach `least` thresholds."""
        tp = sum(self.right[least:])
        return tp, sum(self.wrong[least:]), self.support - tp

    def figures(self) -> dict[str, Any]:
        """Plain JSON; a confusion matrix of entities has no true negatives."""
        tp, fp, fn = self.of()
        at = {str(threshold): self.of(index) for index, threshold in enumerate(THRESHOLDS, start=1)}
        return {
            "support": self.support,
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "f1": f1(tp, fp, fn),
            "by_confidence": {threshold: [tp, fp, 0, fn] for threshold, (tp, fp, fn) in at.items()},
        }


class _Way:
    """One way of counting over one split."""

    def __init__(self) -> None:
        self._classes = defaultdict[str, _Class](_Class)

    def add(self, truth: Sequence[Entity], matched: Match) -> None:
        for entity in truth:
            self._classes[entity.name].support += 1
        for entity in matched.right:
            self._classes[entity.name].right[_step(entity.confidence)] += 1
        for entity in matched.wrong:
            self._classes[entity.name].wrong[_step(entity.confidence)] += 1

    def headline(self) -> dict[str, float]:
        """Micro (over all entities) and macro (over classes that occur) figures."""
        each = [one.of() for one in self._classes.values()]
        tp, fp, fn = (sum(column) for column in zip(*each, strict=True)) if each else (0, 0, 0)
        count = len(each)
        return {
            "micro_precision": ratio(tp, tp + fp),
            "micro_recall": ratio(tp, tp + fn),
            "micro_f1": f1(tp, fp, fn),
            "macro_precision": ratio(sum(ratio(a, a + b) for a, b, _ in each), count),
            "macro_recall": ratio(sum(ratio(a, a + c) for a, _, c in each), count),
            "macro_f1": ratio(sum(f1(*one) for one in each), count),
        }

    def classes(self, known: Iterable[str]) -> dict[str, Any]:
        """The figures of the model's classes, then of those that only the labels know."""
        others = sorted(set(self._classes) - set(known))
        return {name: self._classes.get(name, _Class()).figures() for name in (*known, *others)}


class _Split:
    """Everything that is counted of one split."""

    def __init__(self) -> None:
        self.rows = 0
        self.right_rows = 0
        self.without_prediction = 0
        self.without_label = 0
        self.ways = {EXACT: _Way(), OVERLAP: _Way()}
        self.taken: Counter[tuple[str, str]] = Counter()


class EntityEvaluation:
    """Streams (truth, prediction) pairs and gives metrics.json's `splits` part."""

    def __init__(self, classes: Iterable[str]) -> None:
        self._classes = tuple(classes)
        self._splits = defaultdict(_Split, {split: _Split() for split in SPLITS})

    def add(
        self, split: str, text: str, truth: Sequence[Entity] | None, found: Sequence[Entity] | None
    ) -> Match | None:
        """Counts one row. truth None: nobody labelled it; found None: it has no prediction. Gives the exact match of
        a labelled row, of entities without white space at their ends."""
        counts = self._splits[split]
        if truth is None:
            counts.without_label += found is not None
            return None
        true = list(dict.fromkeys(trimmed(entity, text) for entity in truth))
        said = [trimmed(entity, text) for entity in found or ()]
        exact = match(true, said, EXACT)
        counts.rows += 1
        counts.without_prediction += found is None
        counts.right_rows += found is not None and not exact.wrong and not exact.missed
        counts.ways[EXACT].add(true, exact)
        overlap = exact if not exact.wrong or not exact.missed else match(true, said, OVERLAP)
        counts.ways[OVERLAP].add(true, overlap)
        counts.taken.update(mistaken(exact))
        return exact

    def headline(self, split: str) -> dict[str, float]:
        """The headline figures of one split; empty when it has no labelled row."""
        counts = self._splits[split]
        if not counts.rows:
            return {}
        overlap = counts.ways[OVERLAP].headline()
        return {
            **counts.ways[EXACT].headline(),
            **{f"{OVERLAP}_{name}": overlap[name] for name in ("micro_f1", "macro_f1")},
            "row_accuracy": ratio(counts.right_rows, counts.rows),
        }

    def metrics(self) -> dict[str, Any]:
        """The figures of every split that has a labelled row, plain JSON: exact ones, and `overlap` beside them."""
        return {name: self._figures(name, split) for name, split in self._splits.items() if split.rows}

    def _figures(self, name: str, split: _Split) -> dict[str, Any]:
        overlap, classes = split.ways[OVERLAP], split.ways[EXACT].classes(self._classes)
        return {
            **self.headline(name),
            "rows": split.rows,
            "rows_without_prediction": split.without_prediction,
            "predictions_without_label": split.without_label,
            "classes": classes,
            "confusion": confusion_of(classes, split.taken),
            OVERLAP: {**overlap.headline(), "classes": overlap.classes(self._classes)},
        }
