"""Dead letters, from the fault to the new run: the run fails with its reason, and replay goes on where it stood."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import LaunchUnsure
from orchestrator.identities import RunId
from orchestrator.messages import StageRequested
from tests.functions.world import World
from tests.ops.operators import Commands, CommandsFor, MemoryTopics, deployment_of

FIRST, SECOND = RunId("mr-1", 1), RunId("mr-1", 2)
EXPORTED = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}


def lose_stage(world: World, stage: str) -> None:
    """Every delivery of a stage's message fails, and then it reaches the dead-letter function."""
    message = StageRequested(FIRST, stage).encode()
    create = world.jobs.create

    def broken(_request: object) -> object:
        raise RuntimeError("a bug in the request's text")

    world.jobs.create = broken  # type: ignore[method-assign,assignment]
    world.queue.messages.clear()
    for attempt in range(1, 4):
        assert world.deliver(stage, message, attempt=attempt) in (500, 503)
        world.clock.advance(400)
    world.jobs.create = create  # type: ignore[method-assign]
    source = {"CloudPubSubDeadLetterSourceSubscription": f"test-{stage}-push"}
    assert world.deliver("dead-letter", message, source) == 204


def lost_at_train(world: World) -> None:
    world.start()
    world.log_hint(world.end_job(result={"version": 1, "outputs": EXPORTED}))
    lose_stage(world, "train")


def test_a_lost_stage_is_kept_with_its_error_and_replay_goes_on_from_it_with_what_had_ended(
    world: World, ops: Commands
) -> None:
    lost_at_train(world)
    finished = world.run(FIRST).finished
    assert finished and finished.sentence == "Stage train could not be started: unexpected RuntimeError"
    (letter,) = ops("replay", "--json").json
    assert letter["reason"] == "dead letter of stage train: unexpected RuntimeError"
    assert "bug in the request" not in json.dumps(letter)  # an error's own text may carry anything
    launched = len(world.jobs.requests)

    answer = ops("replay", letter["id"], "--json")
    assert answer.json == [{"id": letter["id"], "topic": "train", "done": "goes on as mr-1.2 from train"}]
    world.pump()
    assert [request.body["labels"]["lb_run_number"] for request in world.jobs.requests[launched:]] == ["2"]
    args = world.jobs.requests[-1].body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"]
    assert "--training-file=gs://b/t" in args
    assert ops("replay", "--json").json == []

    again = ops("replay", letter["id"], "--json").json
    assert again[0]["done"] == "mr-1.1 was followed by mr-1.2: nothing to do"
    assert world.services.begin().ledger.newest_number("mr-1") == 2


def test_a_run_that_was_lost_before_its_first_job_begins_anew(world: World, ops: Commands) -> None:
    world.post({"modelRunId": "mr-1", "modelType": "text_single_classification"})
    source = {"CloudPubSubDeadLetterSourceSubscription": "test-etl-push"}
    assert world.deliver("dead-letter", StageRequested(FIRST, "etl").encode(), source) == 204
    world.queue.messages.clear()
    assert world.run(FIRST).finished and world.run(FIRST).configured is None
    assert ops("replay", "--all").code == 0
    world.pump()
    assert world.run(SECOND).attempts_of("etl", "export")[0].launched


@pytest.mark.parametrize("ending", ["complete", "cancelled"])
def test_a_run_that_needs_nothing_is_not_started_again(world: World, ops: Commands, ending: str) -> None:
    world.start()
    if ending == "complete":
        world.complete_text_run()
    else:
        assert ops("cancel", "mr-1", "--by", "ann").code == 0
        world.log_hint(world.end_job(state="CANCELLED"))
        world.pump()
    assert world.deliver("dead-letter", StageRequested(FIRST, "train").encode()) == 204
    (done,) = ops("replay", "--all", "--json").json
    assert done["done"].endswith("nothing to do")
    assert world.services.begin().ledger.newest_number("mr-1") == 1
    assert ops("replay", "--json").json == []


def test_a_message_of_a_run_under_way_is_sent_again(world: World, commands_for: CommandsFor) -> None:
    topics = MemoryTopics(world)
    ops = commands_for(deployment_of(world, topics=topics))
    world.start()
    assert world.deliver("dead-letter", StageRequested(FIRST, "train").encode()) == 204
    assert world.run(FIRST).finished is None
    (done,) = ops("replay", "--all", "--json").json
    assert done["done"] == "sent again"
    assert topics.published == [
        ("projects/local-project/topics/test-train", StageRequested(FIRST, "train").encode(), {})
    ]


def test_a_run_whose_pipeline_is_gone_stays_to_be_replayed(world: World, commands_for: CommandsFor) -> None:
    lost_at_train(world)
    deployment = deployment_of(world)
    world.services.pipelines.pop("text_single_classification")  # type: ignore[attr-defined]
    ops = commands_for(deployment)
    answer = ops("replay", "--all")
    assert answer.code == 1 and "has no pipeline text_single_classification" in answer.err
    assert len(ops("replay", "--json").json) == 1


def test_the_reason_is_the_last_trouble_whatever_it_was(world: World, ops: Commands) -> None:
    world.jobs.refuse = LaunchUnsure("Vertex did not answer a create")  # type: ignore[assignment]
    world.post({"modelRunId": "mr-1", "modelType": "text_single_classification"})
    world.queue.messages.clear()
    message = StageRequested(FIRST, "etl").encode()
    assert world.deliver("etl", message) == 503
    world.clock.advance(400)
    assert world.deliver("dead-letter", message) == 204
    (letter,) = ops("replay", "--json").json
    assert letter["reason"] == "dead letter of stage etl: Vertex did not answer a create"
