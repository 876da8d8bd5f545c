"""An export row is read as Labelbox documents it, and a row that is not one never stops the others."""

from __future__ import annotations

import json

import pytest

from jobkit.export import parse_line, parse_row
from tests.jobs import exports


@pytest.mark.parametrize(
    ("run", "split"),
    [
        ({"split": "TRAINING"}, "training"),
        ({"split": "training"}, "training"),
        ({"split": "Train"}, "training"),
        ({"data_split": "VALID"}, "validation"),
        ({"data_split": "validation"}, "validation"),
        ({"split": "TEST"}, "test"),
        ({"Data Split": "training"}, "training"),
        ({"dataSplit": "TEST"}, "test"),
        ({"split": None, "DATA_SPLIT": "Valid"}, "validation"),
        ({"split": "somewhere", "data_split": "TEST"}, "test"),
        ({"split": "UNASSIGNED"}, "unassigned"),
        ({"split": "somewhere"}, None),
        ({"split": 7}, None),
        ({}, None),
    ],
)
def test_the_split_is_read_under_each_of_its_names_and_in_any_case(run: dict[str, object], split: str | None) -> None:
    body = exports.row("a", "text", split=None)
    body["experiments"][exports.MODEL_ID]["runs"][exports.RUN_ID] |= run
    assert parse_row(body, exports.RUN_ID).split == split


def test_the_metadata_field_called_split_is_not_the_split_of_the_run() -> None:
    body = exports.row("a", "text", split=None) | {"metadata_fields": [{"name": "split", "value": "test"}]}
    assert parse_row(body, exports.RUN_ID).split is None


def test_labels_of_other_runs_and_of_projects_are_not_this_runs() -> None:
    body = exports.row("a", "text", [exports.label(exports.radio("q", "x"))], run_id="other-run")
    body["projects"] = {"p": {"labels": [exports.label(exports.radio("q", "y"))]}}
    assert parse_row(body, exports.RUN_ID).labels == ()


@pytest.mark.parametrize("shape", ["radio_answer", "checklist_answers", "dropdown_answer", "dropdown_answers"])
def test_radio_checklist_and_dropdown_answers_are_all_read(shape: str) -> None:
    answer = {"feature_schema_id": "x", "name": "X", "value": "x"}
    entry = {"feature_schema_id": "q", "name": "Q", shape: [answer] if shape.endswith("answers") else answer}
    (label,) = parse_row(exports.row("a", "text", [exports.label(entry)]), exports.RUN_ID).labels
    assert [one.feature_schema_id for one in label.classifications[0].answers] == ["x"]


BAD = {
    "not JSON": b"{",
    "not UTF-8": b'{"data_row": "\xff"}',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no data row": b'{"experiments": {}}',
    "no id": b'{"data_row": {"row_data": "text"}}',
    "an id that is a number": b'{"data_row": {"id": 3, "row_data": "text"}}',
    "deeper than any row": b"[" * 100_000,
    "no row_data": json.dumps(exports.row("a", None)).encode(),
    "row_data that is a number": json.dumps(exports.row("a", 5)).encode(),
    "labels that are text": json.dumps(exports.row("a", "x", ["label"])).encode(),  # type: ignore[list-item]
    "annotations that are a list": json.dumps(exports.row("a", "x", [{"annotations": [1]}])).encode(),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_a_line_that_is_not_a_row_is_named_and_never_raises(line: bytes) -> None:
    assert parse_line(line, exports.RUN_ID).problem


@pytest.mark.parametrize(
    "body",
    [
        {"data_row": {"id": "a", "row_data": "t"}},
        {"data_row": {"id": "a", "row_data": "t"}, "experiments": None},
        {"data_row": {"id": "a", "row_data": "t"}, "experiments": {"m": {"runs": {exports.RUN_ID: {}}}}},
        {"data_row": {"id": "a", "row_data": "t"}, "experiments": {"m": {"runs": {exports.RUN_ID: {"labels": None}}}}},
        exports.row("a", "t", [{"id": "l", "annotations": {}}]),
        exports.row("a", "t", [{"id": "l"}]),
    ],
)
def test_baseline_one_unlabelled_row_does_not_kill_the_run(body: dict[str, object]) -> None:
    row = parse_row(body, exports.RUN_ID)
    assert (row.problem, row.data_row_id) == ("", "a")
