"""Bringing rows to Labelbox over the wire: whatever Labelbox does, the run survives and says what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobkit.arguments import Arguments
from jobkit.errors import BadConfiguration
from jobkit.labelbox import client
from jobkit.labelbox_rows import classification_metric_rows, radio_row, without_confidence
from jobkit.sinks import (
    ACCEPTED,
    FAILED,
    NOT_ASKED,
    PARTLY,
    REFUSED,
    ModelRunSink,
    ProjectSink,
    SinkChoice,
    SinkOutcome,
    bring,
    chosen_sink,
)
from tests.jobs import exports
from tests.jobs.conftest import LabelboxStandIn, StartLabelbox

QUESTION = exports.question("q", "radio", exports.options("a", "b"))


@pytest.fixture
def labelbox(start_labelbox: StartLabelbox, tmp_path: Path) -> LabelboxStandIn:
    rows = [exports.row(f"row{n}", "text\u2028with a line separator") for n in range(50)]
    return start_labelbox(exports.sample(tmp_path / "sample", rows, [QUESTION]))


def prediction(row_id: str, option: str = "a") -> dict[str, Any]:
    return radio_row(exports.RUN_ID, row_id, "q", option, 0.8)


def sink(name: str = "attempt", **more: Any) -> ModelRunSink:
    return ModelRunSink(client(), exports.RUN_ID, name, poll_s=0.05, **more)


def test_all_rows_arrive_in_chunks_of_their_own_names(labelbox: LabelboxStandIn) -> None:
    rows = [prediction(f"row{n}") for n in range(50)]
    metrics = [row for n in range(50) for row in classification_metric_rows(f"row{n}", ("a",), {"a": 0.8}, {})[0]]
    assert sink(chunk_rows=30).send([*rows, *metrics]) == SinkOutcome(ACCEPTED, 100)
    state = labelbox.run_state(exports.RUN_ID)
    assert [one["name"] for one in state["imports"]] == [f"attempt-0000{n}" for n in range(4)]
    assert (state["predictions"], state["metrics"]) == (50, 50)


def test_a_repeated_upload_of_the_same_attempt_doubles_nothing(labelbox: LabelboxStandIn) -> None:
    rows = [prediction(f"row{n}") for n in range(50)]
    for _ in range(2):
        assert sink(chunk_rows=30).send(rows).sent == 50
    state = labelbox.run_state(exports.RUN_ID)
    assert (len(state["imports"]), state["predictions"]) == (2, 50)


def test_a_new_attempt_replaces_predictions_instead_of_adding_to_them(labelbox: LabelboxStandIn) -> None:
    for attempt in ("first", "second"):
        assert sink(attempt).send([prediction(f"row{n}") for n in range(50)]).state == ACCEPTED
    assert labelbox.run_state(exports.RUN_ID)["predictions"] == 50


def test_baseline_b20_rows_that_labelbox_refuses_are_counted_with_its_reasons(labelbox: LabelboxStandIn) -> None:
    rows = [prediction("row1"), prediction("nobody"), prediction("row2", "left-the-ontology")]
    outcome = sink().send(rows)
    assert (outcome.state, outcome.sent, outcome.refused) == (PARTLY, 1, 2)
    assert len(outcome.reasons) == 2
    assert "refused 2" in outcome.sentence


def test_that_labelbox_takes_no_predictions_any_more_is_an_expected_outcome(labelbox: LabelboxStandIn) -> None:
    labelbox.set(refuse_predictions=True)
    outcome = sink().send([prediction("row1")])
    assert (outcome.state, outcome.sent) == (REFUSED, 0)
    assert "kept in the bucket" in outcome.sentence


def test_baseline_b15_no_prediction_at_all_is_a_valid_result(labelbox: LabelboxStandIn) -> None:
    assert sink().send([]) == SinkOutcome(NOT_ASKED)
    assert labelbox.run_state(exports.RUN_ID)["imports"] == []


def test_a_slow_import_is_waited_for(labelbox: LabelboxStandIn) -> None:
    labelbox.set(slow_imports=True)
    assert sink().send([prediction("row1")]) == SinkOutcome(ACCEPTED, 1)


def test_an_import_that_never_ends_is_given_up_after_our_own_deadline(labelbox: LabelboxStandIn) -> None:
    labelbox.set(slow_imports=True)
    outcome = sink(deadline_s=0.0).send([prediction("row1")])
    assert outcome.state == FAILED
    assert "did not finish" in outcome.reasons[0]


def test_a_chunk_that_labelbox_gives_up_costs_its_own_rows_alone(labelbox: LabelboxStandIn) -> None:
    labelbox.set(failed_imports=1, slow_imports=True)
    outcome = sink(chunk_rows=20).send([prediction(f"row{n}") for n in range(50)])
    assert (outcome.state, outcome.sent, outcome.refused) == (PARTLY, 30, 20)
    assert outcome.reasons == ("Labelbox ended the import as FAILED (20)",)
    assert labelbox.run_state(exports.RUN_ID)["predictions"] == 30


def test_a_rate_limit_is_waited_out(labelbox: LabelboxStandIn) -> None:
    labelbox.set(rate_limit=2)
    assert sink().send([prediction("row1")]) == SinkOutcome(ACCEPTED, 1)


def test_labelbox_down_or_a_refused_key_fails_the_upload_and_not_the_job(
    labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELBOX_API_KEY", "wrong")
    outcome = bring("auto", [prediction("row1")], exports.RUN_ID, "attempt", client)
    assert (outcome.state, outcome.reasons) == (FAILED, ("Labelbox refused the API key.",))


def test_the_metadata_sink_sends_no_row(labelbox: LabelboxStandIn) -> None:
    assert bring("metadata", [prediction("row1")], exports.RUN_ID, "attempt", client).state == NOT_ASKED
    assert labelbox.run_state(exports.RUN_ID)["imports"] == []


PROJECT = "project-1"


@pytest.fixture
def labelbox_with_project(start_labelbox: StartLabelbox, tmp_path: Path) -> LabelboxStandIn:
    rows = [exports.row(f"row{n}", "text") for n in range(5)]
    return start_labelbox(exports.sample(tmp_path / "sample", rows, [QUESTION]), "--project", PROJECT)


def test_a_named_project_takes_predictions_as_pre_labels_once_and_no_metrics(
    labelbox_with_project: LabelboxStandIn,
) -> None:
    metrics = classification_metric_rows("row1", ("a",), {"a": 0.8}, {})[0]
    rows = [prediction("row1"), prediction("row2", "b"), prediction("not-in-the-project"), *metrics]
    for _ in range(2):  # a repeated upload of the same name finds the import of the first
        outcome = bring(SinkChoice("project", PROJECT), rows, exports.RUN_ID, "attempt", client)
        assert (outcome.state, outcome.sent, outcome.refused) == (PARTLY, 2, 1)
    assert "as pre-labels of project project-1" in outcome.sentence
    (made,) = labelbox_with_project.state()["projects"][PROJECT]["imports"]
    assert made["name"] == "attempt-00000"
    assert labelbox_with_project.run_state(exports.RUN_ID)["predictions"] == 0


def test_a_project_that_labelbox_does_not_know_fails_the_upload_and_not_the_job(labelbox: LabelboxStandIn) -> None:
    outcome = ProjectSink(client(), "no-such-project", "attempt").send([prediction("row1")])
    assert outcome.state == FAILED
    assert "kept in the bucket" in outcome.sentence


def test_a_pre_label_carries_no_confidence_at_any_depth() -> None:
    row = {"schemaId": "q", "confidence": 0.1, "answer": [{"schemaId": "a", "confidence": 0.2}]}
    assert without_confidence(row) == {"schemaId": "q", "answer": [{"schemaId": "a"}]}
    assert without_confidence({"answer": {"schemaId": "a", "confidence": 1}}) == {"answer": {"schemaId": "a"}}


@pytest.mark.parametrize(("sink_word", "project"), [("project", ""), ("project", "  "), ("auto", "p"), ("other", "")])
def test_sink_and_project_must_fit_together(sink_word: str, project: str) -> None:
    with pytest.raises(BadConfiguration):
        chosen_sink(Arguments({"sink": sink_word, "project": project}))
    assert chosen_sink(Arguments({"sink": "project", "project": " p "})) == SinkChoice("project", "p")
