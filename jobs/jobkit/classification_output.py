"""What inference of a classification question leaves behind: predictions, metrics, report, and rows in Labelbox.

Used by text and image jobs alike: they bring (row, answers, decision) triples, this module does the rest.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import labelbox

from jobkit.dataset_report import ClassEntry
from jobkit.ending import Result
from jobkit.evaluation import ClassificationEvaluation
from jobkit.labelbox_rows import Row, checklist_row, classification_metric_rows, radio_row
from jobkit.manifest import ManifestRow
from jobkit.ontology import CHECKLIST
from jobkit.report.classification import ClassificationReport, Picture, classification_page, statistics_json
from jobkit.report.comparison import compared
from jobkit.report.earlier_runs import PREVIOUS, keep, kept_runs
from jobkit.report.gallery import Galleries
from jobkit.report.outcomes import Outcomes
from jobkit.report.statistics import SplitStatistics
from jobkit.run_description import RunDescription
from jobkit.sinks import SinkChoice, bring
from jobkit.splits import TEST
from jobkit.storage import Storage

VERSION = 1
NOTHING: Mapping[str, str] = MappingProxyType({})


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
        self.statistics: dict[str, SplitStatistics] = {}
        self.galleries = Galleries(single=single)
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
            metric_rows, cut = classification_metric_rows(row.data_row_id, truth, answers or {}, self._features)
            self.counts["metric_rows"] += len(metric_rows)
            self.counts["metric_rows_cut"] += cut
            yield from metric_rows
            statistics = self.statistics.setdefault(row.split, SplitStatistics(single=self.single))
            statistics.add(truth, answers or {}, decided)
            self.galleries.add(row, truth, answers, decided)
            right = len(set(truth) & set(decided))
            self.outcomes.add(row, sorted(truth), right, len(set(decided)) - right, len(set(truth)) - right)
        else:
            self.outcomes.add_unlabelled(row)

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
    picture: Picture | None = None,
) -> Result:
    """Uploads predictions.ndjson (already in `folder`), writes metrics.json and report.html, and gives the result.

    `parameters` are the job's arguments, for the report; `picture` gives the thumbnail of a row whose content is an
    image's uri (None: contents are texts).

    Safe to repeat: files are written over by themselves, and an upload of this folder's name is found again.
    """
    rows = (json.loads(line) for line in storage.read_lines(f"{folder}/predictions.ndjson"))
    scope = output.model_run_id
    outcome = bring(sink, rows, scope, folder.rsplit("/", 1)[-1], make_client)
    splits = output.evaluation.metrics()
    counts = {**output.counts, "uploaded": outcome.sent, "refused": outcome.refused}
    outputs = {name: f"{folder}/{file}" for name, file in _FILES.items()}
    kept = kept_runs(storage, folder, RunDescription.from_environment())
    comparison = compared(kept, parameters.get("compare-with", PREVIOUS), output.outcomes)
    shown = ClassificationReport(
        title=f"Model run {scope}",
        single=output.single,
        splits=splits,
        statistics=output.statistics,
        galleries=output.galleries,
        dataset=report,
        rows=output.rows_by_split,
        told={**notes, "upload": outcome.sentence},
        parameters=parameters,
        artifacts=outputs,
        comparison=comparison.section,
        picture=picture,
    )
    statistics = statistics_json(shown)
    metrics = {
        "version": VERSION,
        "splits": splits,
        "statistics": statistics,
        "comparison": comparison.figures,
        "counts": counts,
        "upload": {"state": outcome.state, "sentence": outcome.sentence, "reasons": list(outcome.reasons)},
        "classes": report["classes"],
        "notes": dict(notes),
    }
    storage.write_text(outputs["metrics"], json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
    page = classification_page(shown, statistics)
    storage.write_text(outputs["report"], page, "text/html; charset=utf-8")
    keep(kept, output.outcomes)
    headline = output.evaluation.summary(TEST)
    return Result(
        outputs=outputs,
        counts=counts,
        metrics=headline,
        metadata={
            "upload": outcome.sentence,
            **{f"test_{name}": f"{value:.3f}" for name, value in headline.items() if name in _SHOWN},
        },
    )


_FILES = {"predictions": "predictions.ndjson", "metrics": "metrics.json", "report": "report.html"}
_SHOWN = ("accuracy", "macro_f1", "micro_f1", "majority_baseline")
