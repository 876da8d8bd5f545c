"""What becomes of a classifier's answers: rows for Labelbox, whatever the ontology has become meanwhile."""

from __future__ import annotations

from jobkit.classification_output import ClassificationOutput
from jobkit.dataset_report import ClassEntry
from jobkit.manifest import ManifestRow
from jobkit.splits import TEST

RADIO = (ClassEntry("a", "id-a", "a", "q", "radio"), ClassEntry("b", "id-b", "b", "q", "radio"))


def row(*labels: str, labelled: bool = True) -> ManifestRow:
    return ManifestRow("row", None, "text", TEST, labels, labelled)


def output(*, single: bool = True, minimum: float = 0.0) -> ClassificationOutput:
    return ClassificationOutput(RADIO, "run", single=single, upload_min_confidence=minimum)


def answers_in(rows: object) -> list[object]:
    return [one["answer"] for one in rows if "answer" in one]  # type: ignore[attr-defined]


def test_baseline_b16_an_answer_that_is_no_class_any_more_is_counted_and_not_fatal() -> None:
    made = output()
    assert answers_in(made.rows(row("a"), {"no_label": 0.9}, ["no_label"])) == []
    assert answers_in(made.rows(row("left the ontology"), {"a": 0.6}, ["a"])) == [
        {"schemaId": "id-a", "confidence": 0.6}
    ]
    assert made.counts["unknown_class"] == 1
    assert made.evaluation.metrics()[TEST]["rows"] == 2


def test_baseline_b19_a_radio_gets_one_answer_however_many_are_decided() -> None:
    made = output(single=False)
    rows = list(made.rows(row("a", "b"), {"a": 0.7, "b": 0.8}, ["a", "b"]))
    assert answers_in(rows) == [{"schemaId": "id-b", "confidence": 0.8}]


def test_baseline_b19_an_answer_that_is_not_sure_enough_is_kept_from_upload_and_still_evaluated() -> None:
    made = output(minimum=0.5)
    assert answers_in(made.rows(row("a"), {"a": 0.3}, ["a"])) == []
    assert made.counts["below_upload_min_confidence"] == 1
    assert made.evaluation.metrics()[TEST]["accuracy"] == 1.0


def test_a_row_without_prediction_and_one_that_nobody_labelled_are_both_told_apart_from_wrong() -> None:
    made = output()
    assert answers_in(made.rows(row("a"), None, ())) == []
    assert answers_in(made.rows(row(labelled=False), {"b": 0.9}, ["b"])) == [{"schemaId": "id-b", "confidence": 0.9}]
    figures = made.evaluation.metrics()[TEST]
    assert (figures["rows"], figures["rows_without_prediction"], figures["predictions_without_label"]) == (1, 1, 1)


def test_metrics_of_a_class_that_left_the_ontology_are_counted_and_not_sent() -> None:
    made = output(single=False)
    rows = [
        *made.rows(row("left", "a"), {"a": 0.6, "gone": 0.9}, ["a", "gone"]),
        *made.rows(row("a"), {"gone": 0.8}, ["gone"]),
    ]
    assert [one["featureName"] for one in rows if "metricName" in one] == ["a", "a"]
    classes = made.evaluation.metrics()[TEST]["classes"]
    assert {name: (one["tp"], one["fp"], one["fn"]) for name, one in classes.items()} == {
        "a": (1, 0, 1),
        "b": (0, 0, 0),
        "gone": (0, 2, 0),
        "left": (0, 0, 1),
    }
