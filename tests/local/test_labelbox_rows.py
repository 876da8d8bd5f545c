"""Which prediction and metric rows the stand-in takes: one table of good rows, one of bad rows with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.labelbox.ontology import ontology_of
from local.labelbox.predictions import MOST_ANNOTATIONS, MOST_METRICS, Destination, Judge
from tests.local.labelbox_service import ONTOLOGY

DATA_ROWS = {f"dr-{number}": None for number in range(3)}
GLOBAL_KEYS = {"gk-0": "dr-0"}
BOX = {"top": 1, "left": 2, "height": 3, "width": 4}
TRIANGLE = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 0, "y": 1}, {"x": 0, "y": 0}]


def judged(*rows: Any, takes_metrics: bool = True) -> list[dict[str, Any]]:
    ontologies = (ontology_of("o", ONTOLOGY),)
    destination = Destination(DATA_ROWS, GLOBAL_KEYS, frozenset({"dr-2"}), ontologies, takes_metrics)
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return [dict(outcome.status) for outcome in Judge(destination, "import").rows(lines)]


def row(**more: Any) -> dict[str, Any]:
    return {"dataRow": {"id": "dr-0"}, **more}


def radio(**more: Any) -> dict[str, Any]:
    return row(name="mood", answer={"name": "Good", **more})


def metric(value: Any = 0.5, **more: Any) -> dict[str, Any]:
    return row(**{"metricName": "score", "metricValue": value, "aggregation": "SUM", **more})


def matrix(value: Any, **more: Any) -> dict[str, Any]:
    return metric(value, **{"aggregation": "CONFUSION_MATRIX", "featureName": "Good", **more})


@pytest.mark.parametrize(
    "good",
    [
        radio(),
        radio(confidence=0),
        radio(confidence=1, customMetrics=[{"name": "iou", "value": 0.5}]),
        {**radio(), "dataRow": {"globalKey": "gk-0"}, "uuid": "u"},
        row(schemaId="fs-mood", answer={"schemaId": "fs-Bad"}),
        row(schemaId="fs-mood", name="mood", answer={"name": "good"}),
        row(name="topics", answer=[{"name": "Food", "confidence": 0.1}, {"name": "Staff"}]),
        row(name="topics", answers=[{"name": "Food"}]),
        row(name="note", answer="hello", confidence=0.3),
        row(name="box", bbox=BOX, confidence=0.9, classifications=[{"name": "ripe", "answer": {"name": "Yes"}}]),
        row(name="person", location={"start": 4, "end": 4}, confidence=0.5),
        row(name="shape", polygon=TRIANGLE, classifications=[]),
        metric(),
        metric({"0.1": 0.2, "0.5": 0.3}, featureName="mood", subclassName="Good"),
        matrix([1, 0, 2, 3], metricName="recall"),
        matrix({"0.1": [1, 0, 1, 0], "0.5": [1, 1, 0, 0]}),
    ],
)
def test_a_good_row_is_taken(good: dict[str, Any]) -> None:
    assert judged(good) == [{"uuid": good.get("uuid"), "dataRow": good["dataRow"], "status": "SUCCESS"}]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{", "no JSON object"),
        ([], "no JSON object"),
        ({"name": "mood"}, "exactly one of dataRow"),
        ({**radio(), "dataRow": {"id": "dr-0", "globalKey": "gk-0"}}, "exactly one of dataRow"),
        ({**radio(), "dataRow": {"id": "nothing"}}, "not part of"),
        ({**radio(), "dataRow": {"globalKey": "nothing"}}, "not part of"),
        ({**radio(), "dataRow": {"id": "dr-2"}}, "not part of"),
        ({**radio(), "uuid": 5}, "uuid"),
        (row(answer={"name": "Good"}), '"name" and "schemaId"'),
        (row(name="nothing", answer={"name": "Good"}), "the ontology has no feature with name 'nothing'"),
        (row(name="mood", schemaId="fs-topics", answer={"name": "Good"}), "the ontology has no feature"),
        (row(name="mood"), "exactly one of"),
        (row(name="mood", answer={"name": "Ugly"}), "no option with name 'Ugly'"),
        (row(name="mood", answer={}), 'needs "name" or "schemaId"'),
        (row(name="mood", answer=[{"name": "Good"}]), "must be an object"),
        (row(name="topics", answer={"name": "Food"}), "must be a list"),
        (row(name="topics", answer=[]), "are empty"),
        (row(name="topics", answer=["Food"]), "must be an object"),
        (row(name="note", answer={"name": "x"}), "must be a string"),
        (radio(confidence=1.01), "confidence 1.01"),
        (radio(confidence=-0.1), "confidence -0.1"),
        (radio(confidence="0.5"), "confidence '0.5'"),
        (radio(confidence=True), "confidence True"),
        ({**radio(), "confidence": 0.5}, "stands inside each answer"),
        (row(name="box", bbox=BOX, confidence=float("nan")), "confidence nan"),
        (row(name="box", bbox={"top": 1}), "a bbox needs the numbers"),
        (row(name="box", bbox={**BOX, "width": 0}), "above 0"),
        (row(name="box", location={"start": 1, "end": 2}), "does not fit"),
        (row(name="box", bbox=BOX, polygon=TRIANGLE), "exactly one of"),
        (row(name="box", bbox=BOX, answer={"name": "Good"}), "not both"),
        (row(name="box", bbox=BOX, classifications=[{"name": "mood", "answer": {}}]), "no nested question"),
        (row(name="box", bbox=BOX, classifications=[{"name": "ripe", "answer": {"name": "X"}}]), "no option"),
        (row(name="box", bbox=BOX, colour="red"), "unknown keys ['colour']"),
        (row(name="person", location={"start": 5, "end": 4}), "0 <= start <= end"),
        (row(name="shape", polygon=TRIANGLE[:2]), "at least 3 points"),
        (radio(customMetrics=[{"name": "iou"}]), "custom metric"),
        (metric(metricName="F1"), "reserved"),
        (metric(metricName=""), "must be a text"),
        (metric(aggregation="MEAN"), "aggregation 'MEAN'"),
        (metric({"0.1": 1}), "1 confidences"),
        (metric({str(n / 20): 1 for n in range(16)}), "16 confidences"),
        (metric({"a": 1, "0.5": 1}), "keys of metricValue"),
        (metric("0.5"), "must be a number"),
        (metric(-1), "must be a number"),
        (metric(featureName="nothing"), "(featureName)"),
        (metric(subclassName="Good"), "subclassName needs featureName"),
        (metric(confidence=1), "unknown keys ['confidence']"),
        (matrix([1, 2, 3]), "four whole numbers"),
        (matrix([1, 2, 3, -4]), "four whole numbers"),
        (matrix(0.5), "four whole numbers"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(bad: Any, said: str) -> None:
    [status] = judged(bad)
    assert status["status"] == "FAILURE"
    assert any(said in error["message"] for error in status["errors"]), status["errors"]


def test_one_bad_row_does_not_spoil_the_others() -> None:
    assert [status["status"] for status in judged(radio(), b"{", radio())] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_a_uuid_counts_once_in_an_import() -> None:
    outcomes = judged({**radio(), "uuid": "u"}, {**radio(), "uuid": "u"})
    assert [status["status"] for status in outcomes] == ["SUCCESS", "FAILURE"]


def test_a_data_row_has_so_many_metrics_and_no_more() -> None:
    rows = [metric(metricName=f"m{number}") for number in range(MOST_METRICS + 1)]
    outcomes = judged(*rows, metric(metricName="m0"), {**rows[-1], "dataRow": {"id": "dr-1"}})
    assert [status["status"] for status in outcomes[-4:]] == ["SUCCESS", "FAILURE", "SUCCESS", "SUCCESS"]


def test_a_data_row_has_so_many_annotations_of_a_name_and_no_more() -> None:
    outcomes = judged(*[row(name="box", bbox=BOX)] * (MOST_ANNOTATIONS + 1), radio())
    assert [status["status"] for status in outcomes[-3:]] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_a_project_takes_no_metrics() -> None:
    [status] = judged(metric(), takes_metrics=False)
    assert "a project takes no metrics" in status["errors"][0]["message"]
