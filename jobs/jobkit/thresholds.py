"""From which confidence on a class counts as said, where a row may have several: chosen on the validation split. Pure.

Streamed: memory by classes and not by rows. The same rule wherever a threshold is chosen, so that the one saved with a
model is the one that its evaluation uses.
"""

from bisect import bisect_right
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from jobkit.arguments import Arguments

GRID = tuple(step / 20 for step in range(2, 19))  # the confidences that are tried: 0.1 .. 0.9
COMMON_WEIGHT = 20  # validation examples of a class that the common threshold is worth
WITHOUT_VALIDATION = 0.5


AUTO = "auto"


def threshold_of(arguments: Arguments) -> float | None:
    """The job's argument --threshold: a number from 0 to 1 that holds for all classes; None for auto."""
    return None if arguments.text("threshold") == AUTO else arguments.share("threshold")


Class = TypeVar("Class", bound=Hashable)  # a class is known by its name or its number


class ThresholdChooser(Generic[Class]):
    """Takes validation rows one at a time; gives the threshold with the best F1 of each class, drawn towards the best
    common one while the class has few examples (it would else fit its luck)."""

    def __init__(self, classes: Iterable[Class]) -> None:
        # Of each class, rows by how many of the grid's confidences they reach: labelled ones, others, all labelled.
        self._reached = {name: ([0] * (len(GRID) + 1), [0] * (len(GRID) + 1)) for name in classes}
        self._labelled = dict.fromkeys(self._reached, 0)
        self.rows = 0

    def add(self, truth: Collection[Class], answers: Mapping[Class, float]) -> None:
        """Notes a labelled row with its classes and the model's confidences."""
        self.rows += 1
        for name in truth:
            if name in self._labelled:
                self._labelled[name] += 1
        for name, confidence in answers.items():
            if name in self._reached:
                self._reached[name][name not in truth][bisect_right(GRID, confidence)] += 1

    def thresholds(self) -> dict[Class, float]:
        """Class -> threshold; WITHOUT_VALIDATION for all where no row was seen."""
        if not self.rows:
            return dict.fromkeys(self._reached, WITHOUT_VALIDATION)
        everyone = [
            [sum(column) for column in zip(*side, strict=True)] for side in zip(*self._reached.values(), strict=True)
        ]
        common = _best(everyone[0], everyone[1], sum(self._labelled.values())) if everyone else WITHOUT_VALIDATION
        found = {}
        for name, (right, wrong) in self._reached.items():
            examples = self._labelled[name]
            own = _best(right, wrong, examples) if examples else common
            found[name] = round((own * examples + common * COMMON_WEIGHT) / (examples + COMMON_WEIGHT), 4)
        return found


def _best(right: list[int], wrong: list[int], labelled: int) -> float:
    """The grid's confidence with the best F1; of equal ones the nearest to 0.5."""

    def quality(index: int) -> tuple[float, float]:
        hits, alarms = sum(right[index + 1 :]), sum(wrong[index + 1 :])
        return (2 * hits / max(hits + alarms + labelled, 1), -abs(GRID[index] - 0.5))

    return GRID[max(range(len(GRID)), key=quality)]
