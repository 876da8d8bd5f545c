"""Classes out of AutoML's batch predictions of texts, so that what AutoML Text once predicted is evaluated by the same
rules. What AutoML would decide is what the 2022 service decided: the best answer of a radio question, however sure, and
every tick of a checklist above 0.2."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from jobkit.batch_files import column, confidence_of, text_of
from jobkit.class_names import ClassNames
from jobkit.dataset_report import class_entries
from jobkit.manifest import ManifestRow
from jobkit.text.predictions import TextPredictions

TICKED = 0.2

Said = tuple[Mapping[str, float] | None, Collection[str]]  # (class -> confidence, None without a prediction; decided)


def answers_of_prediction(prediction: Mapping[str, Any], names: ClassNames) -> tuple[dict[str, float], int]:
    """(class -> confidence, how many answers were of no use)."""
    answers: dict[str, float] = {}
    said, confidences = column(prediction, "displayNames"), column(prediction, "confidences")
    unusable = abs(len(said) - len(confidences))
    for name, confidence in zip(said, confidences, strict=False):
        sure = confidence_of(confidence)
        if isinstance(name, str) and sure is not None:
            known = names.find(text_of(name))
            answers[known] = max(sure, answers.get(known, 0.0))
        else:
            unusable += 1
    return answers, unusable


class AutomlClasses:
    """Gives each manifest row what AutoML said of it."""

    def __init__(self, predictions: TextPredictions, report: Mapping[str, Any], threshold: float | None = None) -> None:
        """`report` is dataset_report.json: the task and its classes. With a threshold, what reaches it is decided."""
        self._predictions, self._threshold = predictions, threshold
        self._names = ClassNames.of_entries(class_entries(report))
        self.single = report["task"] == "single"
        self.unusable = 0

    def of(self, rows: Sequence[ManifestRow]) -> Iterator[Said]:
        """(answers, decided classes) of each row."""
        for row in rows:
            prediction = self._predictions.of(row)
            if prediction is None:
                yield None, ()
                continue
            answers, unusable = answers_of_prediction(prediction, self._names)
            self.unusable += unusable
            yield answers, self._decided(answers)

    def _decided(self, answers: Mapping[str, float]) -> list[str]:
        least = self._threshold
        if self.single:
            best = max(answers, key=lambda name: (answers[name], name), default=None)
            return [best] if best is not None and answers[best] >= (least or 0.0) else []
        return [name for name, sure in answers.items() if (sure > TICKED if least is None else sure >= least)]

    def notes(self) -> dict[str, str]:
        """What was read, for the report."""
        counts = {**self._predictions.counts, "unusable answers": self.unusable}
        read = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
        return {"model": "AutoML text classification", "predictions read": read, **self._names.note()}
