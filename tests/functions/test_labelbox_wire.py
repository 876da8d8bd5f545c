"""The orchestrator's Labelbox port over the wire, against a Labelbox that is well, slow, down, or says no."""

from __future__ import annotations

import time

import pytest

from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.labelbox import LabelboxApi, Telling
from orchestrator.secret_store import FixedSecret, RotatingSecret
from tests.functions.conftest import LABELBOX_KEY, MODEL_RUN, LabelboxServer


def api(server: LabelboxServer, key: str = LABELBOX_KEY, timeout_s: float = 5.0) -> LabelboxApi:
    return LabelboxApi(server.endpoint, FixedSecret(key), timeout_s)


def test_a_status_is_told_with_metadata_and_read_back(labelbox_server: LabelboxServer) -> None:
    port = api(labelbox_server)
    assert port.look_up(MODEL_RUN).config == {}
    port.tell(MODEL_RUN, Telling("a", "EXPORTING_DATA", {"one": "1"}))
    port.tell(MODEL_RUN, Telling("b", "FAILED", {"two": "2"}, "It failed."))
    shown = port.read_back(MODEL_RUN)
    assert (shown.status, shown.error_message) == ("FAILED", "It failed.")
    assert shown.metadata == {"one": "1", "two": "2"}
    port.tell(MODEL_RUN, Telling("c", "EXPORTING_DATA", {"two": ""}))
    assert port.read_back(MODEL_RUN).error_message == ""
    assert [item["status"] for item in labelbox_server.shown()["statuses"]] == [
        "EXPORTING_DATA",
        "FAILED",
        "EXPORTING_DATA",
    ]


def test_the_questions_of_a_model_run_s_ontology_are_read(labelbox_server: LabelboxServer) -> None:
    (question,) = api(labelbox_server).questions(MODEL_RUN)
    assert (question.feature_schema_id, question.name, question.kind) == ("q1", "Topic", "radio")
    with pytest.raises(LabelboxRefused):
        api(labelbox_server).questions("nobody")


def test_an_unknown_model_run_is_a_sure_no_and_never_looks_like_success(labelbox_server: LabelboxServer) -> None:
    port = api(labelbox_server)
    for call in (port.look_up, lambda run: port.tell(run, Telling("a", "COMPLETE", {}))):
        with pytest.raises(LabelboxRefused) as caught:
            call("nobody")
        assert caught.value.reason == "unknown"


def test_a_wrong_key_is_read_afresh_once_and_then_refused(labelbox_server: LabelboxServer) -> None:
    with pytest.raises(LabelboxRefused) as caught:
        api(labelbox_server, "wrong").look_up(MODEL_RUN)
    assert caught.value.reason == "key"

    class Rotated:
        def __init__(self) -> None:
            self.values = ["wrong"]

        def read(self, version: str) -> tuple[int, str] | None:
            number = len(self.values) if version == "latest" else int(version)
            return number, self.values[number - 1]

    now = [0.0]
    reader = Rotated()
    secret = RotatingSecret(reader, lambda: now[0])
    assert secret.current() == "wrong"
    reader.values.append(LABELBOX_KEY)
    now[0] = 31
    assert LabelboxApi(labelbox_server.endpoint, secret, 5.0).look_up(MODEL_RUN).id == MODEL_RUN


@pytest.mark.parametrize("trouble", [{"down": True}, {"hang_s": 30.0}, {"latency_s": 30.0}, {"rate_limit": 1}])
def test_a_labelbox_in_trouble_is_unavailable_within_the_limit(
    labelbox_server: LabelboxServer, trouble: dict[str, object]
) -> None:
    labelbox_server.switch(**trouble)
    began = time.monotonic()
    with pytest.raises(LabelboxUnavailable):
        api(labelbox_server, timeout_s=1.0).look_up(MODEL_RUN)
    assert time.monotonic() - began < 4


def test_a_labelbox_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(LabelboxUnavailable):
        LabelboxApi("http://127.0.0.1:9/graphql", FixedSecret("k"), 1.0).look_up(MODEL_RUN)
