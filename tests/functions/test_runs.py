"""A run from accepted to its end: the guarantees, with every port in memory and a clock of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import LabelboxUnavailable, LaunchRefused
from orchestrator.facts import CancelRequested, Claimed, Finished
from orchestrator.identities import AttemptRef, RunId
from orchestrator.images import ImageMissing
from orchestrator.launching import settle
from orchestrator.ledger import Ledger
from orchestrator.pipelines import SHIPPED
from tests.functions.world import Crash, World, make_pipeline

TEXT = {"modelRunId": "mr-1", "modelType": "text_single_classification"}


def test_a_run_goes_through_its_stages_to_complete() -> None:
    world = World()
    run_id = world.start()
    world.complete_text_run()
    run = world.run(run_id)
    assert run.finished and run.finished.outcome == "COMPLETE"
    assert [request.kind for request in world.jobs.requests] == ["CustomJob"] * 3
    assert world.labelbox.statuses() == ["EXPORTING_DATA", "TRAINING_MODEL", "TRAINING_MODEL", "COMPLETE"]
    _, _, metadata, error = world.labelbox.told[-1]
    assert metadata["training_data_input"] == "gs://b/t" and metadata["report"] == "gs://b/r" and error == ""


def test_outputs_of_a_job_are_arguments_of_later_ones() -> None:
    world = World()
    world.start()
    world.complete_text_run()
    args = world.jobs.requests[1].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert "--training-file=gs://b/t" in args
    assert any(arg.startswith("--ending-uri=gs://bucket/endings/mr-1/1/train-fit-1-") for arg in args)


def test_automl_and_batch_prediction_are_found_by_reconcile_alone() -> None:
    world = World()
    run_id = world.start("image_single_classification")
    outputs = {
        name: f"gs://b/{name}" for name in ("training_file", "manifest", "prediction_instances", "dataset_report")
    }
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs | {"dataset": "123"}}))
    world.pump()
    world.end_job(outputs={"model": "projects/1/locations/us-central1/models/7"})
    world.tick()
    counts = {"predicted": 7, "failed": 3}
    world.end_job(outputs={"predictions": "gs://bucket/batch/x/"}, state="PARTIALLY_SUCCEEDED", counts=counts)
    world.tick()
    world.log_hint(world.end_job(result={"version": 1, "outputs": {"report": "gs://b/r"}}))
    kinds = [request.kind for request in world.jobs.requests]
    assert kinds == ["CustomJob", "TrainingPipeline", "BatchPredictionJob", "CustomJob"]
    training = world.jobs.requests[1].body
    assert training["input_data_config"]["dataset_id"] == "123"
    assert training["input_data_config"]["filter_split"]["training_filter"].endswith("ml_use=training")
    assert world.jobs.requests[2].body["model"].endswith("models/7")
    assert world.run(run_id).finished.outcome == "COMPLETE"  # type: ignore[union-attr]
    assert world.labelbox.told[-1][2]["batch_note"] == "partly succeeded: 3 of 10 failed"


@pytest.mark.parametrize("times", [2, 5])
def test_a_duplicate_message_launches_one_job(times: int) -> None:
    world = World()
    world.post(TEXT)
    world.pump(times)
    world.complete_text_run(hint_times=times, pump_times=times)
    assert len(world.jobs.requests) == 3
    assert world.labelbox.statuses()[-1] == "COMPLETE"
    assert world.labelbox.statuses().count("COMPLETE") == 1


CRASH_POINTS = [
    "configured",
    "before-claim",
    "claimed",
    "before-create",
    "created",
    "launched",
    "settled",
    "before-ended",
    "ended",
    "before-publish",
    "published",
    "before-tell",
    "told",
    "before-finished",
    "finished",
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_handler_that_dies_anywhere_loses_and_doubles_nothing(point: str) -> None:
    world = World()
    run_id = RunId("mr-1", 1)
    world.crash_at(point)
    died = False
    try:
        world.post(TEXT)
        world.pump()
        world.complete_text_run()
    except Crash:
        died = True
    assert died, f"no handler passes {point}"
    world.heal()
    for _ in range(40):
        world.clock.advance(400)
        world.tick()
        running = [job for job in world.jobs.by_name.values() if not job.terminal]
        assert len(running) <= 1
        for job in running:
            outputs = dict.fromkeys(("training_file", "manifest", "dataset_report", "model", "report"), "gs://b/x")
            world.end_job(job.name, result={"version": 1, "outputs": outputs})
    finished = world.run(run_id).finished
    assert finished and finished.outcome == "COMPLETE"
    assert len(world.jobs.by_name) == 3
    assert world.labelbox.statuses()[-1] == "COMPLETE"
    assert not [name for name in world.store.objects if name.startswith("active/")]


def test_after_a_lost_answer_nothing_is_created_again_and_takeover_adopts_the_job() -> None:
    world = World()
    world.jobs.lose_answer = True
    world.post(TEXT)
    topic, data = world.queue.messages.pop()
    assert world.deliver(topic, data) == 503
    world.jobs.lose_answer = False
    assert world.deliver(topic, data) == 503  # the claim is alive: no second create, no look
    assert len(world.jobs.by_name) == 1
    world.clock.advance(301)
    assert world.deliver(topic, data) == 204
    assert len(world.jobs.by_name) == 1
    attempt = world.run(RunId("mr-1", 1)).attempts_of("etl", "export")[0]
    assert attempt.launched and attempt.launched.adopted


def test_a_create_that_is_refused_for_quota_is_a_wait_that_labelbox_sees() -> None:
    world = World()
    world.jobs.refuse = LaunchRefused("quota exceeded", quota=True)
    run_id = world.start()
    assert world.run(run_id).finished is None
    assert "waits for quota" in world.labelbox.told[-1][2]["waiting"]
    world.tick()
    assert world.jobs.requests == []
    world.jobs.refuse = None
    world.clock.advance(121)
    world.tick()
    assert len(world.jobs.requests) == 1
    assert world.labelbox.told[-1][2]["waiting"] == ""


def test_a_wait_for_quota_ends_after_its_limit() -> None:
    world = World()
    world.jobs.refuse = LaunchRefused("quota exceeded", quota=True)
    run_id = world.start()
    for _ in range(50):
        world.clock.advance(1800)
        world.tick()
    finished = world.run(run_id).finished
    assert finished and finished.outcome == "FAILED" and "No quota" in finished.sentence
    assert world.labelbox.statuses()[-1] == "FAILED"


def test_a_create_that_is_refused_for_good_fails_the_run_with_vertex_reason() -> None:
    world = World()
    world.jobs.refuse = LaunchRefused("machine type is not supported", quota=False)
    world.start()
    assert world.labelbox.told[-1][1] == "FAILED"
    assert "machine type is not supported" in world.labelbox.told[-1][3]


@pytest.mark.parametrize(
    ("kind", "message", "jobs"),
    [
        ("transient", "", 2),
        ("bad_data", "", 1),
        ("configuration", "", 1),
        (None, "The replica was preempted", 2),
        (None, "exit 1", 1),
    ],
)
def test_a_failed_job_is_tried_again_only_if_that_can_help(kind: str | None, message: str, jobs: int) -> None:
    world = World()
    world.start()
    error = {"version": 1, "sentence": "Two classes are needed.", "kind": kind, "hint": "label more"} if kind else None
    world.log_hint(world.end_job(state="FAILED", error=error, message=message))
    world.clock.advance(61)
    world.tick()
    assert len(world.jobs.requests) == jobs


def test_attempts_are_bounded_and_the_job_s_own_sentence_reaches_labelbox() -> None:
    world = World()
    run_id = world.start()
    error = {"version": 1, "sentence": "Labelbox did not answer.", "kind": "transient", "hint": "try later"}
    for _ in range(4):
        world.end_job(state="FAILED", error=error)
        world.tick()
        world.clock.advance(1000)
        world.tick()
    assert len(world.jobs.requests) == 3
    finished = world.run(run_id).finished
    assert finished and finished.sentence == "Labelbox did not answer. (after 3 attempts)"
    assert world.labelbox.told[-1][3] == finished.sentence


def test_success_without_a_result_file_is_a_failure() -> None:
    world = World()
    world.start()
    world.log_hint(world.end_job())
    assert world.labelbox.statuses()[-1] == "FAILED"
    assert "without a result file" in world.labelbox.told[-1][3]


def test_an_error_file_under_a_succeeded_job_is_ignored() -> None:
    world = World()
    world.start()
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}, error={"version": 1, "sentence": "no"}))
    world.pump()
    assert len(world.jobs.requests) == 2


def test_a_hint_is_never_believed() -> None:
    world = World()
    run_id = world.start()
    job = next(iter(world.jobs.by_name.values()))
    folder = f"endings/mr-1/1/{job.labels['lb_attempt']}/{job.number}/"
    assert world.log_hint(job) == 503  # young: asked again
    assert world.log_hint(job, age_s=301) == 204  # old: left to reconcile
    assert world.object_hint(folder + "result.json") == 503
    assert world.object_hint("batch/mr-1/1/x/predictions_0001.jsonl") == 204
    assert world.run(run_id).attempts_of("etl", "export")[0].ended is None


def test_a_late_hint_of_a_job_that_has_ended_is_not_held_against_the_next_one() -> None:
    world = World()
    world.start()
    job = next(iter(world.jobs.by_name.values()))
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
    world.pump()
    assert world.object_hint(f"endings/mr-1/1/{job.labels['lb_attempt']}/{job.number}/result.json") == 204
    assert world.log_hint(world.jobs.by_name[job.name]) == 204


def test_a_phase_raises_the_status_and_never_lowers_it() -> None:
    world = World()
    world.start()
    job = next(iter(world.jobs.by_name.values()))
    folder = f"endings/mr-1/1/{job.labels['lb_attempt']}/{job.number}/"
    world.object_hint(folder + "phase-PREPARING_DATA.json")
    world.object_hint(folder + "phase-EXPORTING_DATA.json")
    world.object_hint(folder + "phase-COMPLETE.json")
    assert world.labelbox.statuses() == ["EXPORTING_DATA", "PREPARING_DATA"]


def test_the_end_of_a_cancelled_double_changes_nothing() -> None:
    world = World()
    run_id = world.start()
    launched = next(iter(world.jobs.by_name.values()))
    double = world.jobs.create(world.jobs.requests[0])
    world.end_job(double.name, state="CANCELLED")
    assert world.log_hint(world.jobs.by_name[double.name]) == 204
    attempt = world.run(run_id).attempts_of("etl", "export")[0]
    assert attempt.ended is None and attempt.launched and attempt.launched.name == launched.name


def test_a_running_double_is_swept_and_the_launched_job_is_not() -> None:
    world = World()
    world.start()
    double = world.jobs.create(world.jobs.requests[0])
    world.tick()
    assert world.jobs.cancelled == [double.name]


def test_a_double_of_an_ended_attempt_does_not_make_its_run_look_busy() -> None:
    world = World()
    run_id = world.start()
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
    world.pump()
    world.tick()
    world.clock.advance(600)
    double = world.jobs.create(world.jobs.requests[0])  # by a handler that was frozen before it could know
    world.end_job(list(world.jobs.by_name)[1], result={"version": 1, "outputs": {"model": "gs://b/model/"}})
    world.tick()
    assert world.jobs.cancelled == [double.name]
    world.end_job(double.name, state="CANCELLED")
    world.tick()
    assert world.run(run_id).attempts_of("train", "fit")[0].ended


def test_a_double_made_after_a_takeover_does_not_make_its_run_look_busy_however_late_the_next_tick_comes() -> None:
    world = World()
    world.crash_at("before-create")
    world.post(TEXT)
    with pytest.raises(Crash):
        world.pump()  # not dead but frozen, as will be seen
    world.heal()
    run_id = RunId("mr-1", 1)
    world.clock.advance(1000)
    world.tick()
    world.tick()
    assert len(world.jobs.requests) == 1
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.end_job(result={"version": 1, "outputs": outputs})  # and no hint of it arrives
    double = world.jobs.create(world.jobs.requests[0])  # it thaws, makes its job, and dies before it can settle
    world.clock.advance(400)  # longer than a job counts as new
    world.tick()
    assert set(world.jobs.cancelled) == {double.name}
    assert world.run(run_id).attempts_of("etl", "export")[0].ended


def test_the_look_marker_of_a_takeover_goes_once_nobody_can_thaw_any_more() -> None:
    world = World()
    world.crash_at("before-create")
    world.post(TEXT)
    with pytest.raises(Crash):
        world.pump()
    world.heal()
    world.clock.advance(400)
    world.tick()
    world.tick()
    assert RunId("mr-1", 1).look_marker in world.store.objects
    world.clock.advance(1400)
    world.tick()
    assert RunId("mr-1", 1).look_marker not in world.store.objects


def test_who_launched_a_double_cancels_it_although_lists_do_not_show_it_yet() -> None:
    world = World()
    run_id = world.start()
    world.jobs.list_lag_s = 30.0
    double = world.jobs.create(world.jobs.requests[0])
    settle(world.services.begin(), run_id, AttemptRef("etl", "export", 1), double)
    assert world.jobs.cancelled == [double.name]


def test_a_job_past_its_time_limit_is_cancelled_and_the_run_says_so() -> None:
    world = World()
    run_id = world.start()
    world.clock.advance(14401)
    world.tick()
    assert len(world.jobs.cancelled) == 1
    world.end_job(state="CANCELLED")
    world.tick()
    finished = world.run(run_id).finished
    assert finished and "longer than its limit of 14400 s" in finished.sentence
    assert world.labelbox.statuses()[-1] == "FAILED"


def test_a_cancel_stops_the_job_and_then_the_run() -> None:
    world = World()
    run_id = world.start()
    Ledger(world.store, "operator").record(run_id, CancelRequested(by="ada"))
    Ledger(world.store, "operator").mark_look(run_id)
    world.tick()
    assert len(world.jobs.cancelled) == 1 and world.run(run_id).finished is None
    world.end_job(state="CANCELLED")
    world.tick()
    assert world.labelbox.told[-1][1:] == ("FAILED", world.labelbox.told[-1][2], "Cancelled by ada")
    assert len(world.jobs.requests) == 1


def test_labelbox_down_at_the_end_is_told_later() -> None:
    world = World()
    world.start()
    world.labelbox.error = LabelboxUnavailable("down")
    world.complete_text_run()
    assert world.labelbox.statuses() == ["EXPORTING_DATA"]
    world.labelbox.error = None
    world.clock.advance(61)
    world.tick()
    assert world.labelbox.statuses() == ["EXPORTING_DATA", "COMPLETE"]


def test_handlers_woken_by_one_event_do_not_all_tell_the_same() -> None:
    world = World()
    world.start()
    other = Ledger(world.store, "another handler")
    other.record(RunId("mr-1", 1), Finished("FAILED", "It failed."))  # recorded a moment ago, and about to tell
    topic_message = json.dumps({"version": 1, "kind": "stage_requested", "run": "mr-1.1", "stage": "etl"}).encode()
    world.deliver("etl", topic_message)
    assert world.labelbox.statuses() == ["EXPORTING_DATA"]
    world.clock.advance(61)
    world.tick()
    assert world.labelbox.statuses() == ["EXPORTING_DATA", "FAILED"]


def test_a_status_that_arrived_after_the_end_is_corrected_before_the_run_is_closed() -> None:
    world = World()
    world.start()
    world.complete_text_run()
    world.clock.advance(900)
    world.tick()
    world.labelbox.told.append(("mr-1", "TRAINING_MODEL", {}, ""))  # a request frozen for three holds, thawed
    world.clock.advance(100)
    world.tick()
    assert world.labelbox.statuses()[-1] == "COMPLETE"
    world.tick()
    assert not [name for name in world.store.objects if name.startswith("active/")]


def test_an_older_run_s_failure_that_arrived_after_the_newer_one_s_is_corrected_to_the_newer_one_s_reason() -> None:
    world = World()
    run_id = world.start()
    Ledger(world.store, "operator").record(run_id, CancelRequested(by="ada"))
    Ledger(world.store, "operator").mark_look(run_id)
    world.tick()
    world.end_job(state="CANCELLED")
    world.tick()
    own = world.labelbox.told[-1]
    assert own[1] == "FAILED" and own[2]["run"] == str(run_id)
    world.labelbox.told.append(("mr-1", "FAILED", {"run": "mr-1.0"}, "etl/export failed: preempted"))
    for _ in range(2):
        world.clock.advance(1000)
        world.tick()
    assert world.labelbox.told[-1] == own
    assert not [name for name in world.store.objects if name.startswith("active/")]


def test_a_look_marker_that_a_frozen_handler_left_behind_is_taken_away() -> None:
    world = World()
    run_id = world.start()
    world.complete_text_run()
    for _ in range(2):
        world.clock.advance(1000)
        world.tick()
    assert not [name for name in world.store.objects if name.startswith("active/")]
    Ledger(world.store, "frozen").mark_look(run_id)
    world.tick()
    assert not [name for name in world.store.objects if name.startswith("active/")]


def test_an_old_hint_is_not_refused_because_another_handler_holds_the_next_claim() -> None:
    world = World()
    run_id = world.start()
    job = world.end_job(
        result={"version": 1, "outputs": {"training_file": "t", "manifest": "m", "dataset_report": "d"}}
    )
    world.log_hint(job)
    Ledger(world.store, "other").record(run_id, Claimed("train", "fit", 1, claim=1))
    assert world.log_hint(job) == 503
    assert world.log_hint(job, age_s=301) == 204


def test_an_unknown_or_bad_parameter_fails_the_run_before_anything_is_launched() -> None:
    world = World()
    world.labelbox.configs["mr-1"] = {"momentum": 3, "seed": "many", "minimumExamples": 0}
    world.start()
    assert world.jobs.requests == []
    assert world.labelbox.statuses() == ["FAILED"]
    error = world.labelbox.told[-1][3]
    assert "momentum is no parameter" in error and "seed must be an integer" in error


def test_a_parameter_of_the_config_reaches_the_job_in_either_spelling() -> None:
    for config in ({"several_labels": "first"}, {"severalLabels": "first"}):
        world = World()
        world.labelbox.configs["mr-1"] = config
        world.start()
        args = world.jobs.requests[0].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
        assert "--several-labels=first" in args


@pytest.mark.parametrize(
    ("model_type", "config", "words"),
    [
        ("text_single_classification", {"machine": "a3-megagpu-8g"}, "machine a3-megagpu-8g is not allowed"),
        ("image_single_classification", {"automl_budget_milli_node_hours": 800000}, "over this deployment's limit"),
        ("bounding_box", {"automl_budget_milli_node_hours": 8000}, "takes a budget of 20000 to 900000"),
    ],
)
def test_a_config_cannot_spend_beyond_the_deployment_s_limits(model_type: str, config: dict, words: str) -> None:
    world = World()
    world.labelbox.configs["mr-1"] = config
    world.start(model_type)
    assert world.jobs.requests == [] and words in world.labelbox.told[-1][3]


def test_a_deployment_s_labels_network_and_key_are_on_every_vertex_resource() -> None:
    world = World(resource_labels=(("team", "vision"),), job_network="projects/1/global/networks/n", kms_key_name="k")
    world.start("image_single_classification")
    names = ("training_file", "manifest", "prediction_instances", "dataset_report", "dataset")
    world.log_hint(world.end_job(result={"version": 1, "outputs": dict.fromkeys(names, "1")}))
    world.pump()
    custom_job, training = world.jobs.requests[0].body, world.jobs.requests[1].body
    for body in (custom_job, training, training["model_to_upload"]):
        assert body["labels"]["team"] == "vision" and body["labels"]["lb_attempt"]
        assert body["encryption_spec"] == {"kms_key_name": "k"}
    assert custom_job["job_spec"]["network"] == "projects/1/global/networks/n"
    args = custom_job["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert any(arg.startswith("--labels=team=vision,") for arg in args)


class Tags:
    """A registry in memory: what each tag names now."""

    def __init__(self) -> None:
        self.digest, self.missing = "sha256:" + "1" * 64, ""

    def pin(self, uri: str) -> str:
        if self.missing and self.missing in uri:
            raise ImageMissing(uri)
        return f"{uri.rsplit(':', 1)[0]}@{self.digest}"


def image_of(world: World, number: int) -> str:
    return world.jobs.requests[number].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["image_uri"]


def test_a_push_never_changes_the_images_of_a_run_under_way() -> None:
    world, tags = World(), Tags()
    world.services = replace(world.services, images=tags)
    world.start()
    tags.digest = "sha256:" + "2" * 64
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
    world.pump()
    assert [image_of(world, number).rsplit(":", 1)[1] for number in (0, 1)] == ["1" * 64, "1" * 64]
    # What will serve the model is the image that will predict with it, although that job comes later.
    args = world.jobs.requests[1].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    (serving,) = [arg for arg in args if arg.startswith("--serving-image=")]
    assert serving.endswith(f"/inference-text-classification@sha256:{'1' * 64}")
    assert {"--register-model=true", "--model-type=text_single_classification"} <= set(args)


BUILD = "(run: gcloud builds submit, with the options of Terraform's build_command"


@pytest.mark.parametrize(
    ("missing", "config", "words"),
    [
        ("train-text", {}, f"not built: train-text-classification:v1 {BUILD})"),
        ("text-classification:", {}, "etl-text-classification:v1, inference-text-classification:v1, train-text-"),
        # A build leaves the large images out unless they are named.
        ("train-text", {"trainer": "gpu"}, f"-gpu:v1 {BUILD} and _JOBS=train/text_classification/gpu)"),
    ],
)
def test_an_image_that_is_not_built_fails_the_run_with_the_command_that_builds_it(
    missing: str, config: dict, words: str
) -> None:
    world, tags = World(), Tags()
    tags.missing = missing
    world.services = replace(world.services, images=tags)
    world.labelbox.configs["mr-1"] = config
    world.start()
    assert world.jobs.requests == []
    assert words in world.labelbox.told[-1][3]


def test_an_image_of_another_registry_that_is_not_there_is_named_without_a_build_of_ours(
    tmp_path: Path,
) -> None:
    text = (SHIPPED / "text_single_classification.yaml").read_text(encoding="utf-8")
    foreign = text.replace("image: etl/text_classification", 'image: "europe-docker.pkg.dev/p/r/mine:7"')
    pipelines = make_pipeline(foreign, tmp_path, "text_single_classification")
    world, tags = World(pipelines=pipelines), Tags()
    tags.missing = "mine:7"
    world.services = replace(world.services, images=tags)
    world.start()
    assert world.jobs.requests == []
    assert "the registry has no image europe-docker.pkg.dev/p/r/mine:7" in world.labelbox.told[-1][3]


def test_runs_beyond_the_limit_of_active_ones_fail_with_the_limit_s_name() -> None:
    world = World(max_active_runs=2)
    for number in (1, 2, 3):
        world.labelbox.configs[f"mr-{number}"] = {}
        world.start(model_run_id=f"mr-{number}")
        world.clock.advance(1)
    assert len(world.jobs.requests) == 2
    assert "MAX_ACTIVE_RUNS" in world.labelbox.told[-1][3]


def test_runs_beyond_the_limit_of_a_day_fail_and_the_next_day_s_do_not() -> None:
    world = World(max_runs_per_day=1)
    for number in (1, 2, 3):
        world.labelbox.configs[f"mr-{number}"] = {}
    world.start(model_run_id="mr-1")
    world.clock.advance(1)
    world.start(model_run_id="mr-2")
    assert "MAX_RUNS_PER_DAY" in world.labelbox.told[-1][3]
    world.clock.advance(86400)
    world.start(model_run_id="mr-3")
    assert len(world.jobs.requests) == 2


def test_an_output_that_the_result_lacks_fails_the_run_and_names_it() -> None:
    world = World()
    world.start()
    world.log_hint(world.end_job(result={"version": 1, "outputs": {}}))
    world.pump()
    assert "${etl.export.training_file}" in world.labelbox.told[-1][3]


def test_a_dead_stage_message_fails_a_run_that_can_only_have_been_lost() -> None:
    world = World()
    world.post(TEXT)
    _, data = world.queue.messages.pop()
    assert world.deliver("dead-letter", data) == 204
    assert world.labelbox.statuses() == ["FAILED"]
    assert [name for name in world.store.objects if name.startswith("dead/")]


def test_a_dead_stage_message_of_a_launched_job_fails_nothing() -> None:
    world = World()
    world.post(TEXT)
    _, data = world.queue.messages[0]
    world.pump()
    assert world.deliver("dead-letter", data) == 204
    assert world.deliver("dead-letter", data) == 204
    assert world.run(RunId("mr-1", 1)).finished is None


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"version":1,"kind":"?"}', b'{"kind":"stage_requested"}'])
@pytest.mark.parametrize("topic", ["etl", "job-state", "dead-letter"])
def test_a_message_of_unknown_shape_is_kept_and_acknowledged(topic: str, data: bytes) -> None:
    world = World()
    assert world.deliver(topic, data) == 204
    assert len([name for name in world.store.objects if name.startswith("dead/")]) == 1


def test_a_message_of_a_newer_version_is_left_to_newer_code() -> None:
    world = World()
    data = json.dumps({"version": 2, "kind": "stage_requested", "run": "mr-1.1", "stage": "etl"}).encode()
    assert world.deliver("etl", data) == 503
    assert not [name for name in world.store.objects if name.startswith("dead/")]
    assert world.deliver("dead-letter", data) == 204  # after all its deliveries
    assert [name for name in world.store.objects if name.startswith("dead/")]


def test_a_newer_version_s_hint_waits_for_newer_code_and_none_of_its_messages_fails_a_run() -> None:
    world = World()
    run_id = world.start()
    hint = json.dumps({"version": 2, "kind": "job_ended", "run": str(run_id)}).encode()
    stage = json.dumps({"version": 2, "kind": "stage_requested", "run": str(run_id), "stage": "train"}).encode()
    assert world.deliver("job-state", hint) == 503
    assert [world.deliver("dead-letter", data) for data in (hint, stage)] == [204, 204]
    assert world.run(run_id).finished is None and not world.run(run_id).troubles
    world.complete_text_run()
    assert world.labelbox.statuses()[-1] == "COMPLETE"


def test_a_message_for_an_unknown_run_is_kept_and_acknowledged() -> None:
    world = World()
    data = json.dumps({"version": 1, "kind": "stage_requested", "run": "mr-9.1", "stage": "etl"}).encode()
    assert world.deliver("etl", data) == 204
    assert [name for name in world.store.objects if name.startswith("dead/")]


def test_an_old_tick_is_acknowledged_unread() -> None:
    world = World()
    world.start()
    world.end_job(result={"version": 1, "outputs": {}})
    assert world.deliver("job-state", b'{"version":1,"kind":"reconcile"}', age_s=61) == 204
    assert world.run(RunId("mr-1", 1)).attempts_of("etl", "export")[0].ended is None


def test_a_request_that_died_before_it_was_accepted_is_closed_after_an_hour() -> None:
    world = World()
    Ledger(world.store, "late").mark_active(RunId("mr-1", 1))
    world.tick()
    assert world.store.objects.keys() == {"active/mr-1.1.json"}
    world.clock.advance(3601)
    world.tick()
    world.clock.advance(1000)
    world.tick()
    assert not [name for name in world.store.objects if name.startswith("active/")]
    assert world.labelbox.told == []
    assert world.post(TEXT).content["runId"] == "mr-1.2"
