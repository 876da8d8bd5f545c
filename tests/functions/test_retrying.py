"""Retry from a stage: finished stages are not paid for twice."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import BadRequest
from orchestrator.identities import RunId
from orchestrator.retrying import retry_from
from tests.functions.world import World


def test_a_new_threshold_needs_no_training() -> None:
    world = World()
    run_id = world.start()
    world.complete_text_run()
    changes = {"threshold": "0.7", "upload_min_confidence": 0.5}
    following = retry_from(world.services.begin(), run_id, "inference", changes)
    world.pump()
    assert following == RunId("mr-1", 2) and len(world.jobs.requests) == 4
    args = world.jobs.requests[3].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert {"--threshold=0.7", "--upload-min-confidence=0.5", "--model=gs://b/model/", "--manifest=gs://b/m"} <= set(
        args
    )
    job = world.end_job(result={"version": 1, "outputs": {"report": "gs://b/r2"}})
    world.log_hint(job)
    run = world.run(following)
    assert run.finished and run.finished.outcome == "COMPLETE" and run.attempts.keys() == {("inference", "predict")}
    _, status, metadata, _ = world.labelbox.told[-1]
    assert status == "COMPLETE" and metadata["report"] == "gs://b/r2" and metadata["training_data_input"] == "gs://b/t"


def test_a_failed_stage_is_gone_on_from_and_taken_over_once_more() -> None:
    world = World()
    run_id = world.start()
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
    world.pump()
    world.log_hint(world.end_job(state="FAILED", error={"version": 1, "sentence": "No.", "kind": "configuration"}))
    second = retry_from(world.services.begin(), run_id, "train", {"seed": 7})
    world.pump()
    world.log_hint(world.end_job(result={"version": 1, "outputs": {"model": "gs://b/model/"}}))
    world.pump()
    world.log_hint(world.end_job(state="FAILED", error={"version": 1, "sentence": "No.", "kind": "configuration"}))
    third = retry_from(world.services.begin(), second, "inference", {})
    world.pump()
    ended = world.run(third).ended_jobs()
    assert ended["etl", "export"].outputs == outputs and ended["train", "fit"].outputs == {"model": "gs://b/model/"}
    assert world.run(third).configured.parameters["seed"] == 7  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        ("inference", {"seed": 3}, "seed is used by train/fit, which would not run again"),
        ("inference", {"nonsense": 3}, "nonsense is no parameter"),
        ("inference", {"upload_min_confidence": 7}, "upload_min_confidence must be at most 1, not 7"),
        ("train", {"seed": "many"}, "seed must be an integer, not 'many'"),
        ("train", {"trainer": "gpu", "accelerator": "none", "backbone": "nonsense"}, "backbone must be"),
        ("evaluate", {}, "no stage 'evaluate'; its stages are etl, train, inference"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused(stage: str, changes: dict[str, Any], words: str) -> None:
    world = World()
    run_id = world.start()
    with pytest.raises(BadRequest, match="is still under way"):
        retry_from(world.services.begin(), run_id, "train", {})
    world.complete_text_run()
    with pytest.raises(BadRequest, match=words):
        retry_from(world.services.begin(), run_id, stage, changes)
    assert len(world.jobs.requests) == 3
    retry_from(world.services.begin(), run_id, "train", {})
    with pytest.raises(BadRequest, match="was followed by another run"):
        retry_from(world.services.begin(), run_id, "train", {})


def test_a_stage_after_one_that_failed_cannot_be_gone_on_from() -> None:
    world = World()
    run_id = world.start()
    world.log_hint(world.end_job(state="FAILED", error={"version": 1, "sentence": "No.", "kind": "bad_data"}))
    with pytest.raises(BadRequest, match="etl/export did not end well"):
        retry_from(world.services.begin(), run_id, "train", {})
