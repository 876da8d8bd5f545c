"""A model run goes from the signed request to predictions, metrics and COMPLETE, whatever comes twice, late or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from local.cloud import SERVICE_SECRET, CloudOptions
from local.deployment import FUNCTIONS
from local.functions import ROOT
from local.pubsub.google_emulator import EmulatorMissingError, find_emulator
from local.run_view import RUNNING, RunView
from tests.end_to_end.cloud_runs import TEXT, CloudRun, assert_told_in_order, cloud_run

DATA_ROWS = {
    json.loads(line)["data_row"]["id"]
    for line in (ROOT / "samples" / TEXT / "export.ndjson").read_text(encoding="utf-8").splitlines()
}


def assert_complete(run: CloudRun, view: RunView) -> None:
    """COMPLETE, told in order, and each attempt of each job is one Vertex job that succeeded."""
    assert (view.outcome, view.sentence) == ("COMPLETE", "")
    assert [(job.state, job.attempts) for job in view.jobs] == [("SUCCEEDED", 1)] * 3
    assert_told_in_order(run.labelbox().statuses)
    states = run.jobs_by_attempt()
    assert list(states.values()) == [["JOB_STATE_SUCCEEDED"]] * 3, states
    assert view.metrics()["accuracy"] >= 0.8


def test_every_row_gets_a_prediction_with_confidence_and_labelbox_is_told_in_order(tmp_path: Path) -> None:
    with cloud_run(tmp_path) as run:
        answer = run.start()
        again = run.request.send(run.cloud.origin, SERVICE_SECRET)
        assert again["runId"] == answer["runId"]
        assert_complete(run, run.finish())
        rows = run.sent_rows()
        predictions = [row for row in rows if "metricValue" not in row]
        assert {row["dataRow"]["id"] for row in predictions} == DATA_ROWS
        answers = [row.get("answer") or row["answers"][0] for row in predictions]
        assert all(0 < answer["confidence"] <= 1 for answer in answers)
        assert any("metricValue" in row for row in rows)
        assert run.labelbox().prediction_rows == len(DATA_ROWS)
        assert run.labelbox().error_message == ""


def test_messages_that_come_twice_and_a_labelbox_that_refuses_predictions_change_nothing(tmp_path: Path) -> None:
    with cloud_run(tmp_path, CloudOptions(duplicate=True, labelbox={"refuse_predictions": True})) as run:
        run.start()
        view = run.finish()
        assert_complete(run, view)
        assert (run.labelbox().predictions, run.labelbox().metrics) == (0, 0)
        # They are kept in the bucket, and Labelbox shows where and how good they are.
        kept = run.cloud.local_path(view.outputs()["inference.predict.predictions"])
        assert view.counts()["predictions"] == len(DATA_ROWS)
        assert len(kept.read_text(encoding="utf-8").splitlines()) >= len(DATA_ROWS)
        assert run.labelbox().metadata["report"] == view.outputs()["inference.predict.report"]


def test_functions_that_are_killed_while_it_trains_and_start_again_lose_and_double_nothing(
    tmp_path: Path, eventually: Callable[..., object]
) -> None:
    with cloud_run(tmp_path) as run:
        run.start()
        eventually(lambda: run.look().jobs[1].state == RUNNING, "the training runs", 90)
        for function in FUNCTIONS:
            run.cloud.kill(function)
        training = next(job for job in run.cloud.vertex_jobs() if job["name"] == run.look().jobs[1].resource)
        assert training["state"] == "JOB_STATE_RUNNING"
        for function in FUNCTIONS:
            run.cloud.restart(function)
        assert_complete(run, run.finish())


def test_a_run_through_googles_own_pubsub_emulator_ends_the_same(tmp_path: Path) -> None:
    try:
        find_emulator()
    except EmulatorMissingError as missing:
        pytest.skip(str(missing))
    with cloud_run(tmp_path, CloudOptions(google_pubsub=True)) as run:
        run.start()
        assert_complete(run, run.finish())
