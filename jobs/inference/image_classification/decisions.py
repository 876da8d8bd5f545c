"""Which classes a model says of a picture, given its confidences."""

from collections.abc import Callable, Mapping, Sequence

from jobkit.dataset_report import ClassEntry
from jobkit.image.predictions import ImagePredictions
from jobkit.manifest import read_manifest
from jobkit.ontology import CHECKLIST
from jobkit.splits import VALIDATION
from jobkit.storage import Storage
from jobkit.thresholds import WITHOUT_VALIDATION, ThresholdChooser

Decision = Callable[[Mapping[str, float]], tuple[str, ...]]


def surest_from(threshold: float) -> Decision:
    """Says of a picture the model's surest class if it is as sure as `threshold`, else none."""

    def surest(answers: Mapping[str, float]) -> tuple[str, ...]:
        said = max(answers, key=lambda name: (answers[name], name), default=None)
        return () if said is None or answers[said] < threshold else (said,)

    return surest


def chosen_thresholds(
    storage: Storage, manifest: str, predictions: ImagePredictions, classes: Sequence[ClassEntry]
) -> dict[str, float]:
    """Class -> threshold, chosen on the labelled validation rows: whoever trained the model, its confidences say what
    they are worth there. Test rows are not looked at."""
    chooser = ThresholdChooser(entry.display_name for entry in classes)
    for row in read_manifest(storage, manifest):
        if row.labelled and row.split == VALIDATION:
            chooser.add(row.labels, predictions.answers(row.content) or {})
    return chooser.thresholds()


class ThresholdRule:
    """Every class from its threshold on, but of the classes of a radio question or a dropdown only the surest."""

    def __init__(
        self, classes: Sequence[ClassEntry], thresholds: Mapping[str, float], chosen: str = "chosen on validation"
    ) -> None:
        """`chosen` says in the report where the thresholds come from."""
        self._thresholds = thresholds
        self._chosen = chosen
        self._one_of = {entry.display_name: entry.question for entry in classes if entry.kind != CHECKLIST}

    def decided(self, answers: Mapping[str, float]) -> tuple[str, ...]:
        """The classes, the surest first."""
        said, answered = [], set()
        for name in sorted(answers, key=lambda name: (-answers[name], name)):
            if answers[name] < self._thresholds.get(name, WITHOUT_VALIDATION):
                continue
            question = self._one_of.get(name)
            if question is None or question not in answered:
                said.append(name)
                answered.add(question)
        return tuple(said)

    def note(self) -> dict[str, str]:
        """The thresholds for the report."""
        parts = (f"{name} {threshold:g}" for name, threshold in self._thresholds.items())
        return {f"thresholds ({self._chosen})": ", ".join(parts)}
