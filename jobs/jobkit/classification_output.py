"""What inference of a classification question leaves behind: predictions, metrics, report, and rows in Labelbox.

Used by text and image jobs alike: they bring (row, answers, decision) triples, this module does the rest.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import labelbox

from jobkit.conclusion import NOTHING, Findings, Surroundings, conclude
from jobkit.dataset_report import ClassEntry
from jobkit.ending import Result
from jobkit.evaluation import ClassificationEvaluation
from jobkit.labelbox_rows import Row, checklist_row, classification_metric_rows, radio_row
from jobkit.manifest import ManifestRow
from jobkit.ontology import CHECKLIST
from jobkit.report.choices import Choice, choice, judged_choice
from jobkit.report.classification import ClassificationReport, classification_page, statistics_json
from jobkit.report.gallery import Galleries, Pictures
from jobkit.report.outcomes import Outcomes
from jobkit.report.statistics import SplitStatistics
from jobkit.sinks import SinkChoice
from jobkit.splits import TEST
from jobkit.storage import Storage

_SHOWN = ("accuracy", "macro_f1", "micro_f1", "majority_baseline")


class ClassificationOutput:
    """Turns predictions into Labelbox's rows, and counts as they pass.

    Evaluation uses every prediction; `upload_min_confidence` only says which are worth uploading.
    """

    def __init__(
        self, classes: tuple[ClassEntry, ...], model_run_id: str, *, single: bool, upload_min_confidence: float = 0.0
    ) -> None:
        self._classes = {entry.display_name: entry for entry in classes}
        self._features = {entry.display_name: entry.name for entry in classes}
        self.model_run_id = model_run_id
        self.single = single
        self._minimum = upload_min_confidence
        self.evaluation = ClassificationEvaluation(self._classes, single=single)
        self.statistics = defaultdict[str, SplitStatistics](lambda: SplitStatistics(single=single))
        self.galleries = Galleries[Choice]()
        self.outcomes = Outcomes()
        self.rows_by_split: dict[str, list[int]] = {}  # [labelled, without a label]
        self.counts = dict.fromkeys(
            ("rows", "predictions", "metric_rows", "metric_rows_cut", "below_upload_min_confidence", "unknown_class"), 0
        )

    def rows(self, row: ManifestRow, answers: Mapping[str, float] | None, decided: Collection[str]) -> Iterator[Row]:
        """The Labelbox rows of one data row. `answers` is class -> confidence, None where there is no prediction;
        `decided` are the classes that the model says."""
        self.counts["rows"] += 1
        truth = row.labels if row.labelled else None
        self.evaluation.add(row.split, truth, answers, decided)
        self.rows_by_split.setdefault(row.split, [0, 0])[truth is None] += 1
        if answers is not None:
            yield from self._prediction_rows(row.data_row_id, {name: answers[name] for name in decided})
        if truth is not None:
            yield from self._metric_rows(row.data_row_id, truth, answers or {})
            given = answers or {}
            self.statistics[row.split].add(truth, given, decided)
            judged = judged_choice(truth, given, decided, single=self.single)
            self.galleries.add(row, judged, lambda: choice(row.content, truth, given, decided))
            right = len(set(truth) & set(decided))
            self.outcomes.add(row, sorted(truth), right, len(set(decided)) - right, len(set(truth)) - right)
        else:
            self.outcomes.add_unlabelled(row)

    def _metric_rows(self, data_row_id: str, truth: Collection[str], answers: Mapping[str, float]) -> Sequence[Row]:
        """Confusion counts of the row's classes; Labelbox refuses those of a class that left the ontology."""
        known = self._features
        if not (known.keys() >= answers.keys() and all(name in known for name in truth)):
            truth = [name for name in truth if name in known]
            answers = {name: confidence for name, confidence in answers.items() if name in known}
        rows, cut = classification_metric_rows(data_row_id, truth, answers, known)
        self.counts["metric_rows"] += len(rows)
        self.counts["metric_rows_cut"] += cut
        return rows

    def _prediction_rows(self, data_row_id: str, said: Mapping[str, float]) -> Iterator[Row]:
        """One row a question; a class that left the ontology is counted, not fatal."""
        by_question: dict[str, dict[str, float]] = {}
        kinds: dict[str, str] = {}
        for name, confidence in said.items():
            entry = self._classes.get(name)
            if entry is None:
                self.counts["unknown_class"] += 1
            elif confidence < self._minimum:
                self.counts["below_upload_min_confidence"] += 1
            else:
                by_question.setdefault(entry.question, {})[entry.feature_schema_id] = confidence
                kinds[entry.question] = entry.kind
        for question, options in by_question.items():
            self.counts["predictions"] += 1
            if kinds[question] == CHECKLIST:
                yield checklist_row(self.model_run_id, data_row_id, question, options)
            else:
                best = max(options, key=lambda option: (options[option], option))  # a radio takes one answer
                yield radio_row(self.model_run_id, data_row_id, question, best, options[best])


def finish(
    output: ClassificationOutput,
    report: Mapping[str, Any],
    notes: Mapping[str, str],
    storage: Storage,
    folder: str,
    sink: str | SinkChoice,
    make_client: Callable[[], labelbox.Client],
    *,
    parameters: Mapping[str, str] = NOTHING,
    pictures: Pictures | None = None,
) -> Result:
    """Concludes the job (jobkit.conclusion). `pictures` are for rows whose contents are images' uris (None: they are
    texts)."""
    splits, headline = output.evaluation.metrics(), output.evaluation.summary(TEST)

    def page(around: Surroundings) -> tuple[Mapping[str, Any], str]:
        shown = ClassificationReport(
            title=around.title,
            single=output.single,
            splits=splits,
            statistics=output.statistics,
            galleries=output.galleries,
            dataset=report,
            rows=output.rows_by_split,
            told=around.told,
            parameters=around.parameters,
            artifacts=around.artifacts,
            comparison=around.comparison,
            pictures=pictures,
        )
        statistics = statistics_json(shown)
        return statistics, classification_page(shown, statistics)

    found = Findings(output.model_run_id, output.counts, output.outcomes, splits, headline, _SHOWN)
    return conclude(found, report, notes, storage, folder, sink, make_client, parameters=parameters, page=page)
