"""What survives what: a kill of the stand-in loses no job, a stop ends their processes, and a start goes on."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.pubsub_world import World as PubSub
from tests.local.pubsub_world import pubsub_process
from tests.local.vertex_world import PARENT, VertexProcess, alive, vertex_process, wait_until


@pytest.fixture
def vertex(tmp_path: Path) -> Iterator[VertexProcess]:
    with vertex_process(tmp_path, "--slots=1") as process:
        yield process


def told(path: Path) -> Any:
    wait_until(path.exists)
    return json.loads(path.read_text())


def test_a_job_that_outlived_a_kill_is_adopted_and_ends_once(vertex: VertexProcess, tmp_path: Path) -> None:
    name = vertex.world.clients.create(f"--until={tmp_path / 'go'}", f"--tell={tmp_path / 'told'}").name
    queued = vertex.world.clients.create("--exit=3").name
    pid = told(tmp_path / "told")["pid"]
    vertex.kill()
    assert alive(pid)
    (tmp_path / "told").unlink()
    vertex.start()
    assert vertex.world.clients.state(name) == "JOB_STATE_RUNNING"
    assert vertex.world.clients.state(queued) == "JOB_STATE_QUEUED"
    (tmp_path / "go").touch()
    assert vertex.world.clients.ended(name).state.name == "JOB_STATE_SUCCEEDED"
    assert "status of 3" in vertex.world.clients.ended(queued).error.message
    assert not (tmp_path / "told").exists()


@pytest.mark.parametrize(("exit_code", "state"), [(0, "JOB_STATE_SUCCEEDED"), (5, "JOB_STATE_FAILED")])
def test_a_job_that_ended_while_nobody_watched_has_its_true_end(
    vertex: VertexProcess, tmp_path: Path, exit_code: int, state: str
) -> None:
    name = vertex.world.clients.create(
        f"--until={tmp_path / 'go'}", f"--tell={tmp_path / 'told'}", f"--exit={exit_code}"
    ).name
    pid = told(tmp_path / "told")["pid"]
    vertex.kill()
    (tmp_path / "go").touch()
    wait_until(lambda: not alive(pid))
    vertex.start()
    assert vertex.world.clients.ended(name).state.name == state


def test_a_job_whose_processes_were_killed_unseen_fails_as_internal(vertex: VertexProcess, tmp_path: Path) -> None:
    name = vertex.world.clients.create(f"--until={tmp_path / 'never'}", f"--tell={tmp_path / 'told'}").name
    group = os.getpgid(told(tmp_path / "told")["pid"])
    vertex.kill()
    os.killpg(group, signal.SIGKILL)
    vertex.start()
    ended = vertex.world.clients.ended(name)
    assert (ended.state.name, ended.error.code) == ("JOB_STATE_FAILED", 13)


def test_a_cancel_that_a_kill_interrupted_is_carried_out(vertex: VertexProcess, tmp_path: Path) -> None:
    vertex.world.control.set(cancel_delay_s=1.0)
    name = vertex.world.clients.create(f"--until={tmp_path / 'never'}", f"--tell={tmp_path / 'told'}").name
    pid = told(tmp_path / "told")["pid"]
    vertex.world.clients.jobs.cancel_custom_job(name=name)
    vertex.kill()
    vertex.start()
    assert vertex.world.clients.ended(name).state.name == "JOB_STATE_CANCELLED"
    assert not alive(pid)


def test_a_stop_ends_the_jobs_processes_soon_and_they_fail_at_the_next_start(
    vertex: VertexProcess, tmp_path: Path
) -> None:
    name = vertex.world.clients.create(
        f"--until={tmp_path / 'never'}", f"--tell={tmp_path / 'told'}", f"--child={tmp_path / 'child'}"
    ).name
    queued = vertex.world.clients.create().name
    pid = told(tmp_path / "told")["pid"]
    child = int(wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
    assert vertex.stop() < 5
    assert not alive(pid)
    assert not alive(child)
    vertex.start()
    ended = vertex.world.clients.ended(name)
    assert (ended.state.name, ended.error.code) == ("JOB_STATE_FAILED", 13)
    assert vertex.world.clients.ended(queued).state.name == "JOB_STATE_SUCCEEDED"


def test_a_job_that_ignores_sigterm_does_not_outlive_a_stop(vertex: VertexProcess, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    job = {
        "display_name": "deaf",
        "job_spec": {
            "worker_pool_specs": [
                {
                    "machine_spec": {"machine_type": "n1-standard-4"},
                    "replica_count": 1,
                    "container_spec": {"image_uri": "host/p/etl-small-job", "command": ["python", "-c", script]},
                }
            ]
        },
    }
    vertex.world.clients.jobs.create_custom_job(parent=PARENT, custom_job=job)
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert vertex.stop() < 5
    assert not alive(pid)


def test_settings_and_ended_jobs_are_still_there(vertex: VertexProcess) -> None:
    vertex.world.control.set(end_delay_s=0.25)
    name = vertex.world.clients.create(labels={"lb_run": "a"}).name
    before = vertex.world.clients.ended(name)
    vertex.stop()
    vertex.start()
    assert vertex.world.clients.get(name) == before
    assert vertex.world.control.settings()["end_delay_s"] == 0.25


def test_adopted_jobs_are_watched_even_beyond_the_slots(tmp_path: Path) -> None:
    with vertex_process(tmp_path, "--slots=2") as vertex:
        names = [vertex.world.clients.create(f"--until={tmp_path / f'go{number}'}").name for number in range(2)]
        for name in names:
            vertex.world.clients.reach(name, "JOB_STATE_RUNNING")
        vertex.kill()
        vertex.flags = ("--slots=1",)
        vertex.start()
        (tmp_path / "go1").touch()
        assert vertex.world.clients.ended(names[1]).state.name == "JOB_STATE_SUCCEEDED"
        assert vertex.world.clients.state(names[0]) == "JOB_STATE_RUNNING"
        (tmp_path / "go0").touch()
        assert vertex.world.clients.ended(names[0]).state.name == "JOB_STATE_SUCCEEDED"


def test_an_announcement_that_is_owed_is_made_after_a_restart(tmp_path: Path) -> None:
    with pubsub_process(tmp_path) as pubsub:
        messages = PubSub(pubsub.port)
        topic = messages.topic("job-state")
        subscription = messages.subscribe(topic)
        os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{pubsub.port}"
        try:
            with vertex_process(tmp_path, f"--job-events-topic={topic}") as vertex:
                vertex.world.control.set(event_delay_s=3.0)
                name = vertex.world.clients.create().name
                vertex.world.clients.ended(name)
                vertex.kill()
                vertex.start()
                (received,) = wait_until(
                    lambda: (
                        messages.subscriber.pull(
                            subscription=subscription, max_messages=5, timeout=30
                        ).received_messages
                    )
                )
        finally:
            del os.environ["PUBSUB_EMULATOR_HOST"]
            messages.publisher.stop()
            messages.publisher.transport.close()
            messages.subscriber.close()
    assert json.loads(received.message.data)["resource"]["labels"]["job_id"] == name.rsplit("/", 1)[-1]
