"""The local deployment is laid out as Terraform lays out a real one, and its clock ticks as Cloud Scheduler does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.pubsub_v1 import types

from local import deployment
from local.deployment import Clock, Topics
from local.functions import Endpoints, function_environment
from local.processes import Process, free_port
from orchestrator.settings import Settings

ORIGINS = {name: f"http://127.0.0.1:{9000 + place}" for place, name in enumerate(deployment.FUNCTIONS)}


@pytest.fixture
def topics(tmp_path: Path) -> Iterator[Topics]:
    port = free_port()
    ready = tmp_path / "ready.json"
    argv = [sys.executable, "-m", "local.pubsub", "--port", str(port), "--state-dir", str(tmp_path / "pubsub")]
    process = Process("pubsub", [*argv, "--ready-file", str(ready)], {}, tmp_path / "log", tmp_path, port=port)
    process.start()
    process.wait_ready(ready.exists, 30)
    connected = Topics(f"127.0.0.1:{port}")
    yield connected
    connected.close()
    process.stop()


def subscriptions(topics: Topics) -> dict[str, types.Subscription]:
    listed = topics.subscriber.list_subscriptions(request={"project": f"projects/{deployment.PROJECT}"})
    return {item.name.rpartition("/")[2]: item for item in listed}


def test_each_function_but_the_coordinator_is_woken_by_a_push_subscription(topics: Topics) -> None:
    topics.lay_out(ORIGINS)
    found = subscriptions(topics)
    expected = {f"local-{name}-push": function for name, function in deployment.HANDLERS.items()}
    assert found.keys() == {*expected, "local-storage-push"}
    for name, function in {**expected, "local-storage-push": "job_state"}.items():
        push = found[name].push_config
        assert push.push_endpoint == ORIGINS[function] + "/"
        assert push.oidc_token.audience == ORIGINS[function]
        assert found[name].ack_deadline_seconds == 10
        assert found[name].retry_policy.minimum_backoff.total_seconds() == 1


def test_every_message_that_fails_twenty_times_is_kept_and_a_dead_one_does_not_go_round(topics: Topics) -> None:
    topics.lay_out(ORIGINS)
    for name, subscription in subscriptions(topics).items():
        if name == "local-dead-letter-push":
            assert subscription.dead_letter_policy.dead_letter_topic == ""
        else:
            assert subscription.dead_letter_policy.dead_letter_topic.endswith("/topics/local-dead-letter")
            assert subscription.dead_letter_policy.max_delivery_attempts == 20


def test_duplicate_doubles_every_subscription(topics: Topics) -> None:
    topics.lay_out(ORIGINS, duplicate=True)
    found = subscriptions(topics)
    assert found.keys() == {
        f"local-{name}-push{again}" for name in (*deployment.HANDLERS, "storage") for again in ("", "-again")
    }


def test_the_clock_sends_the_reconcile_tick_until_it_is_stopped(
    topics: Topics, eventually: Callable[..., object]
) -> None:
    topics.lay_out(ORIGINS)
    name = f"projects/{deployment.PROJECT}/subscriptions/test-pull"
    topics.subscriber.create_subscription(
        request=types.Subscription(name=name, topic=deployment.topic_path("job-state"))
    )
    ticks: list[types.PubsubMessage] = []

    def pull() -> int:
        answer = topics.subscriber.pull(request={"subscription": name, "max_messages": 10}, timeout=10)
        ticks.extend(item.message for item in answer.received_messages)
        if acks := [item.ack_id for item in answer.received_messages]:
            topics.subscriber.acknowledge(request={"subscription": name, "ack_ids": acks})
        return len(ticks) >= 3

    clock = Clock(topics, period_s=0.1)
    clock.start()
    eventually(pull, "three ticks")
    clock.stop()
    clock.stop()
    assert {(json.dumps(json.loads(tick.data)), tick.attributes["kind"]) for tick in ticks} == {
        ('{"version": 1, "kind": "reconcile"}', "reconcile")
    }


def test_the_functions_environment_is_whole_and_its_time_chain_holds() -> None:
    endpoints = Endpoints("http://s", "p", "http://v", "http://m", "http://l/graphql", "http://r")
    settings = Settings.from_environment(function_environment(endpoints, reconcile_period_s=3))
    assert settings.ack_deadline_s == deployment.ACK_DEADLINE_S
    assert settings.topic("job-state") == deployment.topic_path("job-state")
    # A claim that is held by a dead handler must not use up the deliveries of the message that takes it over.
    assert settings.claim_hold_s / deployment.MINIMUM_BACKOFF_S <= deployment.MAX_DELIVERY_ATTEMPTS
