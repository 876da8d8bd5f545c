"""The server as a process: killed, ended, started again, twice on one state, and with every message doubled."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth import jwt
from google.pubsub_v1.types import StreamingPullRequest

from local.pubsub.tokens import PUBLIC_KEY_FILE
from tests.local.pubsub_world import ROOT, endpoint, free_port, pubsub_process, retry, wait_until, world


@pytest.fixture
def target():
    with endpoint() as opened:
        yield opened


def test_nothing_is_lost_when_the_server_is_killed_and_started_again(tmp_path, target):
    holding = threading.Event()
    target.answer = lambda request: 200 if holding.is_set() else 503
    with pubsub_process(tmp_path) as process:
        with world(process.port) as clients:
            topic = clients.topic()
            clients.subscribe(topic, push=f"{target.origin}/push", retry_policy=retry(0.2, 0.2))
            pull = clients.subscribe(topic)
            bodies = [b"%d" % n for n in range(20)]
            clients.publish(topic, *bodies)
            [leased] = clients.pull(pull, number=1)
        process.kill()
        holding.set()
        before = len(target.requests)
        process.start()
        wait_until(lambda: {request.data for request in target.requests[before:]} == set(bodies))
        with world(process.port) as clients:
            # What was leased stays leased, and its ack id stays good.
            clients.subscriber.acknowledge(subscription=pull, ack_ids=[leased.ack_id])
            rest = [got.message.data for got in clients.pull(pull, number=100)]
            assert sorted([leased.message.data, *rest]) == sorted(bodies)


def test_a_push_under_way_when_the_server_dies_is_sent_again_at_once_and_is_no_failed_attempt(tmp_path, target):
    release = threading.Event()
    target.answer = lambda request: 200 if len(target.requests) > 1 or release.wait(20) else 500
    with pubsub_process(tmp_path) as process, world(process.port) as clients:
        topic, dead = clients.topic(), clients.topic("dead")
        policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
        clients.subscribe(topic, push=target.origin, dead_letter_policy=policy, ack_deadline_seconds=600)
        clients.publish(topic, b"cut")
        target.wait_for(1)
        process.kill()
        process.start()
        first, second = target.wait_for(2)
        release.set()
    assert (first.data, second.data) == (b"cut", b"cut")
    assert (first.envelope["deliveryAttempt"], second.envelope["deliveryAttempt"]) == (1, 1)
    assert first.envelope["message"]["messageId"] == second.envelope["message"]["messageId"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly_within_two_seconds_whatever_is_under_way(tmp_path, target, number):
    release = threading.Event()
    target.answer = lambda request: 200 if release.wait(20) else 500
    with pubsub_process(tmp_path) as process, world(process.port) as clients:
        topic = clients.topic()
        clients.subscribe(topic, push=target.origin)
        pull = clients.subscribe(clients.topic())
        first = StreamingPullRequest(subscription=pull, stream_ack_deadline_seconds=10)
        stream = clients.subscriber.streaming_pull(requests=iter([first]))
        clients.publish(topic, b"hangs")
        target.wait_for(1)
        started = time.monotonic()
        process.process.send_signal(number)
        assert process.process.wait(5) == 0
        assert time.monotonic() - started < 2
        with pytest.raises(ServiceUnavailable):
            next(stream)
        release.set()
    assert "Traceback" not in process.log.read_text()


def test_with_duplicate_every_message_is_pushed_twice_and_pulled_once(tmp_path, target):
    with pubsub_process(tmp_path, "--duplicate") as process, world(process.port) as clients:
        topic = clients.topic()
        clients.subscribe(topic, push=target.origin)
        pull = clients.subscribe(topic)
        ids = clients.publish(topic, b"a", b"b", b"c")
        requests = target.wait_for(6)
        assert sorted(request.envelope["message"]["messageId"] for request in requests) == sorted(ids * 2)
        assert len(clients.pull(pull)) == 3
    assert len(target.requests) == 6


def _second(port, state) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.pubsub", f"--port={port}", f"--state-dir={state}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_a_second_server_on_the_same_state_or_port_is_refused_with_a_sentence(tmp_path):
    with pubsub_process(tmp_path) as process:
        same_state = _second(free_port(), tmp_path / "state")
        assert (same_state.returncode, "in use by another" in same_state.stdout) == (1, True)
        same_port = _second(process.port, tmp_path / "other")
        assert (same_port.returncode, str(process.port) in same_port.stdout) == (1, True)
        with world(process.port) as clients:
            clients.topic()


def test_the_state_of_another_version_is_refused_with_a_sentence(tmp_path):
    with closing(sqlite3.connect(tmp_path / "pubsub.sqlite3")) as foreign:
        foreign.execute("PRAGMA user_version = 99")
    refused = _second(free_port(), tmp_path)
    assert (refused.returncode, "another version" in refused.stdout) == (1, True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time is read from /proc")
def test_waiting_costs_no_cpu_whatever_is_held_back(tmp_path, target):
    """Due messages that may not be sent yet (order, a full endpoint, a running lease) must not make a busy loop."""
    release = threading.Event()
    target.answer = lambda request: 200 if release.wait(20) else 500
    with pubsub_process(tmp_path) as process, world(process.port) as clients:
        topic = clients.topic()
        clients.subscribe(topic, push=f"{target.origin}/ordered", enable_message_ordering=True)
        clients.subscribe(topic, push=f"{target.origin}/full")
        pull = clients.subscribe(topic)
        clients.publish(topic, *(b"%d" % n for n in range(30)), key="k")
        target.wait_for(17)
        clients.pull(pull, number=100)
        before = _cpu_s(process.process.pid)
        time.sleep(1)  # not a wait for something: the stretch of time that is measured
        assert _cpu_s(process.process.pid) - before < 0.1
        release.set()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_message_ids_are_never_used_again(tmp_path):
    ids: list[str] = []
    with pubsub_process(tmp_path) as process:
        for _ in range(2):
            with world(process.port) as clients:
                topic = clients.topic()
                ids += clients.publish(topic, b"1", b"2", b"3")
            process.stop()
            process.start()
    assert len(set(ids)) == 6
    assert sorted(ids, key=int) == ids


# --- tokens ---

ACCOUNT = "push@local-project.iam.gserviceaccount.com"


def test_a_push_with_an_account_carries_a_token_for_the_service(tmp_path, target):
    with pubsub_process(tmp_path) as process, world(process.port) as clients:
        topic = clients.topic()
        token = {"service_account_email": ACCOUNT, "audience": target.origin}
        clients.subscribe(topic, push=f"{target.origin}/path", push_config={"oidc_token": token})
        started = int(time.time())
        clients.publish(topic, b"x")
        [request] = target.wait_for(1)
        public_key = (tmp_path / "state" / PUBLIC_KEY_FILE).read_bytes()
    scheme, _, bearer = request.headers["Authorization"].partition(" ")
    claims = jwt.decode(bearer, certs=public_key, audience=target.origin)
    assert scheme == "Bearer"
    assert jwt.decode_header(bearer)["alg"] == "RS256"
    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["aud"], claims["email"], claims["email_verified"]) == (target.origin, ACCOUNT, True)
    assert started <= claims["iat"] <= time.time() and claims["exp"] == claims["iat"] + 3600


@pytest.mark.parametrize(
    ("path", "audience", "arrives"),
    [
        ("", "", True),  # the default audience is the endpoint, which here is the service's own URL
        ("/path", "", False),
        ("/path", "{origin}", True),
        ("/path", "{origin}/path", False),
        ("", "https://elsewhere.run.app", False),
    ],
)
def test_the_front_door_lets_only_the_services_own_audience_in(tmp_path, target, path, audience, arrives):
    with pubsub_process(tmp_path) as process, world(process.port) as clients:
        topic, dead = clients.topic(), clients.topic("dead")
        graves = clients.subscribe(dead)
        token = {"service_account_email": ACCOUNT, "audience": audience.format(origin=target.origin)}
        clients.subscribe(
            topic,
            push=target.origin + path,
            push_config={"oidc_token": token},
            retry_policy=retry(0.01, 0.01),
            dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5},
        )
        clients.publish(topic, b"x")
        if arrives:
            target.wait_for(1)
        else:
            [grave] = clients.pull(graves)
            assert grave.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
            assert target.requests == []
            assert "401, not sent" in process.log.read_text()


def test_the_ready_file_is_written_whole(tmp_path):
    with pubsub_process(tmp_path) as process:
        assert json.loads((tmp_path / "ready.json").read_text()) == {"port": process.port}
        assert not (tmp_path / "ready.json.new").exists()
