"""The push endpoints: whatever comes instead of our messages is answered, kept where it may matter, and harmless."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.deployment import HANDLERS
from tests.end_to_end.quick_jobs import request_body
from tests.hostile.conftest import TRACES, HostileCloud, assert_answered
from tests.hostile.test_coordinator import any_json

MARK = "planted-push-marker-77aa"
FUNCTIONS = sorted(HANDLERS.values())
STAGES = [name for name in FUNCTIONS if name not in ("job_state", "dead_letter")]
NOW = datetime.now(UTC).isoformat()
functions = st.sampled_from(FUNCTIONS)


def envelope(content_bytes: bytes | None, /, **message: object) -> dict[str, object]:
    """As Pub/Sub pushes it."""
    content: dict[str, object] = {"messageId": "hostile-1", "publishTime": NOW, "attributes": {}, **message}
    if content_bytes is not None:
        content["data"] = base64.b64encode(content_bytes).decode()
    return {"message": content, "subscription": "projects/local-project/subscriptions/any", "deliveryAttempt": 1}


def message(**body: object) -> bytes:
    return json.dumps({"version": 1, **body}).encode()


@given(functions, st.binary(max_size=300))
def test_any_bytes_are_acknowledged(hostile: HostileCloud, function: str, body: bytes) -> None:
    answer = hostile.push(function, body)
    assert_answered(answer)
    assert answer.status == 204


@given(
    functions,
    st.fixed_dictionaries(
        {},
        optional={
            "message": st.fixed_dictionaries(
                {},
                optional={
                    "data": st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()) | any_json,
                    "messageId": st.text(max_size=80) | any_json,
                    "publishTime": st.just(NOW) | any_json,
                    "attributes": st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3) | any_json,
                },
            )
            | any_json,
            "subscription": any_json,
            "deliveryAttempt": any_json,
        },
    ),
)
def test_any_envelope_is_acknowledged(hostile: HostileCloud, function: str, body: dict[str, object]) -> None:
    answer = hostile.push(function, json.dumps(body).encode())
    assert_answered(answer)
    assert answer.status == 204


@given(
    functions,
    st.fixed_dictionaries(
        {"version": st.sampled_from([1, 0, -1, True])},
        optional={
            "kind": st.sampled_from(["stage_requested", "job_ended", "none"]) | any_json,
            "run": st.sampled_from(["no-such.1", "no-such.0", "../x.1", "x.\u0663", "x.99999999999"]) | any_json,
            "stage": st.sampled_from(["etl", "../etl", "no such", "\ud800", "x" * 300]) | any_json,
            "resource": st.fixed_dictionaries(
                {"type": st.just("ml_job"), "labels": st.dictionaries(st.just("job_id"), any_json | st.just("\u00b2"))}
            ),
        },
    ),
)
def test_any_message_is_acknowledged(hostile: HostileCloud, function: str, body: dict[str, object]) -> None:
    answer = hostile.push(function, json.dumps(envelope(json.dumps(body).encode())).encode())
    assert_answered(answer)
    assert answer.status == 204


def envelopes() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no envelope of a message we know."""
    whole = envelope(message(kind="stage_requested", run="no-such.1", stage="etl"))
    yield "empty", b""
    yield "an array", b"[]"
    yield "a number", b"7"
    yield "UTF-16", json.dumps(whole).encode("utf-16")
    yield "NULs", b"\0" * 500
    yield "deep", b'{"message":' * 20_000 + b"1" + b"}" * 20_000
    yield "deep attributes", b'{"message": {"attributes": {"a": ' + b"[" * 950 + b"]" * 950 + b"}}}"
    yield "infinity attempts", json.dumps(whole).replace('"deliveryAttempt": 1', '"deliveryAttempt": 1e999').encode()
    yield "a huge attempt", json.dumps({**whole, "deliveryAttempt": 10**4000}).encode()
    yield "a huge number", b'{"message": {"messageId": 1' + b"0" * 5000 + b"}}"
    for name, broken in {
        "no message": {},
        "message is a text": {"message": "x"},
        "no data, no attributes": envelope(None),
        "data is no base64": envelope(None, data="***"),
        "data is a number": envelope(None, data=7),
        "data is not JSON": envelope(b"{"),
        "data is deep": envelope(b"[" * 50_000),
        "data is a list": envelope(b"[1]"),
        "no publish time": envelope(message(), publishTime=None),
        "publish time of words": envelope(message(), publishTime=f"{MARK} \ud800"),
        "publish time is a number": envelope(message(), publishTime=7),
        "publish time without a zone": envelope(message(), publishTime="2026-01-01T00:00:00"),
        "the year 1": envelope(message(), publishTime="0001-01-01T00:00:00+23:59"),
        "attributes are a list": envelope(message(), attributes=[1]),
        "an attribute is an object": envelope(message(), attributes={"a": {"b": 1}}),
        "message id is a path": envelope(message(), messageId="../../facts/runs/x/1/accepted"),
        "message id of 10,000": envelope(message(), messageId="x" * 10_000),
        "message id is a list": envelope(message(), messageId=[1]),
        "subscription with half a surrogate": {**envelope(message()), "subscription": "\ud800"},
        "no version": envelope(b'{"kind": "stage_requested"}'),
        "version of words": envelope(b'{"version": "1"}'),
        "an object event of a path": envelope(
            None, attributes={"eventType": "OBJECT_FINALIZE", "objectId": "endings/../../x/1/a/b"}
        ),
        "an object event of an unknown run": envelope(
            None, attributes={"eventType": "OBJECT_FINALIZE", "objectId": "endings/no-such/1/a/1/result.json"}
        ),
        "a phase of its own making": envelope(
            None, attributes={"eventType": "OBJECT_FINALIZE", "objectId": "endings/no-such/1/a/1/phase-COMPLETE.json"}
        ),
        "a job of another deployment": envelope(
            json.dumps({"resource": {"type": "ml_job", "labels": {"job_id": "12345"}}}).encode()
        ),
        "a job number of 400 digits": envelope(
            json.dumps({"resource": {"type": "ml_job", "labels": {"job_id": "9" * 400}}}).encode()
        ),
        "a stage with half a surrogate": envelope(message(kind="stage_requested", run="no-such.1", stage="\ud800")),
        "a run that is a path": envelope(message(kind="stage_requested", run="../../x.1", stage="etl")),
        "a run in Arabic digits": envelope(message(kind="stage_requested", run="x.1\u0663", stage="etl")),
        "an unknown run": whole,
    }.items():
        yield name, json.dumps(broken).encode()


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in envelopes()])
def test_what_is_no_message_of_ours_is_acknowledged_by_every_function(hostile: HostileCloud, body: bytes) -> None:
    """Anything but 2xx would bring it back for a week."""
    for function in FUNCTIONS:
        answer = hostile.push(function, body)
        assert_answered(answer)
        assert (answer.status, answer.body) == (204, b"")
    assert [name for name, log in hostile.logs() if MARK.encode() in log] == []


