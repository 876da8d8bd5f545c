"""Entities out of AutoML's batch predictions, so that what AutoML Text once predicted is evaluated by the same rules.

Both of its offsets are inclusive (the schema says so, and real outputs agree), unlike those of its training files.
"""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from jobkit.batch_files import column, confidence_of, number_of, text_of
from jobkit.class_names import ClassNames
from jobkit.manifest import ManifestRow
from jobkit.ner.spans import Entity
from jobkit.text.predictions import TextPredictions


def entities_of_prediction(prediction: Mapping[str, Any], length: int, names: ClassNames) -> tuple[list[Entity], int]:
    """(entities, how many were of no use: without numbers, or beyond the text of `length` characters)."""
    found: list[Entity] = []
    unusable = 0
    for name, start, end, confidence in zip_longest(
        column(prediction, "displayNames"),
        column(prediction, "textSegmentStartOffsets"),
        column(prediction, "textSegmentEndOffsets"),
        column(prediction, "confidences"),
    ):
        first, last = _offset(start), _offset(end)
        sure = 1.0 if confidence is None else confidence_of(confidence)
        if isinstance(name, str) and sure is not None and 0 <= first <= last < length:
            found.append(Entity(first, last + 1, names.find(text_of(name)), sure))
        else:
            unusable += 1
    return found, unusable


def _offset(value: object) -> int:
    """A whole number, also one written in digits; -1, which is no offset, for anything else."""
    number = number_of(value)
    return int(number) if number is not None and number.is_integer() else -1


class AutomlEntities:
    """Gives each manifest row the entities that AutoML found in it."""

    def __init__(self, predictions: TextPredictions, classes: Iterable[str]) -> None:
        self._predictions = predictions
        self._names = ClassNames(classes)
        self.unusable = 0

    def of(self, row: ManifestRow) -> list[Entity] | None:
        """The row's entities, perhaps none; None where AutoML has no prediction for it."""
        prediction = self._predictions.of(row)
        if prediction is None:
            return None
        found, unusable = entities_of_prediction(prediction, len(row.content), self._names)
        self.unusable += unusable
        return found

    def notes(self) -> dict[str, str]:
        """What was read, for the report."""
        counts = {**self._predictions.counts, "unusable entities": self.unusable}
        read = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
        return {"model": "AutoML text entity extraction", "predictions read": read, **self._names.note()}
