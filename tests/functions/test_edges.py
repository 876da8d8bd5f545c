"""What comes in and goes out as bytes: push envelopes, settings, logs, facts of other versions."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from orchestrator import logs
from orchestrator.errors import BadSettings, NewerVersion, UnreadableMessage, sentence
from orchestrator.facts import Ended, Finished, decode, encode
from orchestrator.identities import AttemptIdentity, AttemptRef, OwnObject, RunId, slug_of
from orchestrator.messages import JobEndHint, LastWord, ObjectHint, Tick, read_delivery, read_envelope, read_hint
from orchestrator.secret_store import RotatingSecret
from orchestrator.settings import Settings

NOW = "2026-11-23T12:00:00.123Z"


def envelope(data: object = None, **attributes: str) -> dict:
    message: dict = {"messageId": "1", "publishTime": NOW, "attributes": attributes}
    if data is not None:
        message["data"] = base64.b64encode(json.dumps(data).encode()).decode()
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


LOG = {"resource": {"type": "ml_job", "labels": {"job_id": "5106815277148930048", "task_name": "service"}}}
OBJECT = {"eventType": "OBJECT_FINALIZE", "objectId": "endings/mr/1/etl-export-1-ab/77/result.json"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (envelope({**LOG, "textPayload": "Job failed."}), JobEndHint("5106815277148930048")),
        (
            envelope({**LOG, "jsonPayload": {"message": "Job completed successfully."}}),
            JobEndHint("5106815277148930048"),
        ),
        (envelope({"resource": {"type": "k8s_container", "labels": {}}}), None),
        (envelope({"resource": {"type": "ml_job", "labels": {"job_id": "../1"}}}), None),
        (envelope(None, **OBJECT), ObjectHint(OwnObject(RunId("mr", 1), "etl-export-1-ab", "77/result.json"))),
        (envelope(None, **OBJECT | {"eventType": "OBJECT_DELETE"}), None),
        (envelope(None, **OBJECT | {"objectId": "facts/runs/mr/1/accepted.json"}), None),
        (envelope({"version": 1, "kind": "reconcile"}), Tick()),
        (envelope({"version": 1, "kind": "job_ended", "run": "mr.1"}), LastWord(RunId("mr", 1))),
    ],
)
def test_every_kind_of_hint_is_understood(given: dict, expected: object) -> None:
    assert read_hint(read_delivery(given)) == expected


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {},
        {"message": []},
        {"message": {"publishTime": NOW, "data": "%%%"}},
        {"message": {"data": ""}},
        {"message": {"publishTime": "yesterday"}},
        {"message": {"publishTime": "2026-11-23T12:00:00"}},
        {"message": {"publishTime": NOW, "attributes": ["a"]}},
        {"message": {"publishTime": NOW}, "deliveryAttempt": "x"},
    ],
)
def test_a_malformed_envelope_is_unreadable_not_a_crash(given: object) -> None:
    with pytest.raises(UnreadableMessage):
        read_delivery(given)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b'{"message":'])
def test_a_push_body_that_is_no_json_is_unreadable_not_a_crash(body: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read_delivery(read_envelope(body))


def test_a_message_with_attributes_and_no_data_is_readable() -> None:
    assert read_delivery(envelope(None, a="b")).attributes == {"a": "b"}


ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "REGION": "r",
    "DEPLOYMENT_NAME": "d",
    "BUCKET": "b",
    "JOB_SERVICE_ACCOUNT": "s",
    "IMAGE_REPOSITORY": "i",
    "LABELBOX_API_KEY_SECRET": "key",
    "SERVICE_SECRET_SECRET": "secret",
}


def test_all_missing_and_unreadable_settings_are_named_at_once() -> None:
    with pytest.raises(BadSettings) as caught:
        Settings.from_environment({"REGION": "r", "MAX_ACTIVE_RUNS": "many"})
    text = str(caught.value)
    assert all(name in text for name in ("GOOGLE_CLOUD_PROJECT", "BUCKET", "MAX_ACTIVE_RUNS='many'"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CLAIM_HOLD_S": "90"}, "ACK_DEADLINE_S=90 must be less than CLAIM_HOLD_S=90"),
        ({"CALL_DEADLINE_S": "61"}, "CALL_DEADLINE_S=61 must be less than FUNCTION_TIMEOUT_S=60"),
        ({"RESOURCE_LABELS": "team=a,Cost Center=b"}, "RESOURCE_LABELS=.*wrong: .'Cost Center'"),
        ({"RESOURCE_LABELS": "lb_run_key=x"}, "wrong: .'lb_run_key'"),
        ({"LABELBOX_API_KEY_SECRET": ""}, "set LABELBOX_API_KEY or LABELBOX_API_KEY_SECRET"),
        ({"SERVICE_SECRET_SECRET": ""}, "set SERVICE_SECRET or SERVICE_SECRET_SECRET"),
    ],
)
def test_a_contradiction_in_the_settings_is_refused_at_start_up(change: dict[str, str], words: str) -> None:
    Settings.from_environment(ENVIRONMENT)
    with pytest.raises(BadSettings, match=words):
        Settings.from_environment(ENVIRONMENT | change)


def test_lists_and_flags_are_read_from_the_environment() -> None:
    settings = Settings.from_environment(ENVIRONMENT | {"ALLOWED_MACHINES": "a, b,", "ALLOW_PRIVATE_ADDRESSES": "true"})
    assert settings.allowed_machines == ("a", "b") and settings.allow_private_addresses is True


def test_a_log_line_is_one_line_with_its_trace_and_no_field_off_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin_request("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "p")
    logs.info("two\nlines", run=RunId("mr", 1))
    line = json.loads(capsys.readouterr().out)
    assert line["run"] == "mr.1" and line["message"] == "two\nlines"
    assert line["logging.googleapis.com/trace"] == "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736"
    with pytest.raises(ValueError, match="body"):
        logs.info("x", body="secret")
    logs.begin_request("", "p")


def test_a_fact_survives_its_encoding_and_a_newer_one_is_left_alone() -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    fact = Ended("etl", "export", 1, "FAILED", counts={"rows": 3}, sentence="é", retry=True, not_before=created)
    stored = decode(encode(fact, "me"), created)
    assert (stored.fact, stored.writer, stored.created) == (fact, "me", created)
    newer = json.loads(encode(Finished("COMPLETE"), "me")) | {"version": 2}
    with pytest.raises(NewerVersion):
        decode(json.dumps(newer).encode(), created)


def test_a_fact_s_unknown_field_is_ignored() -> None:
    content = json.loads(encode(Finished("COMPLETE"), "me"))
    content["fact"]["later"] = 1
    assert decode(json.dumps(content).encode(), datetime.now(UTC)).fact == Finished("COMPLETE")


@pytest.mark.parametrize("model_run_id", ["9a000000-0000-0000-0000-00000000bbbb", "clur5tlda1n2a07dc0i0zdd4k"])
def test_an_ordinary_model_run_id_names_its_own_objects(model_run_id: str) -> None:
    assert slug_of(model_run_id) == model_run_id


@pytest.mark.parametrize(
    "model_run_id", ["../../etc", "A", "a.b", "x" * 64, "é", "", "sha256-" + "0" * 40, "a/b", "-a"]
)
def test_a_strange_model_run_id_is_hashed_and_never_collides(model_run_id: str) -> None:
    slug = slug_of(model_run_id)
    assert slug.startswith("sha256-") and len(slug) == 47 and slug != model_run_id


def test_identities_are_label_safe_and_differ_between_runs_with_the_same_number() -> None:
    ref = AttemptRef("inference", "a" * 20, 10)
    one, two = (AttemptIdentity(RunId("mr", 1), key, ref) for key in ("aaa", "bbb"))
    assert one.id != two.id and one.model_id != two.model_id
    assert all(len(value) <= 64 for value in one.labels("d").values()) and len(one.model_id) <= 63


def test_a_sentence_is_one_line_of_at_most_255_characters() -> None:
    assert sentence("a\n b") == "a b"
    assert len(sentence("x" * 300)) == 255 and sentence("x" * 300).endswith("…")


class Versions:
    """Secret Manager in memory."""

    def __init__(self, *values: str | None) -> None:
        self.values, self.reads = list(values), 0

    def read(self, version: str) -> tuple[int, str] | None:
        self.reads += 1
        enabled = [(number, value) for number, value in enumerate(self.values, 1) if value is not None]
        if version == "latest":
            return enabled[-1] if enabled else None
        return next((item for item in enabled if item[0] == int(version)), None)


def test_the_version_before_is_accepted_until_it_is_disabled() -> None:
    now = [0.0]
    versions = Versions("old", "new")
    secret = RotatingSecret(versions, lambda: now[0])
    assert secret.accepted() == ("new", "old")
    versions.values[0] = None
    now[0] = 301
    assert secret.accepted() == ("new",)


def test_a_flood_of_bad_signatures_costs_no_flood_of_reads() -> None:
    now = [0.0]
    versions = Versions("one")
    secret = RotatingSecret(versions, lambda: now[0])
    for _ in range(100):
        secret.accepted(fresh=True)
    assert versions.reads == 1
    versions.values.append("two")
    now[0] = 31
    assert secret.accepted(fresh=True) == ("two", "one")
