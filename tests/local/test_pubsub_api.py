"""The API over the wire: what is created, listed, changed and pulled, and which status a wrong request gets."""

import threading
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient

from tests.local.pubsub_world import PROJECT, World, duration, pubsub_process, retry, wait_until, world

BAD = exceptions.InvalidArgument


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with pubsub_process(tmp_path_factory.mktemp("pubsub")) as started:
        yield started


@pytest.fixture
def clients(process):
    with world(process.port) as opened:
        yield opened


@pytest.mark.parametrize(
    "name",
    [
        "topic",
        "projects/p/topics/",
        "projects/p/topics/ab",
        "projects/p/topics/1abc",
        "projects/p/topics/goog-x",
        "projects/p/topics/with space",
        "projects/p/topics/a/b",
        "projects/p/subscriptions/abc",
        "projects//topics/abc",
        "projects/p/topics/" + "a" * 256,
    ],
)
def test_a_topic_name_outside_the_rules_is_refused(clients: World, name: str):
    with pytest.raises(BAD):
        clients.publisher.create_topic(name=name)


def test_names_at_the_edges_of_the_rules_are_taken(clients: World):
    for ident in ("abc", "A-Za._~+%z", "a" * 255):
        path = f"projects/edge/topics/{ident}"
        assert clients.publisher.create_topic(name=path).name == path


def test_a_name_is_taken_once(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    with pytest.raises(exceptions.AlreadyExists):
        clients.publisher.create_topic(name=topic)
    with pytest.raises(exceptions.AlreadyExists):
        clients.subscriber.create_subscription(name=name, topic=topic)


MISSING_TOPIC = f"{PROJECT}/topics/missing"
MISSING = f"{PROJECT}/subscriptions/missing"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.publisher.get_topic(topic=MISSING_TOPIC),
        lambda c: c.publisher.delete_topic(topic=MISSING_TOPIC),
        lambda c: c.publisher.list_topic_subscriptions(topic=MISSING_TOPIC),
        lambda c: c.publisher.update_topic(topic={"name": MISSING_TOPIC}, update_mask=FieldMask(paths=["labels"])),
        lambda c: c.publish(MISSING_TOPIC, b"x"),
        lambda c: c.subscriber.create_subscription(name=MISSING, topic=MISSING_TOPIC),
        lambda c: c.subscribe(c.topic(), dead_letter_policy={"dead_letter_topic": MISSING_TOPIC}),
        lambda c: c.subscriber.get_subscription(subscription=MISSING),
        lambda c: c.subscriber.delete_subscription(subscription=MISSING),
        lambda c: c.subscriber.modify_push_config(subscription=MISSING, push_config={}),
        lambda c: c.pull(MISSING),
        lambda c: c.subscriber.acknowledge(subscription=MISSING, ack_ids=["bGVhc2U6MTox"]),
        lambda c: c.subscriber.modify_ack_deadline(
            subscription=MISSING, ack_ids=["bGVhc2U6MTox"], ack_deadline_seconds=10
        ),
    ],
)
def test_what_does_not_exist_is_not_found(clients: World, call):
    with pytest.raises(exceptions.NotFound):
        call(clients)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"ack_deadline_seconds": 9}, BAD),
        ({"ack_deadline_seconds": 601}, BAD),
        ({"ack_deadline_seconds": -1}, BAD),
        ({"dead_letter_policy": {"dead_letter_topic": MISSING_TOPIC, "max_delivery_attempts": 4}}, BAD),
        ({"dead_letter_policy": {"dead_letter_topic": MISSING_TOPIC, "max_delivery_attempts": 101}}, BAD),
        ({"dead_letter_policy": {"dead_letter_topic": "dead"}}, BAD),
        ({"retry_policy": retry(601, 601)}, BAD),
        ({"retry_policy": retry(0, 601)}, BAD),
        ({"retry_policy": retry(5, 4)}, BAD),
        ({"retry_policy": {"maximum_backoff": duration(9)}}, BAD),
        ({"message_retention_duration": duration(599)}, BAD),
        ({"message_retention_duration": duration(31 * 86400 + 1)}, BAD),
        ({"expiration_policy": {"ttl": duration(86399)}}, BAD),
        ({"filter": "nonsense"}, BAD),
        ({"filter": 'attributes.k = "' + "x" * 256 + '"'}, BAD),
        ({"labels": {"Upper": "x"}}, BAD),
        ({"labels": {"key": "Upper"}}, BAD),
        ({"push_config": {"push_endpoint": "ftp://host/"}}, BAD),
        ({"push_config": {"push_endpoint": "host:80"}}, BAD),
        ({"push_config": {"push_endpoint": "http://host:port/"}}, BAD),
        ({"push_config": {"push_endpoint": "http:///path"}}, BAD),
        ({"push_config": {"push_endpoint": "http://h/", "oidc_token": {"audience": "http://h"}}}, BAD),
        ({"push_config": {"oidc_token": {"service_account_email": "a@b"}}}, BAD),
        ({"enable_exactly_once_delivery": True}, exceptions.MethodNotImplemented),
        ({"bigquery_config": {"table": "p.d.t"}}, exceptions.MethodNotImplemented),
    ],
    ids=str,
)
def test_a_subscription_outside_the_rules_is_refused(clients: World, fields, status):
    with pytest.raises(status):
        clients.subscribe(clients.topic(), **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"ack_deadline_seconds": 10},
        {"ack_deadline_seconds": 600},
        {"retry_policy": retry(0, 600)},
        {"retry_policy": retry(0.1, 0.1)},
        {"retry_policy": {"minimum_backoff": duration(600)}},
        {"message_retention_duration": duration(600)},
        {"message_retention_duration": duration(31 * 86400)},
        {"expiration_policy": {}},
        {"labels": {"deployment": "local-1"}},
    ],
    ids=str,
)
def test_values_at_the_edges_of_the_rules_are_taken(clients: World, fields):
    name = clients.subscribe(clients.topic(), **fields)
    kept = pubsub_v1.types.Subscription.to_dict(clients.subscriber.get_subscription(subscription=name))
    asked = pubsub_v1.types.Subscription.to_dict(pubsub_v1.types.Subscription(**fields))
    assert {key: kept[key] for key in fields} == {key: asked[key] for key in fields}