def test_an_unreadable_message_is_kept_and_only_under_dead(hostile: HostileCloud) -> None:
    before = {name for name, _ in hostile.objects()}
    for function in STAGES:
        hostile.push(function, json.dumps(envelope(b"nobody knows it", messageId=f"../{function}")).encode())
    kept = {name for name, _ in hostile.objects()} - before
    assert kept == {f"local-model-training/dead/---{function}.json" for function in STAGES}


@pytest.mark.parametrize("function", STAGES)
def test_a_message_of_a_newer_version_comes_again(hostile: HostileCloud, function: str) -> None:
    """A deploy may be rolling: another instance may know it. The one documented 503 of a message."""
    body = envelope(message(kind="stage_requested", run="no-such.1", stage="etl", version=2))
    answer = hostile.push(function, json.dumps(body).encode())
    assert_answered(answer, unavailable=True)
    assert answer.status == 503


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "ANY"])
def test_any_other_method_changes_nothing(hostile: HostileCloud, function: str, method: str) -> None:
    before = {name for name, _ in hostile.objects()}
    body = json.dumps(envelope(b"nobody knows it", messageId="by-another-method")).encode()
    assert_answered(hostile.ask(function, method, "/", body))
    assert {name for name, _ in hostile.objects()} == before


def test_a_body_larger_than_any_message_is_413(hostile: HostileCloud) -> None:
    received = hostile.raw(
        "etl",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 16777217\r\n\r\n" + b"a" * 16_777_217,
    )
    assert received.startswith(b"HTTP/1.1 413")


def test_a_body_that_breaks_http_is_400(hostile: HostileCloud) -> None:
    broken = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n"
    for function in FUNCTIONS:
        received = hostile.raw(function, broken.encode())
        assert received.startswith(b"HTTP/1.1 400") and MARK.encode() not in received


def test_while_the_bucket_is_away_messages_come_again_and_requests_are_told_to(hostile: HostileCloud) -> None:
    """The other documented 503s: also for what cannot be served but could not be kept yet."""
    storage = hostile.cloud.storage
    storage.stop()
    try:
        unreadable = json.dumps(envelope(b"nobody knows it", messageId="while-away")).encode()
        known = json.dumps(envelope(message(kind="stage_requested", run="no-such.1", stage="etl"))).encode()
        answers = [hostile.push("etl", unreadable), hostile.push("train", known), hostile.push("dead_letter", known)]
        answers.append(hostile.signed(request_body("no-such-run")))
    finally:
        storage.launch()
        storage.wait_ready()
    for answer in answers:
        assert_answered(answer, unavailable=True)
        assert answer.status == 503
    assert hostile.push("etl", unreadable).status == 204
    assert "local-model-training/dead/while-away.json" in {name for name, _ in hostile.objects()}


def test_no_function_wrote_a_stack_trace(hostile: HostileCloud) -> None:
    for trace in TRACES:
        assert [name for name, log in hostile.logs() if trace.encode() in log] == []
