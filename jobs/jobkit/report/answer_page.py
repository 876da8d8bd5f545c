"""What the reports of entities and boxes share: figures with intervals, curves, calibration, comparison, data, run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar

from jobkit.report.answers import AnswerStatistics, answers_json
from jobkit.report.data import data_section
from jobkit.report.gallery import Galleries, Look, gallery_sections
from jobkit.report.run import run_section
from jobkit.report.sections import between, calibration_section, card, threshold_section
from jobkit.report.statistics import Interval
from jobkit.splits import TEST, VALIDATION

Shown = TypeVar("Shown")


def shown_split(splits: Mapping[str, Any]) -> str:
    """The split that is looked at: the test split, or the first that has labelled rows; "" where none has."""
    return TEST if TEST in splits else next(iter(splits), "")


@dataclass(frozen=True)
class AnswerReport:
    """Everything beside the figures of the task itself.

    which       what is counted: "entities", "boxes"
    splits      metrics.json's part of that name
    statistics  split -> what evaluation adds beside counts
    dataset     dataset_report.json
    rows        split -> (labelled rows, rows without a label)
    told        what happened beside, in words
    parameters  the job's arguments
    artifacts   the files that belong to the run
    comparison  the section on an earlier run; "" without one
    intervals   95 % intervals of the shown split beside those of `statistics`, by the figure's name in metrics.json
    """

    which: str
    splits: Mapping[str, Mapping[str, Any]]
    statistics: Mapping[str, AnswerStatistics]
    dataset: Mapping[str, Any]
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    comparison: str = ""
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The split that is looked at: the test split, or the first that has labelled rows; "" where none has."""
        return shown_split(self.splits)

    def to_json(self) -> dict[str, Any]:
        """metrics.json's `statistics`."""
        if not self.shown:
            return {}
        figures = answers_json(self.statistics[self.shown])
        beside = {name: list(interval) for name, interval in self.intervals.items()}
        return {self.shown: {**figures, "intervals_95": {**figures["intervals_95"], **beside}}}


def cards(
    report: AnswerReport,
    f1: float,
    baseline: tuple[float, str] | None = None,
    first: Sequence[tuple[str, str]] = (),
) -> str:
    """The headline: F1 of all answers with its interval, the baseline beside it, and rows that are wholly right; before
    them the figures `first`, (name, key in metrics.json)."""
    if not report.shown:
        return "<p>No labelled row was there to evaluate.</p>"
    found = report.statistics[report.shown]
    intervals = found.intervals()
    bootstrap = f"seeded bootstrap, {found.resampling.resamples} resamples"
    figures = report.splits[report.shown]
    shown = [
        card(name, float(figures[key]), between(report.intervals.get(key), "seeded bootstrap over images"))
        for name, key in first
        if key in figures
    ]
    shown.append(card(f"F1 of all {report.which}", f1, between(intervals.get("micro_f1"), bootstrap)))
    if baseline:
        shown.append(card("baseline", *baseline))
    exact = found.exact / found.rows
    shown.append(card("rows wholly right", exact, between(intervals["row_accuracy"], "Wilson")))
    told = f"Split: {report.shown}, {found.rows} labelled rows. Intervals are 95 % confidence intervals."
    return f'<p>{escape(told)}</p><ul class="cards">{"".join(shown)}</ul>'


def answer_sections(report: AnswerReport, galleries: Galleries[Shown], look: Look[Shown]) -> list[tuple[str, str]]:
    """Confidence threshold and calibration of the shown split, and the rows to look at."""
    shown = report.shown
    if not shown:
        return []
    found, every = report.statistics[shown], f"all {report.which} of all classes together"
    validation = report.statistics.get(VALIDATION) if shown != VALIDATION else None
    curve = validation.curve if validation else None
    return [
        (f"Confidence threshold ({shown})", threshold_section(every, found.curve, report.splits[shown], curve)),
        (f"Calibration ({shown})", calibration_section(f"every one of the {report.which} found", found.calibration)),
        *gallery_sections(galleries, shown, look),
    ]


def closing_sections(report: AnswerReport) -> list[tuple[str, str]]:
    """The comparison with an earlier run, the data, the run."""
    return [
        ("Compared with an earlier run (test)", report.comparison),
        ("Data", data_section(report.dataset, report.rows)),
        ("Run", run_section(report.told, report.parameters, report.artifacts)),
    ]
