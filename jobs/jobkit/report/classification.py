"""report.html of a classification run, texts and images alike: results, rows to look at, data, and the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from jobkit.evaluation import DIGITS
from jobkit.report.choices import Choice, choice_look
from jobkit.report.data import data_section
from jobkit.report.gallery import Galleries, Pictures, gallery_sections
from jobkit.report.page import class_table, confusion_table, headline_table, page
from jobkit.report.run import run_section
from jobkit.report.sections import between, calibration_section, card, threshold_section
from jobkit.report.statistics import SEED, SplitStatistics, ThresholdCurve
from jobkit.splits import TEST, VALIDATION

_WHICH = {True: "the best answer of each row", False: "all answers of all classes together"}
_SURE = {True: "the best answer of each row", False: "every answer that the model gave"}


@dataclass(frozen=True)
class ClassificationReport:
    """Everything that the page shows.

    splits      metrics.json's part of that name
    statistics  split -> what evaluation adds beside counts
    dataset     dataset_report.json
    rows        split -> (labelled rows, rows without a label)
    told        what happened beside, in words
    parameters  the job's arguments
    comparison  the section on an earlier run; "" without one
    artifacts   the files that belong to the run
    pictures    small copies of the images; None for texts
    """

    title: str
    single: bool
    splits: Mapping[str, Mapping[str, Any]]
    statistics: Mapping[str, SplitStatistics]
    galleries: Galleries[Choice]
    dataset: Mapping[str, Any]
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    comparison: str = ""
    pictures: Pictures | None = None

    @property
    def shown(self) -> str:
        """The split that is looked at: the test split, or the first that has labelled rows; "" where none has."""
        return TEST if TEST in self.splits else next(iter(self.splits), "")


def statistics_json(report: ClassificationReport) -> dict[str, Any]:
    """What metrics.json tells of the shown split beside counts."""
    if not report.shown:
        return {}
    found = report.statistics[report.shown]
    best = found.curve.best()
    return {
        report.shown: {
            "intervals_95": {name: list(interval) for name, interval in found.intervals().items()},
            "bootstrap": {"resamples": found.resampling.resamples, "seed": SEED},
            "average_precision": found.curve.average_precision(),
            "best_threshold": {"threshold": best.threshold, "f1": best.f1} if best else None,
            "expected_calibration_error": found.calibration.expected_error(),
            "calibration": [
                {"answers": one.answers, "confidence": round(one.mean, DIGITS), "right": round(one.share, DIGITS)}
                for one in found.calibration.bins
                if one.answers
            ],
        }
    }


def classification_page(report: ClassificationReport, figures: Mapping[str, Any]) -> str:
    """The whole page; `figures` is what statistics_json gave."""
    shown = report.shown
    sections = [("In short", _headline(report, figures.get(shown, {})))]
    if shown:
        counts, found = report.splits[shown], report.statistics[shown]
        sections += [
            (f"Classes ({shown})", class_table(counts)),
            (f"What is taken for what ({shown})", confusion_table(counts.get("confusion", {}))),
            (
                f"Confidence threshold ({shown})",
                threshold_section(_WHICH[report.single], found.curve, counts, _validation(report)),
            ),
            (f"Calibration ({shown})", calibration_section(_SURE[report.single], found.calibration)),
            *gallery_sections(report.galleries, shown, choice_look(report.pictures, single=report.single)),
        ]
    sections += [
        ("Compared with an earlier run (test)", report.comparison),
        ("Data", data_section(report.dataset, report.rows)),
        ("Run", run_section(report.told, report.parameters, report.artifacts)),
    ]
    return page(report.title, sections)


def _headline(report: ClassificationReport, figures: Mapping[str, Any]) -> str:
    if not report.shown:
        return "<p>No labelled row was there to evaluate.</p>"
    counts, intervals = report.splits[report.shown], figures["intervals_95"]
    bootstrap = f"seeded bootstrap, {figures['bootstrap']['resamples']} resamples"
    baseline = ("majority baseline", float(counts["majority_baseline"]))
    accuracy = ("accuracy" if report.single else "rows wholly right", "accuracy", "Wilson")
    cards = [accuracy, ("macro F1", "macro_f1", bootstrap)]
    cards.insert(1 if report.single else 2, ("", "", ""))  # the baseline stands beside what it is to be compared with
    if not report.single:
        cards.insert(2, ("micro F1", "micro_f1", bootstrap))
    shown = []
    for name, key, method in cards:
        if not key:
            what = "accuracy" if report.single else "micro F1"
            shown.append(card(baseline[0], baseline[1], f"{what} of always giving the commonest answer"))
        else:
            shown.append(card(name, float(counts[key]), between(intervals.get(key), method)))
    rows = f"{counts['rows']} labelled rows"
    told = f"<p>Split: {escape(report.shown)}, {rows}. Intervals are 95 % confidence intervals.</p>"
    return f'{told}<ul class="cards">{"".join(shown)}</ul>{headline_table(report.splits)}'


def _validation(report: ClassificationReport) -> ThresholdCurve | None:
    found = report.statistics.get(VALIDATION)
    return found.curve if found and report.shown != VALIDATION else None
