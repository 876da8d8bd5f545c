"""The orchestrator's ports over the wire: the real clients against Cloud Storage's and Pub/Sub's stand-ins."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local.processes import free_port
from orchestrator.errors import Unavailable
from orchestrator.facts import Claimed, Finished
from orchestrator.identities import RunId
from orchestrator.ledger import Ledger
from orchestrator.messages import PubSub
from orchestrator.storage import Bucket

RUN = RunId("mr-1", 1)


def test_of_sixteen_writers_of_one_fact_one_wins(bucket_name: str) -> None:
    bucket = Bucket(bucket_name, 20.0)
    ledgers = [Ledger(bucket, f"writer-{number}") for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda ledger: ledger.record(RUN, Claimed("etl", "export", 1, claim=1)), ledgers))
    assert won.count(True) == 1


def test_writing_one_s_own_fact_again_is_a_success(bucket_name: str) -> None:
    ledger = Ledger(Bucket(bucket_name, 20.0), "me")
    assert ledger.record(RUN, Finished("COMPLETE"))
    assert ledger.record(RUN, Finished("COMPLETE"))
    assert not Ledger(Bucket(bucket_name, 20.0), "other").record(RUN, Finished("FAILED"))


def test_a_run_s_numbers_markers_and_times_come_from_the_bucket(bucket_name: str) -> None:
    ledger = Ledger(Bucket(bucket_name, 20.0), "me")
    assert ledger.newest_number("mr-1") == 0 and ledger.load(RUN) is None
    for number in (1, 2, 10):
        ledger.record(RunId("mr-1", number), Finished("COMPLETE"))
        ledger.mark_active(RunId("mr-1", number))
    ledger.mark_look(RunId("mr-1", 2))
    assert ledger.newest_number("mr-1") == 10
    markers = ledger.active()
    assert [marker.run.number for marker in markers] == [1, 2, 10]
    assert [marker.look for marker in markers] == [False, True, False]
    ledger.unmark_active(RunId("mr-1", 2))
    ledger.unmark_active(RunId("mr-1", 2))
    assert [marker.run.number for marker in ledger.active()] == [1, 10]
    assert ledger.has(RUN, Finished.path) and not ledger.has(RUN, "accepted.json")
    assert abs(markers[0].created.timestamp() - time.time()) < 120


def test_a_bucket_that_does_not_answer_is_unavailable_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    bucket = Bucket("bucket", 2.0)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        bucket.create("facts/x", b"{}")
    assert time.monotonic() - began < 10


def test_a_published_message_arrives_and_a_missing_topic_is_unavailable(
    pubsub_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_host)
    with grpc.insecure_channel(pubsub_host) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        topic, subscription = "projects/p/topics/test-etl", "projects/p/subscriptions/test-etl"
        publisher.create_topic(request={"name": topic})
        subscriber.create_subscription(request={"name": subscription, "topic": topic})
        port = PubSub(lambda name: f"projects/p/topics/test-{name}", 5.0)
        port.publish("etl", b"{}")
        pulled = subscriber.pull(request={"subscription": subscription, "max_messages": 1}, timeout=10)
        assert [item.message.data for item in pulled.received_messages] == [b"{}"]
        with pytest.raises(Unavailable):
            port.publish("nothing", b"{}")
        port.close()


def test_a_pubsub_that_is_down_is_unavailable_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    port = PubSub(lambda name: f"projects/p/topics/{name}", 2.0)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        port.publish("etl", b"{}")
    assert time.monotonic() - began < 10
    port.close()
