"""The doctor finds each planted fault, names its remedy, and finds nothing in a healthy deployment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local.cloud import EmbeddedCloud
from local.deployment import PROJECT
from local.processes import free_port
from ops.check import Finding, examine
from ops.checks import TOPICS
from ops.deployment import Deployment
from ops.diagnosis import CHECKS
from ops.topics import PubSubTopics
from orchestrator.secret_store import SecretManagerReader
from orchestrator.services import Services
from tests.functions.world import World
from tests.ops.google_stand_in import google
from tests.ops.operators import Commands, CommandsFor, deployment_of


def finding(deployment: Deployment, name: str) -> Finding:
    return examine(deployment, next(check for check in CHECKS if check.name == name))


def with_settings(deployment: Deployment, **changes: Any) -> Deployment:
    """The same deployment, believed to be set up otherwise."""
    settings = replace(deployment.settings, **changes)

    def reader(secret_id: str) -> SecretManagerReader:
        return SecretManagerReader(PROJECT, secret_id, settings.secret_manager_endpoint, settings.call_deadline_s)

    return replace(deployment, services=Services.from_settings(settings), secret_reader=reader)


def test_a_healthy_deployment_has_no_fault(deployment: Deployment, commands_for: CommandsFor) -> None:
    answer = commands_for(deployment)("doctor", "--json")
    checks = answer.json["checks"]
    assert (answer.code, answer.json["healthy"]) == (0, True), checks
    assert {check["state"] for check in checks} == {"ok", "skipped"}
    assert [check["check"] for check in checks if check["state"] == "skipped"] == [
        *("bucket: region", "bucket: notifications", "log sink", "scheduler"),
        *("grants", "Vertex AI: quotas", "data row"),
    ]
    assert {check["seen"] for check in checks} == {"tested over the wire", "not yet seen in a real account"}
    assert not any(name.startswith("doctor/") for name in listed(deployment))


def listed(deployment: Deployment) -> list[str]:
    return [item.name for item in deployment.services.store.list("doctor/")]


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a secret without a version": (
        "Labelbox API key: secret",
        {"labelbox_api_key_secret": "no-such"},
        "gcloud secrets versions add no-such",
    ),
    "a signing secret that nobody made": (
        "signing secret",
        {"service_secret_secret": "none-either"},
        "gcloud secrets versions add none-either",
    ),
    "Secret Manager that does not answer": (
        "signing secret",
        {"secret_manager_endpoint": "http://127.0.0.1:9"},
        "may your account use it",
    ),
    "a bucket that is not there": ("bucket", {"bucket": "no-such-bucket"}, "--bucket"),
    "Vertex AI that does not answer": ("Vertex AI", {"vertex_endpoint": "http://127.0.0.1:9"}, "API enabled"),
    "topics that are not there": ("topics", {"deployment_name": "other"}, "terraform apply"),
    "subscriptions that are not there": ("subscriptions", {"deployment_name": "other"}, "terraform apply"),
    "another ack deadline than the functions count on": ("subscriptions", {"ack_deadline_s": 90.0}, "terraform apply"),
    "a key that Labelbox does not take": (
        "Labelbox API key: accepted",
        {"labelbox_api_key": "wrong"},
        "make a key in Labelbox",
    ),
    "a Labelbox that does not answer": (
        "Labelbox API key: accepted",
        {"labelbox_endpoint": "http://127.0.0.1:9/graphql"},
        "LABELBOX_ENDPOINT",
    ),
    "another signing secret than the functions'": ("coordinator", {"service_secret": "other"}, "another secret"),
    "defaults beyond the limits": ("settings", {"allowed_machines": ("e2-standard-4",)}, "raise the limit"),
    "a budget beyond the limits": ("settings", {"max_automl_milli_node_hours": 1000}, "raise the limit"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_with_its_remedy(deployment: Deployment, fault: str) -> None:
    name, changes, remedy = FAULTS[fault]
    assert finding(deployment, name).state == "ok"
    found = finding(with_settings(deployment, **changes), name)
    assert found.state == "failed" and found.detail, found
    assert remedy in found.remedy, found


def test_a_fault_makes_the_command_fail_and_show_what_to_do(deployment: Deployment, commands_for: CommandsFor) -> None:
    answer = commands_for(with_settings(deployment, bucket="no-such-bucket"))("doctor")
    assert answer.code == 1
    assert "bucket: There is no bucket no-such-bucket" in answer.out and "What to do: name the right one" in answer.out


def test_a_disabled_secret_is_found(cloud: EmbeddedCloud, deployment: Deployment) -> None:
    file = cloud.state.path / "secrets.json"
    whole = file.read_text()
    secrets = json.loads(whole)
    try:
        file.write_text(json.dumps({**secrets, "local-service-secret": [{"value": "x", "state": "DISABLED"}]}))
        found = finding(deployment, "signing secret")
    finally:
        file.write_text(whole)
    assert found.state == "failed", found


def test_a_coordinator_that_is_down_or_is_another_is_found(deployment: Deployment) -> None:
    nowhere = replace(deployment, find_coordinator=lambda: f"http://127.0.0.1:{free_port()}")
    found = finding(nowhere, "coordinator")
    assert found.state == "failed" and "--coordinator-url" in found.remedy
    with google() as (stand_in, _):
        stand_in.says("GET", "models", {"everything": {}})
        found = finding(replace(deployment, find_coordinator=lambda: stand_in.url), "coordinator")
        assert found.state == "failed" and "takes a wrong signature" in found.detail
        stand_in.says("GET", "models", {}, status=503)
        found = finding(replace(deployment, find_coordinator=lambda: stand_in.url), "coordinator")
        assert found.state == "failed" and "503" in found.detail


@contextmanager
def laid_out(pubsub_host: str, name: str) -> Iterator[tuple[PublisherClient, SubscriberClient]]:
    """Topics and subscriptions of a deployment of this name, whole and right."""
    with grpc.insecure_channel(pubsub_host) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        for topic in TOPICS:
            publisher.create_topic(request={"name": f"projects/{PROJECT}/topics/{name}-{topic}"})
        for topic in TOPICS:
            subscriber.create_subscription(request=subscription(name, topic))
        yield publisher, subscriber


def subscription(name: str, topic: str, **changes: Any) -> types.Subscription:
    dead = types.DeadLetterPolicy(
        dead_letter_topic=f"projects/{PROJECT}/topics/{name}-dead-letter", max_delivery_attempts=20
    )
    usual = {
        "topic": f"projects/{PROJECT}/topics/{name}-{topic}",
        "push_config": types.PushConfig(push_endpoint="http://127.0.0.1:9/"),
        "ack_deadline_seconds": 10,
        "dead_letter_policy": None if topic == "dead-letter" else dead,
    }
    return types.Subscription(name=f"projects/{PROJECT}/subscriptions/{name}-{topic}-push", **{**usual, **changes})


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({}, ""),
        ({"dead_letter_policy": None}, "etl-push has no dead letters"),
        ({"push_config": types.PushConfig()}, "etl-push does not push"),
        ({"ack_deadline_seconds": 60}, "etl-push has an ack deadline of 60 s"),
    ],
)
def test_a_subscription_that_lost_something_is_found(
    cloud: EmbeddedCloud, deployment: Deployment, change: dict[str, Any], detail: str
) -> None:
    name = f"planted-{len(change and detail)}"
    believed = with_settings(deployment, deployment_name=name)
    with laid_out(cloud.pubsub.host, name) as (_, subscriber):
        assert finding(believed, "subscriptions").state == "ok"
        if change:
            subscriber.delete_subscription(
                request={"subscription": f"projects/{PROJECT}/subscriptions/{name}-etl-push"}
            )
            subscriber.create_subscription(request=subscription(name, "etl", **change))
            found = finding(believed, "subscriptions")
            assert (found.state, found.detail.startswith(f"{name}-{detail}")) == ("failed", True), found


def test_a_topic_that_was_deleted_is_found(cloud: EmbeddedCloud, deployment: Deployment) -> None:
    believed = with_settings(deployment, deployment_name="halved")
    with laid_out(cloud.pubsub.host, "halved") as (publisher, _):
        publisher.delete_topic(request={"topic": f"projects/{PROJECT}/topics/halved-train"})
        assert finding(believed, "topics").detail == f"Missing: projects/{PROJECT}/topics/halved-train"
        assert "halved-train-push is of topic" in finding(believed, "subscriptions").detail


def test_pubsub_that_does_not_answer_is_found(deployment: Deployment) -> None:
    topics = PubSubTopics(f"127.0.0.1:{free_port()}")
    found = finding(replace(deployment, topics=topics), "topics")
    topics.close()
    assert found.state == "failed" and "Pub/Sub did not" in found.detail


PARENT = "projects/local-project/locations/us-central1"
SINK = {"destination": "pubsub.googleapis.com/projects/local-project/topics/test-job-state"}
NOTIFICATIONS = [
    {"topic": "//pubsub.googleapis.com/projects/local-project/topics/test-job-state", "object_name_prefix": prefix}
    for prefix in ("endings/", "batch/")
]
IN_THE_CLOUD: dict[str, tuple[str, Any]] = {
    "scheduler": (f"v1/{PARENT}/jobs/test-reconcile", {"state": "ENABLED", "schedule": "* * * * *"}),
    "log sink": ("v2/projects/local-project/sinks/test-job-ends", SINK),
    "bucket: notifications": ("storage/v1/b/bucket/notificationConfigs", {"items": NOTIFICATIONS}),
    "bucket: region": ("storage/v1/b/bucket?fields=location", {"location": "US-CENTRAL1"}),
}


@pytest.mark.parametrize(
    ("check", "wrong", "detail"),
    [
        ("scheduler", None, "There is no scheduler job test-reconcile"),
        ("scheduler", {"state": "PAUSED"}, "The reconcile tick is PAUSED"),
        ("log sink", None, "The log sink test-job-ends is missing"),
        ("log sink", {**SINK, "disabled": True}, "is disabled"),
        ("log sink", {"destination": "elsewhere"}, "goes elsewhere"),
        ("bucket: notifications", {}, "does not announce batch/, endings/"),
        ("bucket: notifications", {"items": NOTIFICATIONS[:1]}, "does not announce batch/"),
        ("bucket: region", None, "There is no bucket bucket"),
        ("bucket: region", {"location": "EU"}, "Bucket bucket is in EU"),
    ],
)
def test_what_only_the_cloud_has_is_looked_at_there(world: World, check: str, wrong: Any, detail: str) -> None:
    with google() as (stand_in, rest):
        deployment = deployment_of(world, rest=rest)
        path, right = IN_THE_CLOUD[check]
        stand_in.says("GET", path, right)
        assert finding(deployment, check).state == "ok"
        if wrong is None:
            del stand_in.answers["GET", f"/{path}"]
        else:
            stand_in.says("GET", path, wrong)
        found = finding(deployment, check)
        assert found.state == "failed" and detail in found.detail and found.remedy, found
        stand_in.says("GET", path, {}, status=403)
        found = finding(deployment, check)
        assert found.state == "failed" and "403" in found.detail and "gcloud auth" in found.remedy


def test_an_image_that_was_not_built_is_found(world: World) -> None:
    with google() as (stand_in, rest):
        deployment = deployment_of(world, rest=rest)
        found = finding(deployment, "images")
        assert found.state == "failed" and "train/text_classification" in found.detail
        paths = {path for method, path, _ in stand_in.asked if method == "HEAD"}
        assert "/v2/local-project/test/train-text-classification/manifests/v1" in paths
        for path in paths:
            stand_in.says("HEAD", path.removeprefix("/"), {})
        assert finding(deployment, "images").state == "ok"


def dead(world: World) -> None:
    world.store.create("dead/m1.json", json.dumps({"data": "", "attributes": {}}).encode())


def stuck(world: World) -> None:
    world.start()
    job = next(iter(world.jobs.by_name))
    del world.jobs.by_name[job]
    world.clock.advance(7200)


@pytest.mark.parametrize(
    ("happen", "check", "remedy"), [(dead, "dead letters", "replay"), (stuck, "runs", "job-state function's logs")]
)
def test_what_nobody_noticed_is_found(world: World, happen: Callable[[World], None], check: str, remedy: str) -> None:
    deployment = deployment_of(world)
    assert finding(deployment, check).state == "ok"
    happen(world)
    found = finding(deployment, check)
    assert found.state == "failed" and remedy in found.remedy


def test_a_run_that_waits_for_its_job_is_not_stuck(world: World, ops: Commands) -> None:
    world.start()
    world.clock.advance(86400)
    assert finding(deployment_of(world), "runs").state == "ok"


def test_every_check_says_how_far_it_is_proven() -> None:
    assert len(CHECKS) == len({check.name for check in CHECKS}) >= 10
    assert {check.seen for check in CHECKS} == {"tested over the wire", "not yet seen in a real account"}
