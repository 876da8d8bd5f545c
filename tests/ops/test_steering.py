"""What an operator changes: cancel, replay, clean, retry. With ports in memory; over the wire see test_in_the_cloud."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from google.cloud import aiplatform_v1

from ops.cleaning import read_age
from ops.dead_letters import dead_letters
from ops.errors import Misuse
from ops.vertex_leftovers import Leftover, _kept_for
from orchestrator.facts import CancelRequested
from orchestrator.identities import RunId
from tests.functions.world import World
from tests.ops.operators import Commands, CommandsFor, MemoryLeftovers, MemoryTopics, deployment_of

RUN = RunId("mr-1", 1)


def test_cancel_is_a_fact_a_marker_and_a_message_and_ends_the_run_with_who_and_why(world: World, ops: Commands) -> None:
    world.start()
    answer = ops("cancel", "mr-1", "--by", "ann", "--reason", "wrong question")
    assert answer.code == 0 and "ann" in answer.out
    assert f"{RUN.facts}{CancelRequested.path}" in world.store.objects
    assert RUN.look_marker in world.store.objects
    assert [(topic, json.loads(data)["kind"]) for topic, data in world.queue.messages] == [("job-state", "job_ended")]
    world.pump()
    job = next(iter(world.jobs.by_name))
    assert world.jobs.cancelled == [job]
    again = ops("cancel", "mr-1", "--by", "bob", "--json")
    assert (again.json["by"], again.json["earlier"]) == ("ann", True)
    world.log_hint(world.end_job(state="CANCELLED"))
    world.pump()
    finished = world.run(RUN).finished
    assert finished and (finished.outcome, finished.sentence) == ("FAILED", "Cancelled by ann: wrong question")
    over = ops("cancel", "mr-1")
    assert over.code == 1 and "already FAILED" in over.err


def test_a_cancel_stands_when_no_message_can_be_sent(world: World, ops: Commands) -> None:
    world.start()
    world.queue.down = True
    assert ops("cancel", "mr-1").code == 0
    assert world.run(RUN).cancel and RUN.look_marker in world.store.objects


def test_a_run_that_completed_cannot_be_cancelled(world: World, ops: Commands) -> None:
    world.start()
    world.complete_text_run()
    answer = ops("cancel", "mr-1", "--json")
    assert answer.code == 1 and "already COMPLETE" in json.loads(answer.err)["error"]
    assert world.run(RUN).cancel is None


def test_retry_refuses_what_is_under_way_complete_or_followed_by_another_run(world: World, ops: Commands) -> None:
    world.start()
    assert "still under way" in ops("retry", "mr-1").err
    world.log_hint(world.end_job(state="FAILED"))
    world.pump()
    world.start()
    answer = ops("retry", "mr-1.1")
    assert answer.code == 1 and "mr-1.2" in answer.err
    world.complete_text_run()
    answer = ops("retry", "mr-1")
    assert answer.code == 1 and "is COMPLETE" in answer.err and "ops train mr-1" in answer.err


def test_retry_from_a_stage_reuses_the_trained_model_and_launches_no_training(world: World, ops: Commands) -> None:
    world.start()
    world.complete_text_run()
    launched = len(world.jobs.requests)
    answer = ops("retry", "mr-1", "--from", "inference", "--set", "upload_min_confidence=0.5", "--json")
    assert (answer.code, answer.json["run"], answer.json["new"]) == (0, "mr-1.2", True)
    world.pump()
    requests = world.jobs.requests[launched:]
    args = requests[0].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert len(requests) == 1 and "--model=gs://b/model/" in args and "--upload-min-confidence=0.5" in args
    shown = ops("show", "mr-1", "--json").json
    assert [job["state"] for job in shown["jobs"]] == ["reused", "reused", "RUNNING"]
    assert "with what etl/export, train/fit of the run before ended with" in shown["timeline"][0]["text"]


def test_jobs_that_a_run_did_not_come_to_are_told_from_those_that_it_will(world: World, ops: Commands) -> None:
    world.start()
    assert [job["state"] for job in ops("show", "mr-1", "--json").json["jobs"]] == ["RUNNING", "waiting", "waiting"]
    world.log_hint(world.end_job(state="FAILED", error={"version": 1, "sentence": "No.", "kind": "bad_data"}))
    assert [job["state"] for job in ops("show", "mr-1", "--json").json["jobs"]] == ["FAILED", "not run", "not run"]


def test_retry_from_a_stage_refuses_what_would_not_take_effect(world: World, ops: Commands) -> None:
    world.start()
    world.complete_text_run()
    answer = ops("retry", "mr-1", "--from", "inference", "--set", "seed=3")
    assert answer.code == 1 and "seed is used by train/fit, which would not run again" in answer.err
    answer = ops("retry", "mr-1", "--from", "inference", "--set", "upload_min_confidence=7")
    assert answer.code == 1 and "upload_min_confidence must be at most 1, not 7" in answer.err
    assert "has no stage 'deploy'" in ops("retry", "mr-1", "--from", "deploy").err
    assert ops("retry", "mr-1", "--set", "seed=3").code == 2


STAGE = {"version": 1, "kind": "stage_requested", "run": "mr-1.1", "stage": "deploy"}
NOTIFICATION = {"eventType": "OBJECT_FINALIZE", "objectId": "endings/mr-1/1/a-1/7/result.json"}


def keep(world: World, name: str, subscription: str, data: bytes, attributes: dict[str, str] | None = None) -> None:
    content = {
        "version": 1,
        "reason": "dead letter",
        "published": "2026-11-23T12:00:00+00:00",
        "subscription": f"projects/local-project/subscriptions/{subscription}",
        "attributes": attributes or {},
        "data": base64.b64encode(data).decode(),
    }
    world.store.create(f"dead/{name}.json", json.dumps(content).encode())


@pytest.mark.parametrize(
    ("subscription", "data", "attributes", "topic", "run"),
    [
        ("test-etl-push", json.dumps(STAGE).encode(), {}, "etl", "mr-1.1"),
        ("test-job-state-push", b"{}", NOTIFICATION, "job-state", "mr-1.1"),
        ("test-job-state-push-again", b"not json", {}, "job-state", ""),
        ("test-dead-letter-push", json.dumps(STAGE).encode(), {}, "custom", "mr-1.1"),
        ("test-dead-letter-push", b"\xff\xfe", {}, "", ""),
        ("other-etl-push", json.dumps({**STAGE, "stage": "train"}).encode(), {}, "train", "mr-1.1"),
    ],
)
def test_a_dead_letter_s_topic_and_run_are_told_from_what_it_carries(
    world: World, subscription: str, data: bytes, attributes: dict[str, str], topic: str, run: str
) -> None:
    keep(world, "m1", subscription, data, attributes)
    (letter,) = dead_letters(deployment_of(world))
    assert (letter.topic, letter.run, letter.data) == (topic, run, data)


def test_replay_sends_a_message_as_it_was_once_and_keeps_it(world: World, commands_for: CommandsFor) -> None:
    topics = MemoryTopics(world)
    ops = commands_for(deployment_of(world, topics=topics))
    mark = {"CloudPubSubDeadLetterSourceDeliveryCount": "20"}
    keep(world, "m1", "test-job-state-push", b"{}", {**NOTIFICATION, **mark})
    keep(world, "m2", "test-etl-push", json.dumps(STAGE).encode())
    assert [letter["id"] for letter in ops("replay", "--json").json] == ["m1", "m2"]
    assert topics.published == []
    assert ops("replay", "m1").code == 0
    assert topics.published == [("projects/local-project/topics/test-job-state", b"{}", NOTIFICATION)]
    assert [letter["id"] for letter in ops("replay", "--json").json] == ["m2"]
    assert ops("replay", "--all").code == 0
    assert [topic for topic, _, _ in topics.published][1:] == ["projects/local-project/topics/test-etl"]
    assert ops("replay", "--all").out == "no dead letters\n"
    settled = ops("replay", "--settled", "--json").json
    assert [(letter["id"], letter["settled"]) for letter in settled] == [("m1", "replayed"), ("m2", "replayed")]
    assert {"dead/m1.json", "dead/m2.json"} <= set(world.store.objects)


def test_a_message_without_a_topic_can_only_be_dismissed(world: World, ops: Commands) -> None:
    keep(world, "m1", "test-dead-letter-push", b"?")
    assert ops("replay", "m1").code == 1
    assert ops("replay", "m1", "--dismiss").code == 0
    assert ops("replay", "--json").json == []
    assert ops("replay", "nope").code == 3
    assert ops("replay", "m1", "--all").code == 2
    assert ops("replay", "--dismiss").code == 2


LABELS = {"lb_deployment": "test", "lb_model_run": "mr-1", "lb_run_number": "1"}


def finished_world(world: World) -> None:
    """A complete run with data in every folder, closed, and ten days old."""
    world.start()
    for outputs in (
        {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"},
        {"model": "gs://bucket/data/mr-1/1/b/model/"},
        {"report": "gs://bucket/data/mr-1/1/c/report.html", "metrics": "gs://bucket/data/mr-1/1/c/metrics.json"},
    ):
        world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
        world.pump()
    for name in ("data/mr-1/1/a/training.jsonl", "data/mr-1/1/b/model/weights", "batch/mr-1/1/x/predictions.jsonl"):
        world.store.create(name, b"x")
    for name in ("data/mr-1/1/c/report.html", "data/mr-1/1/c/metrics.json", "images/aa", "data/mr-1/10/a/other"):
        world.store.create(name, b"x")
    for _ in range(3):
        world.clock.advance(5 * 86400 if _ == 1 else 3600)
        world.tick()
    world.clock.advance(5 * 86400)


def test_clean_shows_first_and_then_removes_data_but_no_fact_report_or_shared_image(
    world: World, commands_for: CommandsFor
) -> None:
    finished_world(world)
    dataset = Leftover("data set", "projects/p/datasets/1", world.clock.now(), LABELS)
    foreign = Leftover("data set", "projects/p/datasets/2", world.clock.now(), {**LABELS, "lb_model_run": "mr-9"})
    leftovers = MemoryLeftovers([dataset, foreign])
    ops = commands_for(deployment_of(world, leftovers=leftovers))
    before = set(world.store.objects)
    dry = ops("clean", "--older-than", "7d", "--json").json
    assert dry["removed"] is False and set(world.store.objects) == before and len(leftovers.items) == 2
    assert ops("clean", "--older-than", "7d").out.endswith("This was a dry run: add --yes to remove it.\n")
    wet = ops("clean", "--older-than", "7d", "--yes", "--json").json
    assert wet == {**dry, "removed": True}
    gone = before - set(world.store.objects)
    assert {"data/mr-1/1/a/training.jsonl", "data/mr-1/1/b/model/weights", "batch/mr-1/1/x/predictions.jsonl"} <= gone
    assert {name.split("/")[0] for name in gone} <= {"data", "endings", "batch"}
    kept = {"data/mr-1/1/c/report.html", "data/mr-1/1/c/metrics.json", "images/aa", "data/mr-1/10/a/other"}
    assert not kept & gone
    assert leftovers.items == [foreign]
    assert ops("clean", "--older-than", "7d").out == "nothing to remove\n"
    assert ops("show", "mr-1").code == 0


def test_a_model_that_someone_named_keeps_all_that_its_run_left(world: World, commands_for: CommandsFor) -> None:
    finished_world(world)
    model = Leftover("model", "projects/p/models/1", world.clock.now(), LABELS, "has the alias champion")
    dataset = Leftover("data set", "projects/p/datasets/1", world.clock.now(), LABELS)
    leftovers = MemoryLeftovers([model, dataset])
    ops = commands_for(deployment_of(world, leftovers=leftovers))
    before = set(world.store.objects)
    answer = ops("clean", "--older-than", "7d", "--yes", "--json").json
    assert answer["kept"] == [{"kind": "model", "name": "projects/p/models/1", "why": "has the alias champion"}]
    assert leftovers.items == [model, dataset] and set(world.store.objects) == before


@pytest.mark.parametrize("happen", ["under way", "young", "active"])
def test_clean_leaves_runs_that_are_not_over_for_long(world: World, ops: Commands, happen: str) -> None:
    world.start()
    if happen != "under way":
        world.complete_text_run()
    world.store.create("data/mr-1/1/a/training.jsonl", b"x")
    world.clock.advance(86400 * (1 if happen == "young" else 30))
    assert ops("clean", "--older-than", "7d", "--yes").out == "nothing to remove\n"
    assert "data/mr-1/1/a/training.jsonl" in world.store.objects


@pytest.mark.parametrize(
    ("is_version", "aliases", "deployed", "kept"),
    [
        (False, ["default"], [], ""),
        (False, ["default", "champion"], [], "has the alias champion"),
        (False, [], ["d"], "is deployed"),
        (True, [], [], ""),
        (True, ["default"], [], "has the alias default"),
        (True, ["champion"], [], "has the alias champion"),
        (True, [], ["d"], "is deployed"),
    ],
)
def test_a_model_or_version_with_an_alias_or_an_endpoint_stays(
    is_version: bool, aliases: list[str], deployed: list[str], kept: str
) -> None:
    references = [aiplatform_v1.DeployedModelRef(endpoint="e", deployed_model_id=item) for item in deployed]
    model = aiplatform_v1.Model(version_aliases=aliases, deployed_models=references)
    said = _kept_for(model, is_version=is_version)
    assert said.startswith(kept) and bool(said) == bool(kept)


@pytest.mark.parametrize(
    ("text", "age"), [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), ("8w", timedelta(weeks=8))]
)
def test_ages_are_hours_days_or_weeks(text: str, age: timedelta) -> None:
    assert read_age(text) == age


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "1y"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(Misuse):
        read_age(text)
