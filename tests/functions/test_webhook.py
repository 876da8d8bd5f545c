"""Labelbox's side: what is answered to which request, and that a request becomes one run."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.facts import CancelRequested
from orchestrator.identities import RunId
from orchestrator.ledger import Ledger
from orchestrator.signature import is_signed, sign
from tests.functions.world import SECRET, World

TEXT = {"modelRunId": "mr-1", "modelType": "text_single_classification", "modelId": "m-1"}

# contracts with Labelbox: HMAC-SHA1 with the secret `test_secret`.
VECTORS = [
    (b"", "sha1=b33b3b73cc2715209467aca3e7d3453b7256e9ca"),
    (
        b'{"modelId":"m","modelRunId":"r","modelType":"bounding_box"}',
        "sha1=1cbdc8d33e032bfb51b32cb6ef807e4f99feb58d",
    ),
]


@pytest.mark.parametrize(("body", "signature"), VECTORS)
def test_signatures_equal_labelbox_s_vectors(body: bytes, signature: str) -> None:
    assert sign(body, SECRET) == signature
    assert is_signed({"x-hub-signature": signature}, body, [SECRET])
    assert is_signed({"x-hub-signature": signature.upper().replace("SHA1", "sha1")}, body, ["other", SECRET])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature": ""},
        {"x-hub-signature": "b33b3b73cc2715209467aca3e7d3453b7256e9ca"},
        {"x-hub-signature": "sha1=b33b"},
        {"x-hub-signature": "sha1=" + "0" * 40},
        {"x-hub-signature": "sha1=b33b3b73cc2715209467aca3e7d3453b7256e9cé"},
        {"x-hub-signature": "sha256=b33b3b73cc2715209467aca3e7d3453b7256e9ca"},
        {"x-hub-signature": VECTORS[0][1], "x-hub-signature-256": "sha256=" + "0" * 64},
    ],
)
def test_a_missing_malformed_or_wrong_signature_signs_nothing(headers: dict[str, str]) -> None:
    assert not is_signed(headers, b"", [SECRET])


def test_no_secret_accepts_nothing() -> None:
    assert not is_signed({"x-hub-signature": sign(b"x", "")}, b"x", ["", ""])


@pytest.mark.parametrize("path", ["/models", "/model", "/models/", "/coordinator/models", "//models//"])
def test_models_are_those_of_the_pipeline_files(path: str) -> None:
    reply = World().get(path)
    assert reply.status == 200
    assert reply.content["text_single_classification"] == {}


def test_ping_needs_no_signature() -> None:
    reply = World().get("/ping", **{"x-hub-signature": ""})
    assert (reply.status, reply.content) == (200, "pong")


def test_a_wrong_signature_is_401_and_nothing_is_stored() -> None:
    world = World()
    for headers in ({"x-hub-signature": "sha1=" + "0" * 40}, {"x-hub-signature": "?"}):
        reply = world.post(b'{"modelRunId": "secret-id"', **headers)
        assert reply.status == 401 and "secret-id" not in json.dumps(reply.content)
    assert not world.store.objects


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, ["not JSON"]),
        (b"\xff\xfe", 400, ["not JSON"]),
        (b"[" * 50000, 400, ["not JSON"]),
        (b"[]", 400, ["not a JSON object"]),
        (b'"text"', 400, ["not a JSON object"]),
        (b"{}", 400, ["modelRunId is missing", "modelType is missing"]),
        (b'{"modelRunId": 7, "modelType": []}', 400, ["modelRunId is missing or no text", "modelType is missing"]),
        (b'{"modelRunId": " ", "modelType": "x"}', 400, ["modelRunId", "'x' is unknown", "text_single_classification"]),
        (b'{"modelRunId": "a\\u0000b", "modelType": "text_single_classification"}', 400, ["printable"]),
        (json.dumps({**TEXT, "modelRunId": "x" * 201}).encode(), 400, ["at most 200"]),
        (json.dumps({**TEXT, "modelId": {}}).encode(), 400, ["modelId must be a text"]),
        (b" " * (64 * 1024 + 1), 413, ["over 64 KiB"]),
    ],
)
def test_bad_input_is_refused_with_every_problem_named(body: bytes, status: int, words: list[str]) -> None:
    world = World()
    reply = world.post(body)
    assert reply.status == status
    assert all(word in " ".join(reply.content["problems"]) for word in words), reply.content
    assert not world.store.objects


def test_a_wrong_path_is_404_and_a_wrong_method_405_with_the_right_one() -> None:
    world = World()
    assert world.post(b"{}", path="/train").status == 404
    reply = world.post(b"", path="/models")
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    assert world.get("/model_run").headers["allow"] == "POST"


def test_unknown_keys_are_labelbox_s_business() -> None:
    assert World().post({**TEXT, "newField": {"a": 1}}).status == 202


def test_an_accepted_request_answers_with_its_run_and_publishes_the_first_event() -> None:
    world = World()
    reply = world.post(TEXT)
    assert reply.status == 202
    assert reply.content == {"runId": "mr-1.1", "status": "ACCEPTED", "pipeline": "text_single_classification"}
    assert [topic for topic, _ in world.queue.messages] == ["etl"]


def test_the_same_model_run_while_active_is_the_same_run_without_a_look_up() -> None:
    world = World()
    world.start()
    looked_up = world.labelbox.look_ups
    reply = world.post({**TEXT, "other": 1})
    assert (reply.status, reply.content["runId"], reply.content["status"]) == (200, "mr-1.1", "ACTIVE")
    assert world.labelbox.look_ups == looked_up


def test_a_replay_minutes_after_complete_buys_no_second_training() -> None:
    world = World()
    world.post(TEXT)
    world.pump()
    world.complete_text_run()
    world.clock.advance(599)
    reply = world.post(TEXT)
    assert (reply.status, reply.content["runId"], reply.content["status"]) == (200, "mr-1.1", "COMPLETE")
    assert world.post({**TEXT, "again": 1}).content["runId"] == "mr-1.2"


def test_later_or_after_a_failure_the_same_request_is_a_new_numbered_run() -> None:
    world = World()
    world.post(TEXT)
    world.pump()
    world.complete_text_run()
    world.clock.advance(601)
    assert world.post(TEXT).content["runId"] == "mr-1.2"
    Ledger(world.store, "operator").record(RunId("mr-1", 2), CancelRequested(by="ada"))
    world.pump()
    assert world.labelbox.statuses()[-1] == "FAILED"
    assert world.post(TEXT).content["runId"] == "mr-1.3"


def test_a_new_run_clears_what_the_old_one_left_in_labelbox() -> None:
    world = World()
    world.start()
    error = {"version": 1, "sentence": "Too few classes.", "kind": "bad_data", "hint": "label more"}
    world.log_hint(world.end_job(state="FAILED", error=error))
    assert world.labelbox.told[-1][2]["hint"] == "label more"
    world.start()
    _, status, metadata, message = world.labelbox.told[-1]
    assert status == "EXPORTING_DATA" and message == "" and metadata["hint"] == ""


def test_an_old_run_says_nothing_once_a_newer_one_exists() -> None:
    world = World()
    world.start()
    world.labelbox.error = LabelboxUnavailable("down")
    world.log_hint(world.end_job(state="FAILED", error={"version": 1, "sentence": "No.", "kind": "bad_data"}))
    world.labelbox.error = None
    world.start()
    world.tick()
    assert world.labelbox.statuses() == ["EXPORTING_DATA", "EXPORTING_DATA"]


def test_an_unknown_model_run_is_404_after_a_second_look() -> None:
    world = World()
    reply = world.post({**TEXT, "modelRunId": "mr-unknown"})
    assert reply.status == 404 and "workspace" in reply.content["hint"]
    assert world.labelbox.look_ups == 2 and world.slept == [1.0]
    assert not world.store.objects


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_post_that_cannot_be_made_durable_is_503_and_is_one_run_when_sent_again(calls: int) -> None:
    world = World()
    world.store.calls_until_down = calls
    reply = world.post(TEXT)
    assert reply.status == 503 and reply.headers["retry-after"] == "10"
    assert world.pump() == [] and not [name for name in world.store.objects if name.endswith("accepted.json")]
    world.store.calls_until_down, world.store.down = None, False
    assert [world.post(TEXT).status for _ in range(2)] == [202, 200]
    assert world.pump() == [204] and len(world.jobs.requests) == 1


def test_a_refused_api_key_is_503_and_critical(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.labelbox.error = LabelboxRefused("key", "invalid")
    assert world.post(TEXT).status == 503
    assert '"severity": "CRITICAL"' in capsys.readouterr().out


def test_a_slow_labelbox_does_not_keep_a_run_from_being_accepted() -> None:
    world = World()
    world.labelbox.error = LabelboxUnavailable("slow")
    assert world.post(TEXT).status == 202
    assert world.pump() == [503]
    world.labelbox.error = None
    world.clock.advance(901)
    world.tick()
    assert len(world.jobs.requests) == 1


def test_a_run_whose_event_could_not_be_published_is_accepted_and_published_later() -> None:
    world = World()
    world.queue.down = True
    assert world.post(TEXT).status == 202
    world.queue.down = False
    world.clock.advance(901)
    world.tick()
    assert len(world.jobs.requests) == 1
