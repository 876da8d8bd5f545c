"""Cloud Storage on this machine keeps what the ledger is built on: create-only writes, files that last, and events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.pubsub_v1 import types

from local import deployment
from local.deployment import Topics
from local.gcs import StorageServer
from local.processes import Process, free_port


def bucket_of(server: StorageServer, name: str) -> storage.Bucket:
    server.create_bucket(name)
    options = {"api_endpoint": server.host}
    return storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options).bucket(name)


def test_of_sixteen_writers_of_one_new_object_one_wins(storage_server: StorageServer) -> None:
    bucket = bucket_of(storage_server, "writers")

    def write(number: int) -> bool:
        try:
            bucket.blob("fact.json").upload_from_string(str(number), if_generation_match=0)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert bucket.blob("fact.json").download_as_text() == str(won.index(True))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_objects_outlive_the_server(tmp_path: Path, end: str) -> None:
    server = StorageServer(tmp_path / "buckets")
    with server:
        bucket = bucket_of(server, "lasting")
        bucket.blob("a/b.json").upload_from_string("{}", content_type="application/json", if_generation_match=0)
        server.stop() if end == "stop" else server.process.kill()
        server.start()
        found = bucket.get_blob("a/b.json")
        assert found is not None
        assert found.content_type == "application/json"
        assert found.download_as_bytes() == b"{}"
        with pytest.raises(PreconditionFailed):
            bucket.blob("a/b.json").upload_from_string("other", if_generation_match=0)


def test_an_object_is_a_file_that_a_person_can_open(tmp_path: Path) -> None:
    with StorageServer(tmp_path / "buckets") as server:
        bucket_of(server, "open").blob("data/run/report.html").upload_from_string("<p>hello</p>")
        assert (tmp_path / "buckets" / "open" / "data" / "run" / "report.html").read_text() == "<p>hello</p>"


def test_making_a_bucket_is_safe_to_repeat(storage_server: StorageServer) -> None:
    bucket = bucket_of(storage_server, "repeated")
    bucket.blob("kept").upload_from_string("1")
    storage_server.create_bucket("repeated")
    assert bucket.blob("kept").download_as_bytes() == b"1"


@pytest.fixture
def pubsub_host(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    ready = tmp_path / "ready.json"
    argv = [sys.executable, "-m", "local.pubsub", "--port", str(port), "--state-dir", str(tmp_path / "pubsub")]
    process = Process("pubsub", [*argv, "--ready-file", str(ready)], {}, tmp_path / "log", tmp_path, port=port)
    process.start()
    process.wait_ready(ready.exists, 30)
    yield f"127.0.0.1:{port}"
    process.stop()


def test_a_new_object_is_told_to_pubsub_as_cloud_storage_does_and_a_deletion_is_not(
    tmp_path: Path, pubsub_host: str, eventually: Callable[..., object]
) -> None:
    topics = Topics(pubsub_host)
    topics.lay_out(dict.fromkeys(deployment.FUNCTIONS, "http://127.0.0.1:9"))
    subscription = f"projects/{deployment.PROJECT}/subscriptions/test-pull"
    topic = deployment.topic_path(deployment.STORAGE_EVENTS)
    topics.subscriber.create_subscription(request=types.Subscription(name=subscription, topic=topic))
    got: list[types.PubsubMessage] = []

    def pull() -> bool:
        answer = topics.subscriber.pull(request={"subscription": subscription, "max_messages": 10}, timeout=10)
        got.extend(item.message for item in answer.received_messages)
        if acks := [item.ack_id for item in answer.received_messages]:
            topics.subscriber.acknowledge(request={"subscription": subscription, "ack_ids": acks})
        return any(message.attributes["objectId"] == "endings/last" for message in got)

    events = {"events_project": deployment.PROJECT, "events_topic": deployment.topic_id(deployment.STORAGE_EVENTS)}
    with StorageServer(tmp_path / "buckets", pubsub_host=pubsub_host, **events) as server:
        bucket = bucket_of(server, "eventful")
        bucket.blob("endings/first").upload_from_string("1")
        bucket.blob("endings/first").delete()
        with pytest.raises(NotFound):
            bucket.blob("endings/first").download_as_bytes()
        bucket.blob("endings/last").upload_from_string("2")
        eventually(pull, "the notification of the last object")
    topics.close()
    seen = {(message.attributes["eventType"], message.attributes["objectId"]) for message in got}
    assert seen == {("OBJECT_FINALIZE", "endings/first"), ("OBJECT_FINALIZE", "endings/last")}
    for message in got:
        assert message.attributes["bucketId"] == "eventful"
        assert message.attributes["payloadFormat"] == "JSON_API_V1"
        assert message.attributes["objectGeneration"].isdigit()
