"""The coordinator as it is deployed: functions-framework serves it, and real HTTP requests come in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from local.functions import FunctionProcess
from local.gcs import StorageServer
from orchestrator.signature import sign
from tests.functions.conftest import LABELBOX_KEY, MODEL_RUN, LabelboxServer

SECRET = "test_secret"
BODY = json.dumps({"modelId": "m", "modelRunId": MODEL_RUN, "modelType": "text_single_classification"}).encode()


@pytest.fixture
def coordinator(
    tmp_path: Path,
    storage_server: StorageServer,
    bucket_name: str,
    pubsub_host: str,
    labelbox_server: LabelboxServer,
) -> Iterator[FunctionProcess]:
    with grpc.insecure_channel(pubsub_host) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        publisher.create_topic(request={"name": f"projects/local-project/topics/{bucket_name}-etl"})
    function = FunctionProcess(
        "coordinator",
        {
            "GOOGLE_CLOUD_PROJECT": "local-project",
            "REGION": "us-central1",
            "DEPLOYMENT_NAME": bucket_name,
            "BUCKET": bucket_name,
            "JOB_SERVICE_ACCOUNT": "jobs@local-project.iam.gserviceaccount.com",
            "IMAGE_REPOSITORY": "us-central1-docker.pkg.dev/local-project/test",
            "LABELBOX_ENDPOINT": labelbox_server.endpoint,
            "LABELBOX_API_KEY": LABELBOX_KEY,
            "SERVICE_SECRET": SECRET,
            "STORAGE_EMULATOR_HOST": storage_server.host,
            "PUBSUB_EMULATOR_HOST": pubsub_host,
            "LABELBOX_TIMEOUT_S": "1",
        },
        tmp_path,
    )
    function.start()
    function.wait_ready()
    yield function
    function.process.stop()


def ask(
    function: FunctionProcess, method: str, path: str, body: bytes = b"", signature: str | None = None, **headers: str
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=30)
    given = {"x-hub-signature": sign(body, SECRET) if signature is None else signature, **headers}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, json.loads(content) if is_json else content


def test_sixteen_equal_requests_at_once_start_one_run(coordinator: FunctionProcess) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(coordinator, "POST", "/model_run", BODY), range(16)))
    assert sorted(status for status, _ in answers) == [200] * 15 + [202]
    assert {content["runId"] for _, content in answers} == {f"{MODEL_RUN}.1"}


def test_what_is_not_signed_is_401_and_leaves_no_trace_of_its_body(coordinator: FunctionProcess) -> None:
    secret_body = b'{"modelRunId": "planted-in-the-body"}'
    for signature in ("", "sha1=" + "0" * 40, "sha1=é", sign(b"", SECRET)):
        assert ask(coordinator, "POST", "/model_run", secret_body, signature)[0] == 401
    assert ask(coordinator, "GET", "/models", b"", "sha1=" + "0" * 40)[0] == 401
    log = coordinator.process.log.read_text()
    assert "planted-in-the-body" not in log and SECRET not in log and LABELBOX_KEY not in log


def test_models_ping_and_prefixes(coordinator: FunctionProcess) -> None:
    assert ask(coordinator, "GET", "/ping", signature="") == (200, b"pong")
    for path in ("/models", "/model", "/models/", "/coordinator/models"):
        status, content = ask(coordinator, "GET", path)
        assert status == 200 and content["image_single_classification"] == {}


def test_bad_input_is_a_4xx_that_names_every_problem(coordinator: FunctionProcess) -> None:
    status, content = ask(coordinator, "POST", "/model_run", b'{"modelType": "box"}')
    assert status == 400 and len(content["problems"]) == 2
    # The error is one sentence of at most 255 characters; the problems are whole.
    assert "modelRunId is missing" in content["error"] and "text_single_classification" in content["problems"][1]
    assert ask(coordinator, "POST", "/model_run", b"x" * 70000)[0] == 413
    assert ask(coordinator, "PUT", "/model_run", BODY)[0] == 405
    assert ask(coordinator, "GET", "/nothing")[0] == 404


def test_an_unknown_model_run_is_404_and_a_labelbox_that_is_down_is_202(
    coordinator: FunctionProcess, labelbox_server: LabelboxServer
) -> None:
    unknown = BODY.replace(MODEL_RUN.encode(), b"9a000000-0000-0000-0000-000000000000")
    status, content = ask(coordinator, "POST", "/model_run", unknown)
    assert status == 404 and "workspace" in content["hint"]
    labelbox_server.switch(down=True)
    assert ask(coordinator, "POST", "/model_run", BODY)[0] == 202
