"""Push delivery: what the endpoint gets, what counts as an answer, and what happens to everything else.

The behaviours that Google's own emulator shares run against it as well, where it is installed.
"""

import threading
import time
from itertools import pairwise

import pytest

from local.pubsub import google_emulator
from local.pubsub.google_emulator import EmulatorMissingError
from tests.local.pubsub_world import (
    PROJECT,
    Endpoint,
    World,
    endpoint,
    free_port,
    pubsub_process,
    retry,
    wait_until,
    world,
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    with pubsub_process(tmp_path_factory.mktemp("pubsub")) as process, world(process.port) as clients:
        yield clients


@pytest.fixture(scope="module")
def googles():
    try:
        emulator = google_emulator.start(free_port())
    except EmulatorMissingError as reason:
        pytest.skip(str(reason))
    with emulator, world(emulator.port) as clients:
        yield clients


@pytest.fixture(params=["ours", "googles"])
def either(request) -> World:
    """The same test against our server and against Google's emulator."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def target():
    with endpoint() as opened:
        yield opened


def test_every_subscription_gets_its_own_copy_of_a_message(either: World, target: Endpoint):
    topic = either.topic()
    names = {either.subscribe(topic, push=f"{target.origin}/{n}") for n in range(3)}
    [message_id] = either.publish(topic, b'{"a": 1}', kind="model", text="grün")
    requests = target.wait_for(3)
    assert {request.envelope["subscription"] for request in requests} == names
    for request in requests:
        message = request.envelope["message"]
        assert (request.data, message["attributes"]) == (b'{"a": 1}', {"kind": "model", "text": "grün"})
        assert message["messageId"] == message["message_id"] == message_id
        assert message["publishTime"] == message["publish_time"]


def test_a_refused_message_comes_again_until_it_is_acknowledged(either: World, target: Endpoint):
    target.answer = lambda request: 503 if len(target.requests) < 3 else 200
    topic = either.topic()
    either.subscribe(topic, push=target.origin, retry_policy=retry(0.1, 0.2))
    either.publish(topic, b"again")
    target.wait_for(3)
    either.publish(topic, b"last")
    wait_until(lambda: target.requests[-1].data == b"last")
    assert [request.data for request in target.requests] == [b"again"] * 3 + [b"last"]


def test_without_a_retry_policy_a_refused_message_comes_again_after_about_a_second(either: World, target: Endpoint):
    target.answer = lambda request: 500 if len(target.requests) < 2 else 200
    topic = either.topic()
    either.subscribe(topic, push=target.origin)
    either.publish(topic, b"again")
    first, second = target.wait_for(2)
    assert 0.5 < second.at_s - first.at_s < 3


def test_an_endpoint_that_is_down_gets_the_message_when_it_is_up(either: World):
    port = free_port()
    topic = either.topic()
    either.subscribe(topic, push=f"http://127.0.0.1:{port}/", retry_policy=retry(0.1, 0.2))
    either.publish(topic, b"early")
    with endpoint(port) as late:
        [request] = late.wait_for(1)
    assert request.data == b"early"


def test_after_the_last_attempt_the_message_goes_to_the_dead_letter_topic_unchanged(either: World, target: Endpoint):
    target.answer = lambda request: 500 if request.path == "/work" else 204
    topic, dead = either.topic(), either.topic("dead-letter")
    either.subscribe(dead, push=f"{target.origin}/dead")
    name = either.subscribe(
        topic,
        push=f"{target.origin}/work",
        retry_policy=retry(0.1, 0.1),
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5},
    )
    either.publish(topic, b"poison", run="r1")
    wait_until(lambda: [request for request in target.requests if request.path == "/dead"], timeout_s=20)
    paths = [request.path for request in target.requests]
    assert paths == ["/work"] * 5 + ["/dead"]
    first, last = target.requests[0], target.requests[-1]
    assert last.data == b"poison"
    attributes = last.envelope["message"]["attributes"]
    published = attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert attributes == {
        "run": "r1",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": name.rsplit("/", 1)[-1],
        "CloudPubSubDeadLetterSourceSubscriptionProject": "local-project",
    }
    assert published[:19] == first.envelope["message"]["publishTime"][:19]


def test_messages_of_one_ordering_key_arrive_in_order(either: World, target: Endpoint):
    refused = threading.Event()

    def once_refuse(request):
        if request.data == b"3" and not refused.is_set():
            refused.set()
            return 500
        return 200

    target.answer = once_refuse
    topic = either.topic()
    either.subscribe(topic, push=target.origin, enable_message_ordering=True, retry_policy=retry(0.1, 0.1))
    either.publish(topic, *(b"%d" % n for n in range(10)), key="run-1")
    target.wait_for(11, timeout_s=20)
    seen = [request.data for request in target.requests]
    assert [data for n, data in enumerate(seen) if data not in seen[:n]] == [b"%d" % n for n in range(10)]


# --- what only the small server promises ---


def test_the_pushed_body_is_exactly_the_real_one(ours: World, target: Endpoint):
    topic = ours.topic()
    name = ours.subscribe(topic, push=f"{target.origin}/path?x=1", enable_message_ordering=True)
    [message_id] = ours.publish(topic, b"hi", key="k", a="b")
    [request] = target.wait_for(1)
    moment = request.envelope["message"]["publishTime"]
    assert request.envelope == {
        "message": {
            "attributes": {"a": "b"},
            "data": "aGk=",
            "messageId": message_id,
            "message_id": message_id,
            "orderingKey": "k",
            "publishTime": moment,
            "publish_time": moment,
        },
        "subscription": name,
    }
    assert time.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ") and len(moment) == 24
    assert request.path == "/path?x=1"
    assert request.headers["Content-Type"] == "application/json"
    assert "APIs-Google" in request.headers["User-Agent"]
    assert "Authorization" not in request.headers


def test_a_message_of_nearly_ten_megabytes_is_pushed(ours: World, target: Endpoint):
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin)
    body = b"x" * 9_900_000
    ours.publish(topic, body)
    assert target.wait_for(1)[0].data == body


def test_empty_fields_are_left_out_of_the_pushed_body(ours: World, target: Endpoint):
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin)
    ours.publish(topic, b"", only="attributes")
    ours.publish(topic, b"only data")
    by_data, by_attributes = sorted(target.wait_for(2), key=lambda request: "attributes" in request.envelope["message"])
    shared = {"messageId", "message_id", "publishTime", "publish_time"}
    assert set(by_data.envelope["message"]) == shared | {"data"}
    assert set(by_attributes.envelope["message"]) == shared | {"attributes"}


def test_delivery_attempts_are_counted_in_the_body_beside_a_dead_letter_policy(ours: World, target: Endpoint):
    target.answer = lambda request: 500 if len(target.requests) < 3 else 200
    topic, dead = ours.topic(), ours.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    ours.subscribe(topic, push=target.origin, retry_policy=retry(0.05, 0.05), dead_letter_policy=policy)
    ours.publish(topic, b"counted")
    assert [request.envelope["deliveryAttempt"] for request in target.wait_for(3)] == [1, 2, 3]


@pytest.mark.parametrize("status", [102, 200, 201, 202, 204])
def test_these_answers_acknowledge(ours: World, target: Endpoint, status: int):
    target.answer = lambda request: status
    topic = ours.topic()
    name = ours.subscribe(topic, push=target.origin, retry_policy=retry(0.02, 0.02))
    ours.publish(topic, b"once")
    target.wait_for(1)
    ours.subscriber.modify_push_config(subscription=name, push_config={})
    assert ours.pull(name, timeout_s=0.6) == []
    assert len(target.requests) == 1


@pytest.mark.parametrize("status", [203, 206, 302, 400, 401, 404, 409, 429, 500, 503])
def test_every_other_answer_refuses(ours: World, target: Endpoint, status: int):
    target.answer = lambda request: status if len(target.requests) < 2 else 200
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin, retry_policy=retry(0.02, 0.02))
    ours.publish(topic, b"twice")
    assert [request.data for request in target.wait_for(2)] == [b"twice"] * 2


def test_the_backoff_doubles_from_its_minimum_to_its_maximum(ours: World, target: Endpoint):
    target.answer = lambda request: 500 if len(target.requests) < 6 else 200
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin, retry_policy=retry(0.1, 0.4))
    ours.publish(topic, b"slower")
    moments = [request.at_s for request in target.wait_for(6)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    for gap, expected in zip(gaps, [0.1, 0.2, 0.4, 0.4, 0.4], strict=True):
        assert expected - 0.01 <= gap < expected + 0.5


def test_a_hanging_endpoint_does_not_hold_up_other_subscriptions(ours: World, target: Endpoint):
    release = threading.Event()
    with endpoint() as hanging:
        hanging.answer = lambda request: 200 if release.wait(20) else 500
        topic = ours.topic()
        ours.subscribe(topic, push=hanging.origin)
        ours.subscribe(topic, push=target.origin)
        ours.publish(topic, *(b"%d" % n for n in range(40)))
        target.wait_for(40)
        assert len(hanging.requests) <= 16
        release.set()
        hanging.wait_for(40)


def test_a_filter_lets_only_matching_messages_through(ours: World, target: Endpoint):
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin, filter='attributes.kind = "end" AND NOT hasPrefix(attributes.run, "x")')
    for kind, run in [("start", "a"), ("end", "xa"), ("end", "a")]:
        ours.publish(topic, f"{kind} {run}".encode(), kind=kind, run=run)
    ours.publish(topic, b"marker", kind="end", run="last")
    assert [request.data for request in target.wait_for(2)] == [b"end a", b"marker"]


def test_an_unwrapped_push_is_the_data_alone_with_metadata_as_headers_on_request(ours: World, target: Endpoint):
    topic = ours.topic()
    plain = ours.subscribe(topic, push=f"{target.origin}/plain", push_config={"no_wrapper": {}})
    ours.subscribe(topic, push=f"{target.origin}/meta", push_config={"no_wrapper": {"write_metadata": True}})
    [message_id] = ours.publish(topic, b"\x00raw", kind="k")
    requests = {request.path: request for request in target.wait_for(2)}
    assert requests["/plain"].body == requests["/meta"].body == b"\x00raw"
    assert "X-Goog-Pubsub-Message-Id" not in requests["/plain"].headers
    assert requests["/meta"].headers["X-Goog-Pubsub-Message-Id"] == message_id
    assert requests["/meta"].headers["kind"] == "k"
    assert plain.startswith(PROJECT)


def test_a_dead_letter_topic_that_is_gone_keeps_the_message_with_its_subscription(ours: World, target: Endpoint):
    target.answer = lambda request: 500
    topic, dead = ours.topic(), ours.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = ours.subscribe(topic, push=target.origin, retry_policy=retry(0.02, 0.02), dead_letter_policy=policy)
    ours.publisher.delete_topic(topic=dead)
    ours.publish(topic, b"kept")
    attempts = [request.envelope["deliveryAttempt"] for request in target.wait_for(7)]
    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    ours.subscriber.delete_subscription(subscription=name)


def test_a_deleted_subscription_gets_nothing_more(ours: World, target: Endpoint):
    target.answer = lambda request: 500
    topic = ours.topic()
    gone = ours.subscribe(topic, push=f"{target.origin}/gone", retry_policy=retry(0.1, 0.1))
    ours.subscribe(topic, push=f"{target.origin}/stays", retry_policy=retry(0.1, 0.1))
    ours.publish(topic, b"x")
    wait_until(lambda: any(request.path == "/gone" for request in target.requests))
    ours.subscriber.delete_subscription(subscription=gone)
    before = len([request for request in target.requests if request.path == "/gone"])
    wait_until(lambda: len([request for request in target.requests if request.path == "/stays"]) > 5)
    assert len([request for request in target.requests if request.path == "/gone"]) <= before + 1
    target.answer = lambda request: 200


def test_a_message_reaches_its_endpoint_within_milliseconds(ours: World, target: Endpoint):
    topic = ours.topic()
    ours.subscribe(topic, push=target.origin)
    delays = []
    for n in range(30):
        started = time.time()
        ours.publish(topic, b"quick")
        delays.append(target.wait_for(n + 1)[-1].at_s - started)
    # The promise is 20 ms on an idle machine, the client's own batching of 10 ms included; here others compute too.
    assert sorted(delays)[15] < 0.08


def test_googles_emulator_is_found_beside_the_gcloud_in_use(monkeypatch, tmp_path):
    jar = tmp_path / "sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-9.9.9-all.jar"
    for program in (tmp_path / "bin/java", tmp_path / "sdk/bin/gcloud", jar):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)
    (tmp_path / "bin/gcloud").symlink_to(tmp_path / "sdk/bin/gcloud")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CLOUDSDK_ROOT_DIR", raising=False)
    assert google_emulator.find_emulator() == (str(tmp_path / "bin/java"), jar)


def test_the_emulators_absence_is_told_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorMissingError, match="needs Java"):
        google_emulator.start(free_port())