def test_defaults_are_filled_in_as_the_service_does(clients: World):
    dead = clients.topic()
    name = clients.subscribe(clients.topic(), dead_letter_policy={"dead_letter_topic": dead})
    kept = clients.subscriber.get_subscription(subscription=name)
    assert kept.ack_deadline_seconds == 10
    assert kept.message_retention_duration.total_seconds() == 7 * 86400
    assert kept.dead_letter_policy.max_delivery_attempts == 5
    assert kept.state == pubsub_v1.types.Subscription.State.ACTIVE


def _message(**fields):
    return pubsub_v1.types.PubsubMessage(**fields)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [_message()],
        [_message(data=b"x"), _message()],
        [_message(data=b"x" * 10_000_000)],
        [_message(data=b"x" * 5_000_000)] * 2,
        [_message(data=b"x")] * 1001,
        [_message(attributes={"": "x"})],
        [_message(attributes={"google": "x"})],
        [_message(attributes={"k" * 257: "x"})],
        [_message(attributes={"k": "x" * 1025})],
        [_message(attributes={str(n): "x" for n in range(101)})],
        [_message(data=b"x", ordering_key="a"), _message(data=b"x", ordering_key="b")],
        [_message(data=b"x", ordering_key="k" * 1025)],
    ],
    ids=range(13),
)
def test_a_publish_request_outside_the_rules_is_refused_whole(clients: World, messages):
    topic = clients.topic()
    name = clients.subscribe(topic)
    with pytest.raises(BAD):
        # The plain call: the client's own batching refuses some of these before they reach the wire.
        PublisherClient(transport=clients.publisher.transport).publish(topic=topic, messages=messages)
    assert clients.pull(name, wait=False) == []


