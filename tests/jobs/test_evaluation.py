"""The figures are right, and rows without prediction or label count as what they are."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from jobkit.evaluation import ClassificationEvaluation
from jobkit.labelbox_rows import MAX_METRICS_PER_ROW, checklist_row, classification_metric_rows, radio_row

CLASSES = ("a", "b", "c", "never")


def single(pairs: list[tuple[str, str, float]]) -> ClassificationEvaluation:
    evaluation = ClassificationEvaluation(CLASSES, single=True)
    for truth, said, confidence in pairs:
        evaluation.add("test", (truth,), {said: confidence})
    return evaluation


def test_figures_agree_with_scikit_learn() -> None:
    chance = random.Random(7)
    pairs = [(chance.choice("abc"), chance.choice("abc"), chance.random()) for _ in range(500)]
    figures = single(pairs).metrics()["test"]
    truth, said = [one[0] for one in pairs], [one[1] for one in pairs]
    macro = precision_recall_fscore_support(truth, said, labels=["a", "b", "c"], average="macro")
    each = precision_recall_fscore_support(truth, said, labels=["a", "b", "c"], average=None)
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert [figures[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(macro[:3], abs=1e-5)
    for index, name in enumerate("abc"):
        counted = figures["classes"][name]
        found = [counted["precision"], counted["recall"], counted["f1"], counted["support"]]
        assert found == pytest.approx([column[index] for column in each], abs=1e-5)
        assert counted["tp"] + counted["fp"] + counted["tn"] + counted["fn"] == 500
    matrix = confusion_matrix(truth, said, labels=["a", "b", "c"])
    assert [[figures["confusion"][t].get(s, 0) for s in "abc"] for t in "abc"] == matrix.tolist()


def test_a_perfect_model_scores_one_and_a_class_that_never_occurs_does_not_spoil_the_mean() -> None:
    figures = single([("a", "a", 1.0), ("b", "b", 1.0)]).metrics()["test"]
    assert (figures["accuracy"], figures["macro_f1"], figures["micro_f1"]) == (1.0, 1.0, 1.0)


def test_baseline_b12_a_labelled_row_without_a_prediction_is_missed_and_not_forgotten() -> None:
    evaluation = ClassificationEvaluation(CLASSES, single=True)
    evaluation.add("test", ("a",), {"a": 0.9})
    evaluation.add("test", ("a",), None)
    figures = evaluation.metrics()["test"]
    assert (figures["rows"], figures["rows_without_prediction"], figures["accuracy"]) == (2, 1, 0.5)
    assert (figures["classes"]["a"]["recall"], figures["classes"]["a"]["fn"]) == (0.5, 1)
    assert figures["confusion"] == {"a": {"": 1, "a": 1}}


def test_a_prediction_without_a_label_is_counted_and_not_judged() -> None:
    evaluation = ClassificationEvaluation(CLASSES, single=True)
    evaluation.add("test", ("a",), {"a": 0.9})
    evaluation.add("test", None, {"b": 0.9})
    figures = evaluation.metrics()["test"]
    assert (figures["rows"], figures["predictions_without_label"], figures["classes"]["b"]["fp"]) == (1, 1, 0)


def test_baseline_b13_every_miss_of_a_class_counts_not_one() -> None:
    evaluation = single([("a", "b", 0.9)] * 7)
    counted = evaluation.metrics()["test"]["classes"]
    assert (counted["a"]["fn"], counted["b"]["fp"]) == (7, 7)


def test_a_confidence_threshold_takes_away_the_less_sure_answers() -> None:
    counted = single([("a", "a", 0.95), ("a", "a", 0.35), ("b", "a", 0.55)]).metrics()["test"]["classes"]["a"]
    assert counted["by_confidence"]["0.1"] == [2, 1, 0, 0]
    assert counted["by_confidence"]["0.5"] == [1, 1, 0, 1]
    assert counted["by_confidence"]["0.9"] == [1, 0, 1, 1]
    assert list(counted["by_confidence"]) == [f"0.{step}" for step in range(1, 10)]


def test_a_row_without_any_tick_is_a_true_negative() -> None:
    evaluation = ClassificationEvaluation(("a", "b"), single=False)
    evaluation.add("test", (), {"a": 0.2, "b": 0.1}, ())
    evaluation.add("test", ("a",), {"a": 0.8, "b": 0.7}, ("a", "b"))
    figures = evaluation.metrics()["test"]
    assert (figures["accuracy"], figures["micro_precision"], figures["micro_recall"]) == (0.5, 0.5, 1.0)
    assert [figures["classes"]["a"][key] for key in ("tp", "fp", "tn", "fn")] == [1, 0, 1, 0]


def test_the_majority_baseline_is_what_training_rows_suggest() -> None:
    evaluation = ClassificationEvaluation(CLASSES, single=True)
    for truth in "aab":
        evaluation.add("training", (truth,), {"a": 0.9})
    for truth in "abbb":
        evaluation.add("test", (truth,), {"b": 0.9})
    assert evaluation.metrics()["test"]["majority_baseline"] == 0.25


def test_a_split_without_a_labelled_row_has_no_figures() -> None:
    evaluation = ClassificationEvaluation(CLASSES, single=True)
    evaluation.add("test", None, {"a": 0.9})
    assert evaluation.metrics() == {}
    assert evaluation.summary("test") == {}


def test_baseline_b14_every_prediction_carries_its_confidence_inside_the_answer() -> None:
    assert radio_row("run", "row", "q", "o", 0.0)["answer"] == {"schemaId": "o", "confidence": 0.0}
    answers = checklist_row("run", "row", "q", {"x": 0.25, "y": 1.0})["answer"]
    assert answers == [{"schemaId": "x", "confidence": 0.25}, {"schemaId": "y", "confidence": 1.0}]


def test_the_same_prediction_has_the_same_uuid_in_every_attempt() -> None:
    first, again = radio_row("run", "row", "q", "o", 0.5), radio_row("run", "row", "q", "p", 0.7)
    assert first["uuid"] == again["uuid"] != radio_row("run", "row 2", "q", "o", 0.5)["uuid"]


def test_metric_rows_are_only_of_classes_in_the_row_and_at_most_twenty() -> None:
    names = [f"c{index:02d}" for index in range(30)]
    rows, cut = classification_metric_rows("row", ("c29",), dict.fromkeys(names, 0.05), {})
    assert ([row["featureName"] for row in rows], cut) == (["c29"], 0)
    rows, cut = classification_metric_rows("row", ("c29",), dict.fromkeys(names, 0.5), {"c29": "its name"})
    assert (len(rows), cut, rows[0]["featureName"]) == (MAX_METRICS_PER_ROW, 10, "its name")
    assert all(len(row["metricValue"]) == 9 and row["aggregation"] == "CONFUSION_MATRIX" for row in rows)
