"""The orchestrator's Vertex port over the wire: real clients against a Vertex that refuses what Vertex refuses."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.processes import free_port
from orchestrator.errors import LaunchRefused, LaunchUnsure, Unavailable
from orchestrator.identities import AttemptRef
from orchestrator.job_requests import JobRequest, job_request
from orchestrator.vertex import VertexJobs
from tests.functions.world import SETTINGS, World


def request_of_run(model_type: str = "text_single_classification") -> JobRequest:
    """The request of a run's first job, as the orchestrator makes it, for the image that sleeps a moment."""
    world = World()
    run = world.run(world.start(model_type))
    request = job_request(run, AttemptRef("etl", "export", 1), world.services.settings)
    container = request.body["job_spec"]["worker_pool_specs"][0]["container_spec"]
    container |= {"image_uri": "us-central1-docker.pkg.dev/local-project/test/etl-sleeper:v1", "args": ["--seconds=0"]}
    return request


@pytest.fixture
def port(vertex_server: tuple[str, str]) -> Iterator[VertexJobs]:
    jobs = VertexJobs(replace(SETTINGS, vertex_endpoint=vertex_server[0], call_deadline_s=5.0))
    yield jobs
    jobs.close()


def wait_for_end(port: VertexJobs, name: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        reading = port.get(name)
        if reading and reading.terminal:
            return reading.state
        time.sleep(0.05)
    raise AssertionError("the job did not end")


def test_a_job_is_created_found_by_its_label_read_and_ends(port: VertexJobs) -> None:
    request = request_of_run()
    created = port.create(request)
    assert "/customJobs/" in created.name and not created.terminal
    found = port.find("CustomJob", request.body["labels"]["lb_attempt"])
    assert [job.name for job in found] == [created.name]
    assert port.find("CustomJob", "another") == []
    assert created.name in [job.name for job in port.running("test")]
    assert wait_for_end(port, created.name) == "SUCCEEDED"
    assert port.running("test") == []
    assert [job.state for job in port.find("CustomJob", request.body["labels"]["lb_attempt"])] == ["SUCCEEDED"]


def test_a_cancel_ends_a_job_and_may_come_twice_or_too_late(port: VertexJobs) -> None:
    request = request_of_run()
    request.body["job_spec"]["worker_pool_specs"][0]["container_spec"]["args"] = ["--seconds=60"]
    name = port.create(request).name
    port.cancel(name)
    port.cancel(name)
    assert wait_for_end(port, name) == "CANCELLED"
    port.cancel(name)
    port.cancel(name.replace(name.rsplit("/", 1)[1], "1"))


def test_a_job_that_vertex_does_not_know_is_none(port: VertexJobs) -> None:
    assert port.get("projects/local-project/locations/us-central1/customJobs/12345") is None


def test_an_invalid_request_is_a_sure_no(port: VertexJobs) -> None:
    request = request_of_run()
    request.body["labels"]["Bad Label"] = "x"
    with pytest.raises(LaunchRefused) as caught:
        port.create(request)
    assert not caught.value.quota


def test_quota_is_a_sure_no_that_waiting_can_help(port: VertexJobs, vertex_server: tuple[str, str]) -> None:
    body = json.dumps({"create_refusals": 1}).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"{vertex_server[1]}/settings", body, method="POST"), timeout=5
    ).close()
    with pytest.raises(LaunchRefused) as caught:
        port.create(request_of_run())
    assert caught.value.quota
    port.create(request_of_run())


def test_a_vertex_that_does_not_answer_leaves_a_create_unsure_and_a_read_unavailable() -> None:
    jobs = VertexJobs(replace(SETTINGS, vertex_endpoint=f"http://127.0.0.1:{free_port()}", call_deadline_s=2.0))
    with pytest.raises(LaunchUnsure):
        jobs.create(request_of_run())
    with pytest.raises(Unavailable):
        jobs.get("projects/p/locations/r/customJobs/1")
    with pytest.raises(Unavailable):
        jobs.find("CustomJob", "x")
    jobs.close()


def test_an_automl_training_and_a_batch_prediction_are_requests_that_vertex_reads(port: VertexJobs) -> None:
    """Vertex refuses both for what they name, a data set and a model that do not exist, and for nothing else."""
    world = World()
    world.start("image_single_classification")
    names = ("training_file", "manifest", "prediction_instances", "dataset_report")
    outputs = {name: f"gs://bucket/{name}" for name in names} | {"dataset": "123"}
    world.log_hint(world.end_job(result={"version": 1, "outputs": outputs}))
    world.pump()
    world.end_job(outputs={"model": "projects/local-project/locations/us-central1/models/7"})
    world.tick()
    for request, words in ((world.jobs.requests[1], "123"), (world.jobs.requests[2], "models/7")):
        with pytest.raises(LaunchRefused, match=words):
            port.create(request)
