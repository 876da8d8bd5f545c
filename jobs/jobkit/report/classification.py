"""report.html of a classification run, texts and images alike: results, rows to look at, data, and the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from jobkit.evaluation import DIGITS
from jobkit.report.charts import Axes, Mark, Series, bars, curves
from jobkit.report.data import data_section
from jobkit.report.gallery import HITS, MISTAKES, SUSPECTS, UNCERTAIN, Example, Galleries, gallery, rule
from jobkit.report.page import Cell, class_table, confidence_table, confusion_table, headline_table, page, table
from jobkit.report.run import run_section
from jobkit.report.statistics import BINS, SEED, Calibration, Interval, Point, SplitStatistics
from jobkit.splits import TEST, VALIDATION

Picture = Callable[[Example], str]
_GALLERIES = (
    (MISTAKES, "Worst mistakes"),
    (UNCERTAIN, "Most uncertain"),
    (HITS, "Hits"),
    (SUSPECTS, "Labels that look wrong"),
)


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
    picture     gives the data URI of an example's image; None for texts
    """

    title: str
    single: bool
    splits: Mapping[str, Mapping[str, Any]]
    statistics: Mapping[str, SplitStatistics]
    galleries: Galleries
    dataset: Mapping[str, Any]
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    comparison: str = ""
    picture: Picture | None = None

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
            (f"Confidence threshold ({shown})", _threshold(report, counts, found)),
            (f"Calibration ({shown})", _calibration(report, found.calibration)),
        ]
        for kind, heading in _GALLERIES:
            where = "all splits" if kind == SUSPECTS else shown
            sections.append((f"{heading} ({where})", _gallery(report, kind)))
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
            shown.append(_card(baseline[0], baseline[1], f"{what} of always giving the commonest answer"))
        else:
            shown.append(_card(name, float(counts[key]), _between(intervals.get(key), method)))
    rows = f"{counts['rows']} labelled rows"
    told = f"<p>Split: {escape(report.shown)}, {rows}. Intervals are 95 % confidence intervals.</p>"
    return f'{told}<ul class="cards">{"".join(shown)}</ul>{headline_table(report.splits)}'


def _card(name: str, value: float, below: str) -> str:
    return f"<li>{escape(name)}<b>{value:.3f}</b><span>{escape(below)}</span></li>"


def _between(interval: Sequence[float] | Interval | None, method: str) -> str:
    if not interval:
        return "too few rows for an interval"
    if interval[0] == interval[1]:
        return f"no interval: every resample is the same ({method})"
    return f"95 %: {interval[0]:.3f} to {interval[1]:.3f} ({method})"


def _threshold(report: ClassificationReport, counts: Mapping[str, Any], found: SplitStatistics) -> str:
    points, best = found.curve.points(), found.curve.best()
    if best is None:
        return "<p>No row has a prediction.</p>"
    which = "the best answer of each row" if report.single else "all answers of all classes together"
    told = (
        f"Counted is {which}, if only answers of at least a confidence counted. Best on this split: {best.threshold:g} "
        f"with F1 {best.f1:.3f}. Average precision: {found.curve.average_precision():.3f}. {_chosen(report, found)}"
    )
    charts = _precision_recall(points, best) + _over_threshold(points, best)
    return f'<p>{escape(told)}</p><div class="charts">{charts}</div>{confidence_table(counts)}'


def _chosen(report: ClassificationReport, found: SplitStatistics) -> str:
    """What the threshold that the validation split would choose gives here: the best one here is chosen by its luck."""
    validation = report.statistics.get(VALIDATION)
    best = validation.curve.best() if validation and report.shown != VALIDATION else None
    if best is None:
        return ""
    here = found.curve.at(best.threshold)
    return f"Chosen on the validation split it would be {best.threshold:g}, which gives F1 {here.f1:.3f} here."


def _precision_recall(points: Sequence[Point], best: Point) -> str:
    axes = Axes(
        "precision-recall",
        "Precision and recall",
        f"From {points[0].precision:.2f} precision at {points[0].recall:.2f} recall (only the surest answers) to "
        f"{points[-1].precision:.2f} at {points[-1].recall:.2f} (all answers).",
        "recall",
        "precision",
    )
    line = _thinned([(one.recall, one.precision) for one in points])
    return curves(axes, [Series("by threshold", line)], [Mark("best F1", (best.recall, best.precision))])


def _over_threshold(points: Sequence[Point], best: Point) -> str:
    axes = Axes(
        "f1-threshold",
        "F1, precision and recall by confidence threshold",
        f"F1 is best at {best.threshold:g}: {best.f1:.3f}, with precision {best.precision:.3f} and recall "
        f"{best.recall:.3f}.",
        "confidence threshold",
        "share",
    )
    series = [
        Series("F1", _thinned([(one.threshold, one.f1) for one in points])),
        Series("precision", _thinned([(one.threshold, one.precision) for one in points])),
        Series("recall", _thinned([(one.threshold, one.recall) for one in points])),
    ]
    return curves(axes, series, [Mark(f"best: {best.threshold:g}", (best.threshold, best.f1), drop=True)])


def _thinned(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the points that lie within a third of a pixel of the one before; first and last stay."""
    kept: list[tuple[float, float]] = []
    for index, place in enumerate(places):
        far = not kept or abs(place[0] - kept[-1][0]) + abs(place[1] - kept[-1][1]) > 0.001
        if far or index == len(places) - 1:
            kept.append(place)
    return kept


def _calibration(report: ClassificationReport, found: Calibration) -> str:
    filled = [(index, one) for index, one in enumerate(found.bins) if one.answers]
    if not filled:
        return ""
    error = found.expected_error()
    which = "the best answer of each row" if report.single else "every answer that the model gave"
    told = (
        f"Of answers with a confidence of 0.8, eight in ten should be right. Counted is {which}, in {BINS} bins of "
        f"equal width. Expected calibration error: {error:.3f} (the mean gap, weighted by answers)."
    )
    axes = Axes(
        "reliability",
        "Reliability diagram",
        f"Bars that end on the dashed diagonal are well calibrated. Expected calibration error {error:.3f}.",
        "confidence",
        "share right",
    )
    chart = bars(axes, [((index / BINS, (index + 1) / BINS), one.share) for index, one in filled])
    rows: list[list[Cell]] = [
        [f"{index / BINS:g} to {(index + 1) / BINS:g}", one.answers, float(one.mean), float(one.share)]
        for index, one in filled
    ]
    listed = table(("confidence", "answers", "mean confidence", "share right"), rows, "Answers by confidence")
    return f'<p>{escape(told)}</p><div class="charts">{chart}<div>{listed}</div></div>'


def _gallery(report: ClassificationReport, kind: str) -> str:
    examples = report.galleries.of(kind, report.shown)
    told = rule(kind, single=report.single)
    if not examples:
        return f"<p>{escape(told)}</p><p>There is none.</p>"
    return f'<p class="note">{escape(told)}</p>{gallery(examples, report.picture)}'