def test_large_messages_are_pulled_in_answers_that_the_client_takes(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    bodies = [bytes([n]) * 1_500_000 for n in range(4)]
    clients.publish(topic, *bodies)
    answers = [[got.message.data for got in clients.pull(name)] for _ in range(2)]
    assert [len(answer) for answer in answers] == [2, 2]
    assert {*answers[0], *answers[1]} == set(bodies)


def test_lists_come_in_pages_and_in_order(clients: World):
    project = "projects/listing"
    topics = [f"{project}/topics/t{n:03}" for n in range(25)]
    for path in topics:
        clients.publisher.create_topic(name=path)
    first = f"{project}/subscriptions/first"
    clients.subscriber.create_subscription(name=first, topic=topics[0])
    pages = clients.publisher.list_topics(request={"project": project, "page_size": 10})
    assert [len(page.topics) for page in pages.pages] == [10, 10, 5]
    assert [topic.name for topic in clients.publisher.list_topics(project=project)] == topics
    assert [each.name for each in clients.subscriber.list_subscriptions(project=project)] == [first]
    assert list(clients.publisher.list_topic_subscriptions(topic=topics[0])) == [first]
    assert list(clients.publisher.list_topic_subscriptions(topic=topics[1])) == []
    for wrong in (
        {"project": "listing"},
        {"project": project, "page_token": "ä"},
        {"project": project, "page_size": -1},
    ):
        with pytest.raises(BAD):
            clients.publisher.list_topics(request=wrong)


def test_an_update_changes_what_its_mask_names_and_nothing_else(clients: World):
    name = clients.subscribe(clients.topic(), labels={"a": "1"}, retry_policy=retry(1, 2), ack_deadline_seconds=20)

    def update(*paths: str, **fields):
        mask = FieldMask(paths=paths)
        return clients.subscriber.update_subscription(subscription={"name": name, **fields}, update_mask=mask)

    changed = update("ack_deadline_seconds", ack_deadline_seconds=30, labels={"ignored": "x"})
    assert (changed.ack_deadline_seconds, dict(changed.labels)) == (30, {"a": "1"})
    assert dict(update("labels", labels={"b": "2"}).labels) == {"b": "2"}
    assert update("retry_policy.maximum_backoff", retry_policy=retry(9, 5)).retry_policy == retry_policy(1, 5)
    assert "retry_policy" not in update("retry_policy")
    for paths in [(), ("filter",), ("topic",), ("name",), ("enable_message_ordering",), ("nonsense",)]:
        with pytest.raises(BAD):
            update(*paths)
    with pytest.raises(BAD):
        update("ack_deadline_seconds", ack_deadline_seconds=5)
    assert clients.subscriber.get_subscription(subscription=name).ack_deadline_seconds == 30


def retry_policy(shortest_s: float, longest_s: float):
    return pubsub_v1.types.RetryPolicy(**retry(shortest_s, longest_s))


def test_a_topics_labels_can_be_changed_and_its_name_cannot(clients: World):
    topic = clients.topic()
    new = {"name": topic, "labels": {"team": "ml"}}
    assert dict(clients.publisher.update_topic(topic=new, update_mask=FieldMask(paths=["labels"])).labels) == {
        "team": "ml"
    }
    assert dict(clients.publisher.get_topic(topic=topic).labels) == {"team": "ml"}
    with pytest.raises(BAD):
        clients.publisher.update_topic(topic=new, update_mask=FieldMask(paths=["name"]))


def test_a_deleted_topic_leaves_its_subscriptions_with_what_they_owe(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    clients.publish(topic, b"owed")
    clients.publisher.delete_topic(topic=topic)
    assert clients.subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
    clients.publisher.create_topic(name=topic)
    clients.publish(topic, b"not mine")
    assert [got.message.data for got in clients.pull(name)] == [b"owed"]


def test_a_pulled_message_is_leased_until_it_is_acknowledged_or_given_back(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    [message_id] = clients.publish(topic, b"x", k="v")
    [got] = clients.pull(name)
    assert (got.message.data, dict(got.message.attributes), got.message.message_id) == (b"x", {"k": "v"}, message_id)
    assert got.delivery_attempt == 0
    assert clients.pull(name, wait=False) == []
    clients.subscriber.modify_ack_deadline(subscription=name, ack_ids=[got.ack_id], ack_deadline_seconds=0)
    [again] = clients.pull(name)
    clients.subscriber.acknowledge(subscription=name, ack_ids=[got.ack_id])  # void: it was given back
    clients.subscriber.modify_ack_deadline(subscription=name, ack_ids=[again.ack_id], ack_deadline_seconds=0)
    [last] = clients.pull(name)
    clients.subscriber.acknowledge(subscription=name, ack_ids=[last.ack_id])
    clients.subscriber.acknowledge(subscription=name, ack_ids=[last.ack_id])
    assert clients.pull(name, wait=False) == []


def test_a_waiting_pull_is_answered_as_soon_as_a_message_comes(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    timer = threading.Timer(0.3, clients.publish, (topic, b"late"))
    timer.start()
    [got] = clients.pull(name, timeout_s=8)
    timer.join()
    assert got.message.data == b"late"


def test_pulled_messages_are_dead_lettered_too(clients: World):
    topic, dead = clients.topic(), clients.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name, graves = clients.subscribe(topic, dead_letter_policy=policy), clients.subscribe(dead)
    clients.publish(topic, b"poison")
    for attempt in range(1, 6):
        [got] = clients.pull(name)
        assert got.delivery_attempt == attempt
        clients.subscriber.modify_ack_deadline(subscription=name, ack_ids=[got.ack_id], ack_deadline_seconds=0)
    assert clients.pull(name, wait=False) == []
    [grave] = clients.pull(graves)
    assert grave.message.data == b"poison"
    assert grave.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


@pytest.mark.parametrize(
    "call",
    [
        lambda c, name: c.pull(name, number=0),
        lambda c, name: c.subscriber.acknowledge(subscription=name, ack_ids=["nonsense"]),
        lambda c, name: c.subscriber.acknowledge(subscription=name, ack_ids=[]),
        lambda c, name: c.subscriber.modify_ack_deadline(
            subscription=name, ack_ids=["bGVhc2U6MTox"], ack_deadline_seconds=601
        ),
        lambda c, name: c.subscriber.modify_ack_deadline(
            subscription=name, ack_ids=["bGVhc2U6MTox"], ack_deadline_seconds=-1
        ),
    ],
)
def test_a_wrong_pull_or_acknowledgement_is_refused(clients: World, call):
    name = clients.subscribe(clients.topic())
    with pytest.raises(BAD):
        call(clients, name)


def test_a_push_subscription_cannot_be_pulled_until_it_is_made_a_pull_subscription(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic, push="http://127.0.0.1:9/")
    with pytest.raises(exceptions.FailedPrecondition):
        clients.pull(name)
    clients.subscriber.modify_push_config(subscription=name, push_config={})
    clients.publish(topic, b"now")
    assert [got.message.data for got in clients.pull(name)] == [b"now"]


def test_streaming_pull_delivers_acknowledges_and_gives_back(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    seen: list[bytes] = []

    def receive(message):
        seen.append(message.data)
        if message.data == b"7" and seen.count(b"7") == 1:
            message.nack()
        else:
            message.ack()

    bodies = [b"%d" % n for n in range(200)]
    clients.publish(topic, *bodies[:100])
    stream = clients.subscriber.subscribe(name, receive)
    clients.publish(topic, *bodies[100:])
    wait_until(lambda: len(seen) >= 201)
    assert sorted(seen) == sorted([*bodies, b"7"])
    stream.cancel()
    stream.result(timeout=5)
    wait_until(lambda: clients.pull(name, wait=False) == [])


def test_streaming_pull_respects_the_clients_limit_of_outstanding_messages(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic)
    clients.publish(topic, *(b"%d" % n for n in range(20)))
    first = pubsub_v1.types.StreamingPullRequest(
        subscription=name, stream_ack_deadline_seconds=60, max_outstanding_messages=5
    )
    done = threading.Event()

    def requests():
        yield first
        done.wait(10)

    stream = clients.subscriber.streaming_pull(requests=requests())
    got: list[str] = []
    while len(got) < 5:
        got += [received.ack_id for received in next(stream).received_messages]
    assert len(got) == 5
    assert len(clients.pull(name, number=100)) == 15  # the stream did not lease them
    done.set()
    stream.cancel()


def test_a_stream_ends_with_not_found_when_its_subscription_is_deleted(clients: World):
    name = clients.subscribe(clients.topic())
    stream = clients.subscriber.subscribe(name, lambda message: message.ack())
    with pytest.raises(FutureTimeout):
        stream.result(timeout=0.5)
    clients.subscriber.delete_subscription(subscription=name)
    with pytest.raises(exceptions.NotFound):
        stream.result(timeout=5)


def test_ordered_pulls_give_one_key_in_order_even_when_a_message_is_given_back(clients: World):
    topic = clients.topic()
    name = clients.subscribe(topic, enable_message_ordering=True)
    clients.publish(topic, b"a1", b"a2", key="a")
    clients.publish(topic, b"b1", key="b")
    first = {got.message.data: got.ack_id for got in clients.pull(name)}
    assert set(first) == {b"a1", b"b1"}
    clients.subscriber.modify_ack_deadline(subscription=name, ack_ids=[first[b"a1"]], ack_deadline_seconds=0)
    [again] = clients.pull(name)
    assert (again.message.data, again.message.ordering_key) == (b"a1", "a")
    clients.subscriber.acknowledge(subscription=name, ack_ids=[again.ack_id])
    assert [got.message.data for got in clients.pull(name)] == [b"a2"]
