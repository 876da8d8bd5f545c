"""The report's figures are scikit-learn's and scipy's on the same predictions; memory does not grow with the rows."""

from __future__ import annotations

import gc
import random
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from jobkit.report.classification import statistics_json
from jobkit.report.statistics import Resampling, SplitStatistics, ThresholdCurve, wilson
from tests.jobs.report.runs import Row, output_of, report_of, several_rows, single_rows

NAMES = ["apple", "pear", "plum", "fig", "quince"]


def flat(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, decisions and scores, one column a class."""
    truth = np.array([[name in row.labels for name in NAMES] for row, _, _ in rows], dtype=int)
    said = np.array([[name in decided for name in NAMES] for _, _, decided in rows], dtype=int)
    scores = np.array([[(answers or {}).get(name, -1.0) for name in NAMES] for _, answers, _ in rows])
    return truth, said, scores


@pytest.mark.parametrize("single", [True, False], ids=["one class a row", "several classes"])
@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_scikit_learn(single: bool, seed: int) -> None:
    rows = (single_rows if single else several_rows)(NAMES, 400, seed=seed)
    report = report_of(output_of(NAMES, rows, single=single))
    truth, said, scores = flat(rows)
    counts, figures = report.splits["test"], statistics_json(report)["test"]

    assert counts["accuracy"] == pytest.approx(accuracy_score(truth, said), abs=1e-6)
    assert counts["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro", zero_division=0), abs=1e-6)
    assert counts["micro_f1"] == pytest.approx(f1_score(truth, said, average="micro", zero_division=0), abs=1e-6)

    kept = scores >= 0
    labelled = truth.sum()
    curve = report.statistics["test"].curve
    precision, recall, thresholds = precision_recall_curve(truth[kept], scores[kept])
    found = {point.threshold: (point.precision, point.recall) for point in curve.points()}
    assert set(found) == set(thresholds.tolist())
    share = truth[kept].sum() / labelled  # of the labels, those that have an answer at all
    for index, threshold in enumerate(thresholds.tolist()):
        assert found[threshold] == pytest.approx((precision[index], recall[index] * share), abs=1e-6)
    expected = average_precision_score(truth[kept], scores[kept]) * share
    assert figures["average_precision"] == pytest.approx(expected, abs=1e-6)

    for threshold in (0.0, 0.25, 0.5, 0.907):
        at = (scores >= threshold).astype(int)
        point = curve.at(threshold)
        assert point.precision == pytest.approx(precision_score(truth, at, average="micro", zero_division=0), abs=1e-6)
        assert point.recall == pytest.approx(recall_score(truth, at, average="micro", zero_division=0), abs=1e-6)
    best = max(f1_score(truth, (scores >= one).astype(int), average="micro", zero_division=0) for one in thresholds)
    assert figures["best_threshold"]["f1"] == pytest.approx(best, abs=1e-6)

    right, said_confidence = calibration_curve(truth[kept], scores[kept], n_bins=10)
    bins = figures["calibration"]
    assert [one["right"] for one in bins] == pytest.approx(right.tolist(), abs=1e-6)
    assert [one["confidence"] for one in bins] == pytest.approx(said_confidence.tolist(), abs=1e-6)
    sizes = np.array([one["answers"] for one in bins])
    expected_error = (sizes * np.abs(right - said_confidence)).sum() / sizes.sum()
    assert figures["expected_calibration_error"] == pytest.approx(expected_error, abs=1e-6)

    if single:
        matrix = confusion_matrix(truth.argmax(1), said.argmax(1)).tolist()
        confusion = counts["confusion"]
        assert [[confusion[a].get(b, 0) for b in NAMES] for a in NAMES] == matrix


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (10, 10), (1, 1), (33, 35), (500, 1000), (7, 9000)])
def test_the_interval_of_the_accuracy_is_wilsons(hits: int, rows: int) -> None:
    interval = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert wilson(hits, rows) == pytest.approx((interval.low, interval.high), abs=2e-6)


def test_the_interval_of_macro_f1_is_that_of_an_ordinary_bootstrap() -> None:
    rows = single_rows(NAMES, 200, seed=5)
    ours = Resampling()
    for row, _, decided in rows:
        ours.add(row.labels, decided)
    truth, said, _ = flat(rows)
    dice = np.random.default_rng(1)
    draws = [dice.integers(0, 200, 200) for _ in range(1000)]
    expected = [f1_score(truth[draw].argmax(1), said[draw].argmax(1), average="macro") for draw in draws]
    low, high = ours.intervals()["macro_f1"]
    assert (low, high) == pytest.approx(tuple(np.percentile(expected, [2.5, 97.5])), abs=0.015)


def test_an_interval_of_many_rows_is_as_wide_as_one_of_single_rows() -> None:
    rows = single_rows(["a", "b"], 4000, seed=6)
    ours = Resampling()
    for row, _, decided in rows:
        ours.add(row.labels, decided)
    hits = sum(row.labels == decided for row, _, decided in rows)
    low, high = ours.intervals()["micro_f1"]  # of one class a row, micro F1 is the accuracy
    assert (low, high) == pytest.approx(wilson(hits, 4000), abs=0.006)


def test_the_same_rows_give_the_same_intervals_and_one_row_gives_none() -> None:
    def intervals(count: int) -> dict:
        ours = Resampling()
        for row, _, decided in single_rows(NAMES, count):
            ours.add(row.labels, decided)
        return ours.intervals()

    assert intervals(50) == intervals(50)
    assert intervals(1) == {}


@pytest.mark.parametrize(
    ("right", "wrong", "best"),
    [
        pytest.param([0.9, 0.8], [], 0.5, id="all right: nothing says that a threshold is needed"),
        pytest.param([0.3], [], 0.3, id="all right, below the middle"),
        pytest.param([0.9], [0.7], 0.701, id="just above the wrong one"),
        pytest.param([0.2], [0.1], 0.2, id="both below the middle"),
    ],
)
def test_of_equally_good_thresholds_the_one_nearest_to_the_middle_is_best(
    right: list[float], wrong: list[float], best: float
) -> None:
    curve = ThresholdCurve()
    for confidence in right:
        curve.add(["a"], {"a": confidence})
    for confidence in wrong:
        curve.add([], {"a": confidence})
    found = curve.best()
    assert found is not None
    assert found.threshold == best
    assert (found.tp, found.fp) == (curve.at(best).tp, curve.at(best).fp)


def test_no_prediction_at_all_has_no_curve() -> None:
    curve = ThresholdCurve()
    curve.add(["a"], {})
    assert (curve.points(), curve.best(), curve.average_precision()) == ([], None, 0.0)


def test_what_is_kept_does_not_grow_with_the_rows() -> None:
    statistics = SplitStatistics(single=False)
    dice = random.Random(3)

    def feed(count: int) -> int:
        for _ in range(count):
            answers = {name: dice.random() for name in NAMES}
            statistics.add(dice.sample(NAMES, 2), answers, dice.sample(NAMES, 2))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after_few = feed(3000)
        after_many = feed(20_000)
    finally:
        tracemalloc.stop()
    assert after_many - after_few < 100_000
