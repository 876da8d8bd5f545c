"""Parts that the reports of all kinds of runs share: figures in cards, curves over the threshold, calibration."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jobkit.report.charts import Axes, Mark, Series, bars, curves
from jobkit.report.page import Cell, confidence_table, table
from jobkit.report.statistics import BINS, Calibration, Interval, Point, ThresholdCurve


def card(name: str, value: float, below: str) -> str:
    return f"<li>{escape(name)}<b>{value:.3f}</b><span>{escape(below)}</span></li>"


def between(interval: Sequence[float] | Interval | None, method: str) -> str:
    if not interval:
        return "too few rows for an interval"
    if interval[0] == interval[1]:
        return f"no interval: every resample is the same ({method})"
    return f"95 %: {interval[0]:.3f} to {interval[1]:.3f} ({method})"


def threshold_section(
    which: str, curve: ThresholdCurve, counts: Mapping[str, Any], validation: ThresholdCurve | None = None
) -> str:
    """What other thresholds would give. `which` answers are counted; `counts` is metrics.json's split; `validation` is
    the curve that a threshold would be chosen on."""
    points, best = curve.points(), curve.best()
    if best is None:
        return "<p>No row has a prediction.</p>"
    told = (
        f"Counted is {which}, if only answers of at least a confidence counted. Best on this split: {best.threshold:g} "
        f"with F1 {best.f1:.3f}. Average precision: {curve.average_precision():.3f}. {_chosen(curve, validation)}"
    )
    charts = _precision_recall(points, best) + _over_threshold(points, best)
    return f'<p>{escape(told)}</p><div class="charts">{charts}</div>{confidence_table(counts)}'


def _chosen(curve: ThresholdCurve, validation: ThresholdCurve | None) -> str:
    """What the threshold that the validation split would choose gives here: the best one here is chosen by its luck."""
    best = validation.best() if validation else None
    if best is None:
        return ""
    here = curve.at(best.threshold)
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


def calibration_section(which: str, found: Calibration) -> str:
    """Whether confidences mean what they say; `which` answers are counted."""
    filled = [(index, one) for index, one in enumerate(found.bins) if one.answers]
    if not filled:
        return ""
    error = found.expected_error()
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
