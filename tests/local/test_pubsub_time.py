"""What takes minutes in reality: ack deadlines, long backoffs and retention, with a clock that the test moves."""

import threading
import time

import pytest

from local.pubsub.server import PubSubServer
from tests.local.pubsub_world import Endpoint, World, duration, endpoint, retry, wait_until, world


class Clock:
    """The time of day plus what the test has added."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Timed:
    """A server in this process whose time can be moved, and clients of it."""

    def __init__(self, server: PubSubServer, clock: Clock, clients: World) -> None:
        self.clients = clients
        self._server = server
        self._clock = clock

    def pass_time(self, value_s: float) -> None:
        self._clock.ahead_s += value_s
        self._server.broker.wake()

    def next_due_in_s(self) -> float:
        due = self._server.broker.next_due(self._clock())
        return float("inf") if due is None else due - self._clock()


@pytest.fixture
def timed(tmp_path):
    clock = Clock()
    server = PubSubServer(0, tmp_path, clock=clock)
    server.start()
    try:
        with world(server.port) as clients:
            yield Timed(server, clock, clients)
    finally:
        server.stop()


@pytest.fixture
def target():
    with endpoint() as opened:
        yield opened


def test_at_the_ack_deadline_the_message_is_sent_again_while_the_first_request_still_runs(
    timed: Timed, target: Endpoint
):
    running, ended = threading.Semaphore(0), threading.Event()

    def slow(request):
        running.release()
        assert ended.wait(20)
        return 200

    target.answer = slow
    topic = timed.clients.topic()
    timed.clients.subscribe(topic, push=target.origin, ack_deadline_seconds=10, retry_policy=retry(0, 0))
    timed.clients.publish(topic, b"slow")
    assert running.acquire(timeout=5)
    timed.pass_time(9)
    with pytest.raises(AssertionError):
        target.wait_for(2, timeout_s=0.5)
    timed.pass_time(1.1)
    assert [request.data for request in target.wait_for(2)] == [b"slow", b"slow"]
    assert running.acquire(timeout=5)  # both handlers run; the first one's answer will not be heard
    ended.set()


def test_requests_that_hang_give_their_places_back_at_the_ack_deadline(timed: Timed, target: Endpoint):
    ended = threading.Event()
    target.answer = lambda request: 200 if ended.wait(20) else 500
    topic = timed.clients.topic()
    timed.clients.subscribe(topic, push=target.origin, ack_deadline_seconds=10, retry_policy=retry(0, 0))
    timed.clients.publish(topic, *(b"%d" % n for n in range(40)))
    target.wait_for(16)
    timed.pass_time(10.1)
    target.wait_for(32, timeout_s=5)  # sooner than the sockets' own ten seconds: the connections were cut
    ended.set()


def test_an_answer_after_the_deadline_acknowledges_nothing(timed: Timed, target: Endpoint):
    late = threading.Event()
    target.answer = lambda request: 200 if len(target.requests) > 1 or late.wait(20) else 500
    topic, dead = timed.clients.topic(), timed.clients.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = timed.clients.subscribe(topic, push=target.origin, dead_letter_policy=policy, retry_policy=retry(60, 60))
    timed.clients.publish(topic, b"late")
    target.wait_for(1)
    timed.pass_time(10.1)
    late.set()
    with pytest.raises(AssertionError):
        target.wait_for(2, timeout_s=0.3)
    timed.pass_time(60)
    assert [request.envelope["deliveryAttempt"] for request in target.wait_for(2)] == [1, 2]
    timed.clients.subscriber.delete_subscription(subscription=name)


def test_a_deadline_that_passes_counts_as_an_attempt_and_dead_letters_in_the_end(timed: Timed):
    topic, dead = timed.clients.topic(), timed.clients.topic("dead")
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name, graves = timed.clients.subscribe(topic, dead_letter_policy=policy), timed.clients.subscribe(dead)
    timed.clients.publish(topic, b"ignored")
    for attempt in range(1, 6):
        [got] = timed.clients.pull(name)
        assert got.delivery_attempt == attempt
        timed.pass_time(10.1)
    [grave] = timed.clients.pull(graves)
    assert grave.message.data == b"ignored"
    assert timed.clients.pull(name, wait=False) == []


def test_a_longer_deadline_keeps_the_lease_and_a_late_acknowledgement_is_void(timed: Timed):
    name = timed.clients.subscribe(timed.clients.topic())
    topic = timed.clients.subscriber.get_subscription(subscription=name).topic
    timed.clients.publish(topic, b"x")
    [got] = timed.clients.pull(name)
    timed.clients.subscriber.modify_ack_deadline(subscription=name, ack_ids=[got.ack_id], ack_deadline_seconds=100)
    timed.pass_time(99)
    assert timed.clients.pull(name, wait=False) == []
    timed.pass_time(1.1)
    [again] = timed.clients.pull(name)
    timed.clients.subscriber.acknowledge(subscription=name, ack_ids=[got.ack_id])
    timed.pass_time(10.1)
    [last] = timed.clients.pull(name)
    assert {got.message.message_id, again.message.message_id} == {last.message.message_id}


def test_a_retry_policy_without_numbers_waits_ten_seconds_first(timed: Timed, target: Endpoint):
    target.answer = lambda request: 500 if len(target.requests) < 2 else 200
    topic = timed.clients.topic()
    timed.clients.subscribe(topic, push=target.origin, ack_deadline_seconds=600, retry_policy={})
    timed.clients.publish(topic, b"x")
    target.wait_for(1)
    wait_until(lambda: timed.next_due_in_s() <= 10)  # the refusal has been heard: the lease was of 600 s
    timed.pass_time(9)
    with pytest.raises(AssertionError):
        target.wait_for(2, timeout_s=0.3)
    timed.pass_time(1.1)
    target.wait_for(2)


@pytest.mark.parametrize(("fields", "days"), [({}, 7), ({"message_retention_duration": duration(86400)}, 1)])
def test_a_message_older_than_its_subscriptions_retention_is_dropped(timed: Timed, fields, days):
    topic = timed.clients.topic()
    short, longest = (
        timed.clients.subscribe(topic, **fields),
        timed.clients.subscribe(topic, message_retention_duration=duration(31 * 86400)),
    )
    timed.clients.publish(topic, b"old")
    timed.pass_time(days * 86400 - 60)
    [got] = timed.clients.pull(short)
    timed.clients.subscriber.modify_ack_deadline(subscription=short, ack_ids=[got.ack_id], ack_deadline_seconds=0)
    timed.pass_time(61)
    assert timed.clients.pull(short, wait=False) == []
    assert [got.message.data for got in timed.clients.pull(longest)] == [b"old"]
