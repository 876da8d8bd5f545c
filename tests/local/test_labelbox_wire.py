"""The stand-in over plain HTTP: routing by root field, errors, faults on request, files, restarts, the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.labelbox.corpus import BadCorpus, load, own_export, sample
from tests.local import labelbox_service as kit

RUN, MODEL, KEY = kit.RUN, kit.MODEL, kit.KEY
UPDATE = "mutation ours($id: ID!, $data: X!){updateTrainingPipeline(modelRun: {id: $id}, data: $data){status}}"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[kit.Service]:
    with kit.serving_sample(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query Ours($id: ID!) {modelRun(where:{id:$id}){id trainingMetadata}}", {"id": RUN}),
        ('{modelRun(where:{id:"run-1"}){id trainingMetadata}}', None),
        ('query($id: ID = "run-1") {modelRun(where:{id:$id}) {id, trainingMetadata}} # a comment', {}),
    ],
)
def test_any_query_text_is_routed_by_its_root_field(service: kit.Service, query: str, variables: Any) -> None:
    assert service.ask(query, variables).json() == {"data": {"modelRun": {"id": RUN, "trainingMetadata": None}}}


def test_aliases_and_several_roots_are_answered(service: kit.Service) -> None:
    answer = service.ask('{a: modelRun(where:{id:"run-1"}){name} b: modelRun(where:{id:"run-2"}){title: name}}').json()
    assert answer["data"] == {"a": {"name": "run 1"}, "b": {"title": "run 2"}}


@pytest.mark.parametrize(
    ("query", "variables", "status", "code", "said"),
    [
        ('{modelRun(where:{id:"no"}){id}}', None, 200, "RESOURCE_NOT_FOUND", "no"),
        ("{projects{id}}", None, 400, "GRAPHQL_VALIDATION_FAILED", "projects"),
        ("mutation Wipe {wipe{id}}", None, 400, "GRAPHQL_VALIDATION_FAILED", "Wipe"),
        ('{modelRun(where:{id:"run-1"}){secret}}', None, 400, "GRAPHQL_VALIDATION_FAILED", "secret"),
        ('{modelRun(where:{id:"run-1"})}', None, 400, "GRAPHQL_VALIDATION_FAILED", "selection"),
        ('{modelRun(where:{id:"run-1"}){id{x}}}', None, 400, "GRAPHQL_VALIDATION_FAILED", "selection"),
        ("{modelRun(where:{id:$id}){id}}", None, 400, "GRAPHQL_VALIDATION_FAILED", "$id"),
        ("query($id: ID!){modelRun(where:{id:$id}){id}}", None, 400, "BAD_USER_INPUT", "$id"),
        ("{modelRun(where:{id:{}}){id}}", None, 400, "BAD_USER_INPUT", "where.id"),
        ("{modelRun(where:{id:", None, 400, "GRAPHQL_PARSE_FAILED", "EOF"),
        ("subscription {x}", None, 400, "GRAPHQL_PARSE_FAILED", "subscription"),
        ("{a} {b}", None, 400, "GRAPHQL_PARSE_FAILED", "one operation"),
        ("{" * 200, None, 400, "GRAPHQL_PARSE_FAILED", "Name"),
        (
            UPDATE,
            {"id": RUN, "data": {"status": "COMPLETE"}},
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "updateTrainingPipeline",
        ),
    ],
)
def test_bad_queries_are_refused_with_a_code(
    service: kit.Service, query: str, variables: Any, status: int, code: str, said: str
) -> None:
    answer = service.ask(query, variables)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["extensions"]["code"]) == (status, code)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"status": "QUEUED"}, "BAD_USER_INPUT"),
        ({"metadata": {"a": "1"}}, "BAD_USER_INPUT"),
        ({"status": "FAILED", "errorMessage": 5}, "BAD_USER_INPUT"),
        ({"status": "FAILED", "metadata": {"a": 1}}, "BAD_USER_INPUT"),
        ({"status": "FAILED", "reason": "x"}, "BAD_USER_INPUT"),
        ({"status": "FAILED", "errorMessage": "x" * 256}, "INTERNAL_SERVER_ERROR"),
    ],
)
def test_a_status_that_labelbox_would_refuse_leaves_no_trace(service: kit.Service, data: Any, code: str) -> None:
    answer = service.ask(UPDATE, {"id": RUN, "data": data}, path="/_gql")
    assert answer.json()["errors"][0]["extensions"]["code"] == code
    assert service.state()["statuses"] == []


def test_a_key_is_needed_whatever_is_asked(service: kit.Service) -> None:
    for headers in ({}, {"Authorization": "Bearer é"}, {"Authorization": KEY}):
        sent = {name: value.encode() for name, value in headers.items()}
        answer = requests.post(service.endpoint, json={"query": "{x}"}, headers=sent, timeout=5)
        assert answer.json()["errors"][0]["extensions"]["code"] == "AUTHENTICATION_ERROR"


def test_down_is_503_and_passes(service: kit.Service) -> None:
    service.settings(down=True)
    assert service.ask("{user{id}}").status_code == 503
    assert requests.get(f"{service.url}/files/moods/0.txt", timeout=5).status_code == 503
    service.settings(down=False)
    assert service.ask("{user{id}}").status_code == 200


def test_a_rate_limit_counts_down_and_is_echoed(service: kit.Service) -> None:
    assert service.settings(rate_limit=2)["rate_limit"] == 2
    answers = [service.ask("{user{id}}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].json()["message"].startswith("You have exceeded")
    assert service.settings()["rate_limit"] == 0


def test_latency_delays_every_answer(service: kit.Service) -> None:
    service.settings(latency_s=0.2)
    started = time.monotonic()
    service.ask("{user{id}}")
    assert time.monotonic() - started >= 0.2


def test_a_hanging_request_is_closed_without_an_answer(service: kit.Service) -> None:
    service.settings(hang_s=0.1)
    with pytest.raises(requests.ConnectionError):
        service.ask("{user{id}}")


def test_hanging_requests_are_let_go_when_the_switch_changes(service: kit.Service) -> None:
    service.settings(hang_s=600)
    with socket.create_connection(("127.0.0.1", service.server.server_address[1]), timeout=10) as raw:
        raw.sendall(b"GET /files/moods/0.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 10
        while requests.get(f"{service.url}/_control/state", timeout=5).json()["held_requests"] != 1:
            assert time.monotonic() < deadline
        service.settings(hang_s=0)
        assert raw.recv(100) == b""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"dwon": True}, "there is no switch 'dwon'"),
        ({"down": 1}, "down must be true or false"),
        ({"latency_s": -1}, "latency_s must be a number"),
        ({"rate_limit": True}, "rate_limit must be a number"),
        ({"export_chunk_bytes": 0}, "at least 1"),
        ([], "JSON object"),
    ],
)
def test_unknown_switches_and_values_change_nothing(service: kit.Service, wanted: Any, said: str) -> None:
    before = service.settings()
    answer = requests.post(f"{service.url}/_control/settings", json=wanted, timeout=5)
    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert service.settings() == before


@pytest.mark.parametrize(
    "path",
    [
        "/files/moods/../ontology.json",
        "/files/moods/%2e%2e/ontology.json",
        "/files/moods//etc/passwd",
        "/files/moods/",
        "/files/moods/link.txt",
        "/files/nothing/0.txt",
        "/files",
        "/files/",
        "/",
        "/_control/predictions?modelRunId=no",
    ],
)
def test_nothing_outside_the_files_is_served(tmp_path: Path, service: kit.Service, path: str) -> None:
    (tmp_path / "moods" / "files" / "link.txt").symlink_to(tmp_path / "moods" / "ontology.json")
    with socket.create_connection(
        ("127.0.0.1", service.server.server_address[1])
    ) as raw:  # requests would tidy the path
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with raw.makefile("rb") as answer:
            assert b" 404 " in answer.readline()


@pytest.mark.parametrize("path", ["/signed/import/x/input", "/signed/upload/x", "/signed/export/x/0", "/signed/"])
def test_signed_paths_need_a_signature(service: kit.Service, path: str) -> None:
    assert requests.get(service.url + path, timeout=5).status_code == 403


def test_kept_connections_answer_without_delay(service: kit.Service) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {KEY}"
        seconds: list[float] = []
        for _ in range(21):
            started = time.monotonic()
            session.post(service.endpoint, json={"query": "{user{id}}"}, timeout=5)
            seconds.append(time.monotonic() - started)
    assert statistics.median(seconds) < 0.035  # Nagle's delay would be 0.041 s each


def multipart(service: kit.Service, name: str, body: bytes) -> Any:
    query = """mutation M($modelRunId: ID!, $name: String!, $file: Upload!, $contentLength: Int!) {
        createModelErrorAnalysisPredictionImport(data: {modelRunId: $modelRunId name: $name
        filePayload: {file: $file, contentLength: $contentLength}}) {id state statusFileUrl}}"""
    variables = {"modelRunId": RUN, "name": name, "file": None, "contentLength": 1}
    parts = {
        "operations": (None, json.dumps({"query": query, "variables": variables})),
        "map": (None, json.dumps({"f.ndjson": ["variables.file"]})),
        "f.ndjson": ("f.ndjson", body, "application/x-ndjson"),
    }
    return requests.post(service.endpoint, files=parts, headers={"Authorization": f"Bearer {KEY}"}, timeout=30).json()


def test_a_multipart_file_arrives_byte_by_byte(service: kit.Service) -> None:
    body = b'{"text": "\r\n--not a boundary"}\r\n\xc3\xa4\r\n\r\n--'
    made = multipart(service, "odd", body)["data"]["createModelErrorAnalysisPredictionImport"]
    received = requests.get(f"{service.url}/_control/predictions", {"modelRunId": RUN}, timeout=5)
    assert received.content == body
    statuses = requests.get(made["statusFileUrl"], timeout=5).text.splitlines()
    assert {json.loads(line)["status"] for line in statuses} == {"FAILURE"}


def test_a_multipart_request_without_its_file_is_refused(service: kit.Service) -> None:
    parts = {"operations": (None, json.dumps({"query": "{x}"})), "map": (None, json.dumps({"f": ["variables.file"]}))}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = requests.post(service.endpoint, files=parts, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")


def test_every_kind_of_answer_in_an_export_of_ones_own_becomes_a_question(tmp_path: Path) -> None:
    answer = {"feature_schema_id": "fs-red", "name": "Red", "value": "red", "classifications": []}
    kinds = {
        "radio_answer": answer,
        "checklist_answers": [answer],
        "dropdown_answer": answer,
        "dropdown_answers": [answer],
        "text_answer": {"content": "free"},
    }
    row = kit.export_row(0)
    row["experiments"][MODEL]["runs"][RUN]["labels"][0]["annotations"]["classifications"] = [
        {"feature_schema_id": f"fs-{key}", "name": key, "value": key, key: given} for key, given in kinds.items()
    ]
    file = tmp_path / "mine.ndjson"
    file.write_text(json.dumps(row))
    found = load([own_export(file)]).ontologies[MODEL].features
    assert [(feature.kind, [option.names[0] for option in feature.children]) for feature in found] == [
        ("radio", ["Red"]),
        ("checklist", ["Red"]),
        ("dropdown", ["Red"]),
        ("dropdown", ["Red"]),
        ("text", []),
    ]


def test_an_export_of_ones_own_brings_its_ontology_and_runs(tmp_path: Path) -> None:
    rows = [kit.export_row(number, row_data=f"https://example.com/{number}") for number in range(3)]
    objects = [
        {"feature_schema_id": "fs-box", "name": "box", "bounding_box": {"top": 1}, "classifications": []},
        {"feature_schema_id": "fs-person", "name": "person", "location": {"start": 1, "end": 2}, "classifications": []},
    ]
    rows[0]["experiments"][MODEL]["runs"][RUN]["labels"][0]["annotations"]["objects"] = objects
    file = tmp_path / "mine.ndjson"
    file.write_text("\n".join(json.dumps(row) for row in rows))  # no newline at the end
    corpus = load([own_export(file)])
    ontology = corpus.ontologies[MODEL]
    assert list(corpus.runs) == [RUN, kit.OTHER_RUN]
    assert [(feature.kind, feature.names[0], feature.schema_id) for feature in ontology.features] == [
        ("rectangle", "box", "fs-box"),
        ("named-entity", "person", "fs-person"),
        ("radio", "mood", "fs-mood"),
    ]
    assert {option.names for option in ontology.features[2].children} == {("Bad", "bad"), ("Good", "good")}
    assert [row["data_row"]["row_data"] for _, row in corpus.runs[RUN].rows()] == [  # type: ignore[index]
        f"https://example.com/{number}" for number in range(3)
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ('{"data_row": {}}', "'id' is missing"),
        ('{"data_row": {"id": "x"}}', "'experiments' is missing"),
        ("[]", "not an export v2 row"),
        (json.dumps(kit.export_row(0)), "stands twice"),
    ],
)
def test_a_bad_export_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "mine.ndjson"
    file.write_text(json.dumps(kit.export_row(0)) + "\n" + line + "\n")
    with pytest.raises(BadCorpus, match="line 2") as error:
        load([own_export(file)])
    assert said in str(error.value)


def test_sources_that_clash_or_lack_files_are_refused(tmp_path: Path) -> None:
    first, second = kit.make_sample(tmp_path / "a" / "moods"), kit.make_sample(tmp_path / "b" / "moods")
    with pytest.raises(BadCorpus, match="two sources are called 'moods'"):
        load([sample(first), sample(second)])
    with pytest.raises(BadCorpus, match="No such file"):
        load([sample(tmp_path / "nothing")])


def test_rows_stay_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "mine.ndjson"
    with file.open("w") as out:
        for number in range(2_000):
            out.write(json.dumps(kit.export_row(number, row_data="x" * 5_000)) + "\n")
    corpus = load([own_export(file)])
    index = corpus.runs[RUN]
    held = sum(sys.getsizeof(part) for part in (index.offsets, index.row_ids, index.global_keys))
    assert held < file.stat().st_size / 40
    assert next(index.rows(1_999))[1]["data_row"]["id"] == "dr-1999"  # type: ignore[index]


COMMAND = [sys.executable, "-m", "local.labelbox"]


def started(tmp_path: Path, folder: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
    ready = tmp_path / "ready.json"
    ready.unlink(missing_ok=True)
    places = ["--state-dir", str(tmp_path / "state"), "--ready-file", str(ready), "--sample", str(folder)]
    environment = {**os.environ, "LABELBOX_API_KEY": KEY}
    child = subprocess.Popen([*COMMAND, "--port", str(port), *places], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return child, int(json.loads(ready.read_text())["port"])


def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
    folder = kit.make_sample(tmp_path / "moods")
    headers = {"Authorization": f"Bearer {KEY}"}
    row = {"dataRow": {"id": "dr-0"}, "name": "mood", "answer": {"name": "Good"}}
    child, port = started(tmp_path, folder, 0)
    url = f"http://127.0.0.1:{port}"
    try:
        for status in ("EXPORTING_DATA", "PREPARING_DATA"):
            body = {"query": UPDATE, "variables": {"id": RUN, "data": {"status": status, "metadata": {status: "1"}}}}
            assert "errors" not in requests.post(f"{url}/_gql", json=body, headers=headers, timeout=5).json()
        client_side = type("Plain", (), {"endpoint": f"{url}/graphql"})()
        made = multipart(client_side, "first", json.dumps(row).encode())
        link = made["data"]["createModelErrorAnalysisPredictionImport"]["statusFileUrl"]
        requests.post(f"{url}/_control/settings", json={"refuse_predictions": True}, timeout=5)
        before = requests.get(f"{url}/_control/state", timeout=5).json()
    finally:
        child.kill()
        child.wait(10)
    assert before["model_runs"][RUN]["predictions"] == 1
    child, again = started(tmp_path, folder, port)
    try:
        assert again == port
        assert requests.get(f"{url}/_control/state", timeout=5).json() == before
        assert json.loads(requests.get(link, timeout=5).text)["status"] == "SUCCESS"
        assert requests.get(f"{url}/_control/settings", timeout=5).json()["refuse_predictions"] is True
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        ([], KEY, "nothing to serve"),
        (["--export", "/nothing.ndjson"], KEY, "No such file"),
        (["--export", "/nothing.ndjson"], "", "an API key is needed"),
    ],
)
def test_the_command_says_what_it_lacks(tmp_path: Path, arguments: list[str], key: str, said: str) -> None:
    environment = {**os.environ, "LABELBOX_API_KEY": key}
    ended = subprocess.run(
        [*COMMAND, "--state-dir", str(tmp_path), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, said in ended.stderr) == (2, True)
