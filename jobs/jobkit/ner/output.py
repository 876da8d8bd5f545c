"""What inference of named entities leaves behind: predictions, metrics, report, and rows in Labelbox."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import labelbox

from jobkit.conclusion import NOTHING, Findings, Surroundings, conclude
from jobkit.dataset_report import ClassEntry
from jobkit.ending import Result
from jobkit.evaluation import THRESHOLDS
from jobkit.labelbox_rows import MAX_METRICS_PER_ROW, Row, confusion_row, entity_row
from jobkit.manifest import ManifestRow
from jobkit.ner.baseline import KnownNames
from jobkit.ner.dataset import entities_of, unit_of_row
from jobkit.ner.evaluation import EntityEvaluation, Match
from jobkit.ner.report import MarkedText, entity_page, excerpt
from jobkit.ner.spans import Entity, Units, location_of
from jobkit.report.answer_page import AnswerReport
from jobkit.report.answers import Answer, AnswerStatistics, judged_answers
from jobkit.report.gallery import Galleries
from jobkit.report.outcomes import Outcomes
from jobkit.run_notes import unused_of
from jobkit.sinks import SinkChoice
from jobkit.splits import TEST
from jobkit.storage import Storage

METRIC_NAME = "entity_exact"
_SHOWN = ("micro_f1", "macro_f1", "overlap_micro_f1", "majority_baseline")


class EntityOutput:
    """Turns predictions into Labelbox's rows, and counts as they pass.

    Evaluation uses every prediction; `upload_min_confidence` only says which are worth uploading.
    """

    def __init__(
        self,
        classes: tuple[ClassEntry, ...],
        model_run_id: str,
        names: KnownNames,
        upload_min_confidence: float = 0.0,
    ) -> None:
        self._classes = {entry.display_name: entry for entry in classes}
        self._names = names
        self._minimum = upload_min_confidence
        self.model_run_id = model_run_id
        self.evaluation = EntityEvaluation(self._classes)
        self.baseline = EntityEvaluation(self._classes)
        self.statistics = defaultdict[str, AnswerStatistics](AnswerStatistics)
        self.galleries = Galleries[MarkedText]()
        self.outcomes = Outcomes()
        self.rows_by_split: dict[str, list[int]] = {}  # [labelled, without a label]
        self.counts = dict.fromkeys(
            ("rows", "predictions", "metric_rows", "metric_rows_cut", "below_upload_min_confidence", "unknown_class"), 0
        )

    def rows(self, row: ManifestRow, found: Sequence[Entity] | None) -> Iterator[Row]:
        """The Labelbox rows of one data row; `found` is None where there is no prediction, empty where the model found
        nothing, which is a result."""
        self.counts["rows"] += 1
        truth = entities_of(row)
        matched = self.evaluation.add(row.split, row.content, truth, found)
        self.rows_by_split.setdefault(row.split, [0, 0])[truth is None] += 1
        if truth is not None:
            self.baseline.add(row.split, row.content, truth, self._names.find(row.content))
        yield from self._prediction_rows(row, found or ())
        if matched is None:
            self.outcomes.add_unlabelled(row)
        else:
            self._count(row, matched)
            yield from self._metric_rows(row.data_row_id, matched)

    def _prediction_rows(self, row: ManifestRow, found: Sequence[Entity]) -> Iterator[Row]:
        """A class that left the ontology is counted, not fatal."""
        units, unit = Units(row.content), unit_of_row(row)
        for entity in found:
            entry = self._classes.get(entity.name)
            if entry is None:
                self.counts["unknown_class"] += 1
            elif entity.confidence < self._minimum:
                self.counts["below_upload_min_confidence"] += 1
            else:
                self.counts["predictions"] += 1
                start, end = location_of(entity.start, entity.end, units, unit)
                tool = entry.feature_schema_id
                yield entity_row(self.model_run_id, row.data_row_id, tool, start, end, entity.confidence)

    def _metric_rows(self, data_row_id: str, matched: Match) -> Iterator[Row]:
        """Confusion counts of each class that is in the row, labelled or found; the most frequent first."""
        present: dict[str, int] = {}
        for entity in (*matched.right, *matched.missed, *matched.wrong):
            if entity.name in self._classes:  # Labelbox refuses those of a class that left the ontology
                present[entity.name] = present.get(entity.name, 0) + 1
        order = sorted(present, key=lambda name: (-present[name], name))
        self.counts["metric_rows_cut"] += max(len(order) - MAX_METRICS_PER_ROW, 0)
        for name in order[:MAX_METRICS_PER_ROW]:
            self.counts["metric_rows"] += 1
            yield confusion_row(data_row_id, self._classes[name].name, _confusion(name, matched), METRIC_NAME)

    def _count(self, row: ManifestRow, matched: Match) -> None:
        """Notes the exact match for intervals, curves, lists of rows and later comparisons."""
        answers = [Answer(one.name, one.confidence, True) for one in matched.right]
        answers += [Answer(one.name, one.confidence, False) for one in matched.wrong]
        labelled: dict[str, int] = {}
        for one in (*matched.right, *matched.missed):
            labelled[one.name] = labelled.get(one.name, 0) + 1
        truth = sorted((one.start, one.end, one.name) for one in (*matched.right, *matched.missed))
        self.outcomes.add(row, truth, *self.statistics[row.split].add(answers, labelled))
        self.galleries.add(row, judged_answers(answers, len(truth)), lambda: excerpt(row.content, matched))

    def metrics(self) -> dict[str, Any]:
        """The figures of each split, with the baseline beside the model."""
        return {
            split: {**figures, "majority_baseline": self.baseline.headline(split)["micro_f1"]}
            for split, figures in self.evaluation.metrics().items()
        }


def _confusion(name: str, matched: Match) -> dict[str, list[int]]:
    """Confidence -> [TP, FP, TN, FN]; entities have no true negatives."""
    right = [entity.confidence for entity in matched.right if entity.name == name]
    wrong = [entity.confidence for entity in matched.wrong if entity.name == name]
    support = len(right) + sum(entity.name == name for entity in matched.missed)
    counts = {}
    for threshold in THRESHOLDS:
        tp = sum(confidence >= threshold for confidence in right)
        counts[str(threshold)] = [tp, sum(confidence >= threshold for confidence in wrong), 0, support - tp]
    return counts


def report_page(
    output: EntityOutput, splits: Mapping[str, Any], dataset: Mapping[str, Any], around: Surroundings
) -> tuple[Mapping[str, Any], str]:
    """metrics.json's `statistics`, and report.html. `splits` is what output.metrics() gave, `dataset` is
    dataset_report.json."""
    report = AnswerReport(
        which="entities",
        splits=splits,
        statistics=output.statistics,
        dataset=dataset,
        rows=output.rows_by_split,
        told=around.told,
        parameters=around.parameters,
        artifacts=around.artifacts,
        comparison=around.comparison,
    )
    return report.to_json(), entity_page(around.title, report, output.galleries)


def finish(
    output: EntityOutput,
    report: Mapping[str, Any],
    notes: Mapping[str, str],
    storage: Storage,
    folder: str,
    sink: str | SinkChoice,
    make_client: Callable[[], labelbox.Client],
    *,
    parameters: Mapping[str, str] = NOTHING,
) -> Result:
    """Concludes the job (jobkit.conclusion)."""
    splits = output.metrics()
    headline = output.evaluation.headline(TEST)
    if headline:
        headline["majority_baseline"] = splits[TEST]["majority_baseline"]

    def page(around: Surroundings) -> tuple[Mapping[str, Any], str]:
        return report_page(output, splits, report, around)

    beside = unused_of(report)
    found = Findings(output.model_run_id, output.counts, output.outcomes, splits, headline, _SHOWN, beside)
    return conclude(found, report, notes, storage, folder, sink, make_client, parameters=parameters, page=page)
