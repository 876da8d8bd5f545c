"""What a custom job's life guarantees: its order, its surroundings, its end, and that nothing of it stays."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions

from local.vertex.slots import Slots
from tests.local.pubsub_world import World as PubSub
from tests.local.pubsub_world import pubsub_process
from tests.local.vertex_world import IMAGE, PARENT, World, alive, custom_job, job_env, wait_until, world


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("vertex"), job_environment={"GIVEN_TO_ALL": "yes"}) as opened:
        yield opened


@pytest.fixture(autouse=True)
def usual_settings(here: World) -> Iterator[None]:
    yield
    here.control.set(cancel_delay_s=0.2, end_delay_s=0.0)


def told(path: Path) -> Any:
    wait_until(path.exists)
    return json.loads(path.read_text())


def with_container(job: dict[str, Any], **fields: Any) -> dict[str, Any]:
    job_env(job).update(fields)
    return job


def test_a_job_goes_through_its_states_in_order_with_their_times(here: World, tmp_path: Path) -> None:
    job = here.clients.create(f"--until={tmp_path / 'go'}", labels={"lb_run": "a"})
    assert job.name.startswith(f"{PARENT}/customJobs/")
    assert job.name.rsplit("/", 1)[-1].isdigit()
    assert job.state.name == "JOB_STATE_QUEUED"
    running = here.clients.reach(job.name, "JOB_STATE_RUNNING")
    assert running.create_time <= running.start_time
    assert running.end_time is None
    (tmp_path / "go").touch()
    ended = here.clients.ended(job.name)
    assert ended.state.name == "JOB_STATE_SUCCEEDED"
    assert ended.start_time <= ended.end_time
    assert dict(ended.labels) == {"lb_run": "a"}
    assert not ended.error.code


def test_a_job_sees_what_vertex_gives_and_nothing_of_this_process(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_PERSON", "x")
    job = custom_job(f"--tell={tmp_path / 'told'}", "--with=a b")
    job_env(job)["env"] = [{"name": "MINE", "value": "1"}, {"name": "OMP_NUM_THREADS", "value": "1"}]
    job["job_spec"]["base_output_directory"] = {"output_uri_prefix": "gs://a-bucket/out"}
    name = here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name
    seen = told(tmp_path / "told")
    environment = seen["environment"]
    assert seen["arguments"][1] == "--with=a b"
    assert environment["CLOUD_ML_JOB_ID"] == name.rsplit("/", 1)[-1]
    assert environment["CLOUD_ML_PROJECT_ID"] == "local-project"
    assert environment["AIP_MODEL_DIR"] == "gs://a-bucket/out/model/"
    assert environment["AIP_CHECKPOINT_DIR"] == "gs://a-bucket/out/checkpoints/"
    assert environment["AIP_TENSORBOARD_LOG_DIR"] == "gs://a-bucket/out/logs/"
    assert (environment["MINE"], environment["GIVEN_TO_ALL"]) == ("1", "yes")
    assert (environment["OMP_WAIT_POLICY"], environment["OMP_NUM_THREADS"]) == ("PASSIVE", "1")
    assert environment["PYTHONPATH"] == str(here.folder / "jobs")
    assert "A_SECRET_OF_THE_PERSON" not in environment
    assert environment["HOME"] == seen["cwd"] != os.environ.get("HOME")
    assert seen["executable"].startswith(str(here.folder / "envs"))
    here.clients.ended(name)
    wait_until(lambda: not Path(seen["cwd"]).exists())


def test_both_outputs_are_in_the_jobs_log(here: World) -> None:
    name = here.clients.create().name
    here.clients.ended(name)
    assert here.log(name).splitlines() == ["one line on stdout", "one line on stderr"]


def test_a_failed_job_says_only_its_exit_code(here: World) -> None:
    ended = here.clients.ended(here.clients.create("--exit=7").name)
    assert ended.state.name == "JOB_STATE_FAILED"
    assert ended.error.code == 3
    assert ended.error.message.startswith("The replica workerpool0-0 exited with a non-zero status of 7. ")
    assert "one line" not in ended.error.message


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [(["python", "-c", "raise SystemExit(4)"], 4), (["/no/such/program"], 127), (["sh", "-c", "kill -9 $$"], 137)],
)
def test_a_command_takes_the_entrypoints_place(here: World, command: list[str], exit_code: int) -> None:
    job = with_container(custom_job(), command=command)
    ended = here.clients.ended(here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name)
    assert f"non-zero status of {exit_code}." in ended.error.message


def test_an_unknown_image_fails_the_job_and_not_the_create(here: World) -> None:
    job = with_container(custom_job(), image_uri="us-docker.pkg.dev/p/r/no-such-job:1")
    ended = here.clients.ended(here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name)
    assert ended.state.name == "JOB_STATE_FAILED"
    assert "'us-docker.pkg.dev/p/r/no-such-job:1' is not found" in ended.error.message


@pytest.mark.parametrize("suffix", ["", ":v1", "@sha256:" + "0" * 64, ":v1@sha256:" + "0" * 64])
def test_an_image_is_known_by_its_name_whatever_its_tag(here: World, suffix: str) -> None:
    job = with_container(custom_job(), image_uri=IMAGE.removesuffix(":latest") + suffix)
    ended = here.clients.ended(here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name)
    assert ended.state.name == "JOB_STATE_SUCCEEDED"


def test_an_image_that_cannot_be_prepared_fails_the_job_with_the_reason(here: World) -> None:
    folder = here.folder / "jobs" / "etl" / "broken_needs"
    folder.mkdir()
    (folder / "Dockerfile").write_text('ENTRYPOINT ["python", "-m", "etl.broken_needs.main"]\n')
    (folder / "requirements.txt").write_text("./no/such/package\n")
    job = with_container(custom_job(), image_uri="us-docker.pkg.dev/p/r/etl-broken-needs")
    ended = here.clients.ended(here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name)
    assert ended.state.name == "JOB_STATE_FAILED"
    assert "no/such/package" in ended.error.message


def test_two_run_at_once_and_the_others_wait_in_their_order(here: World, tmp_path: Path) -> None:
    names = [
        here.clients.create(f"--until={tmp_path / f'go{number}'}", f"--tell={tmp_path / f'told{number}'}").name
        for number in range(4)
    ]
    states = [here.clients.reach(name, "JOB_STATE_RUNNING").state.name for name in names[:2]]
    assert states == ["JOB_STATE_RUNNING"] * 2
    assert [here.clients.state(name) for name in names[2:]] == ["JOB_STATE_QUEUED"] * 2
    (tmp_path / "go1").touch()
    here.clients.reach(names[2], "JOB_STATE_RUNNING")
    assert here.clients.state(names[3]) == "JOB_STATE_QUEUED"
    for number in range(4):
        (tmp_path / f"go{number}").touch()
    assert {here.clients.ended(name).state.name for name in names} == {"JOB_STATE_SUCCEEDED"}


def test_nobody_enters_before_who_came_first() -> None:
    slots = Slots(1, threading.Condition())
    for name in ("first", "second", "third"):
        slots.join(name)
    assert [slots.try_enter(name) for name in ("third", "second", "first", "second")] == [False, False, True, False]
    slots.give_up("second")
    slots.leave()
    assert slots.try_enter("third")


def test_a_cancel_comes_later_and_ends_children_too(here: World, tmp_path: Path) -> None:
    here.control.set(cancel_delay_s=0.5)
    name = here.clients.create(f"--until={tmp_path / 'never'}", f"--child={tmp_path / 'child'}").name
    pid = int(wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
    here.clients.jobs.cancel_custom_job(name=name)
    assert here.clients.state(name) == "JOB_STATE_CANCELLING"
    assert alive(pid)
    ended = here.clients.ended(name)
    assert (ended.state.name, ended.error.code) == ("JOB_STATE_CANCELLED", 1)
    assert not alive(pid)


def test_a_job_may_end_by_itself_while_it_is_being_cancelled(here: World, tmp_path: Path) -> None:
    here.control.set(cancel_delay_s=60)
    name = here.clients.create(f"--until={tmp_path / 'go'}").name
    here.clients.reach(name, "JOB_STATE_RUNNING")
    here.clients.jobs.cancel_custom_job(name=name)
    (tmp_path / "go").touch()
    assert here.clients.ended(name).state.name == "JOB_STATE_SUCCEEDED"


def test_a_queued_job_is_cancelled_without_having_run(here: World, tmp_path: Path) -> None:
    runners = [here.clients.create(f"--until={tmp_path / 'go'}").name for _ in range(2)]
    queued = here.clients.create(f"--tell={tmp_path / 'told'}").name
    here.clients.jobs.cancel_custom_job(name=queued)
    assert here.clients.ended(queued).state.name == "JOB_STATE_CANCELLED"
    (tmp_path / "go").touch()
    for name in runners:
        here.clients.ended(name)
    assert not (tmp_path / "told").exists()


def test_cancelling_an_ended_job_changes_nothing(here: World) -> None:
    name = here.clients.create().name
    here.clients.ended(name)
    here.clients.jobs.cancel_custom_job(name=name)
    assert here.clients.state(name) == "JOB_STATE_SUCCEEDED"


def test_a_job_past_its_timeout_is_ended(here: World, tmp_path: Path) -> None:
    job = custom_job(f"--until={tmp_path / 'never'}", f"--tell={tmp_path / 'told'}")
    job["job_spec"]["scheduling"] = {"timeout": {"seconds": 1}}
    name = here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name
    pid = told(tmp_path / "told")["pid"]
    ended = here.clients.ended(name)
    assert (ended.state.name, ended.error.code) == ("JOB_STATE_CANCELLED", 4)
    assert "timeout of 1 seconds" in ended.error.message
    assert not alive(pid)


def test_a_job_reads_running_for_a_while_after_its_last_word(here: World, tmp_path: Path) -> None:
    here.control.set(end_delay_s=0.6)
    name = here.clients.create(f"--tell={tmp_path / 'told'}").name
    pid = told(tmp_path / "told")["pid"]
    wait_until(lambda: not alive(pid))
    assert here.clients.state(name) == "JOB_STATE_RUNNING"
    assert here.clients.ended(name).state.name == "JOB_STATE_SUCCEEDED"


def test_background_children_do_not_outlive_their_job(here: World, tmp_path: Path) -> None:
    here.clients.ended(here.clients.create(f"--child={tmp_path / 'child'}").name)
    wait_until(lambda: not alive(int((tmp_path / "child").read_text())))


def test_only_an_ended_job_is_deleted(here: World, tmp_path: Path) -> None:
    name = here.clients.create(f"--until={tmp_path / 'go'}").name
    with pytest.raises(exceptions.FailedPrecondition):
        here.clients.jobs.delete_custom_job(name=name)
    (tmp_path / "go").touch()
    here.clients.ended(name)
    here.clients.jobs.delete_custom_job(name=name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        here.clients.jobs.get_custom_job(name=name)


@pytest.mark.parametrize(
    ("end_delay_s", "event_delay_s", "state"),
    [(0.0, 0.3, "JOB_STATE_SUCCEEDED"), (60.0, 0.0, "JOB_STATE_RUNNING")],
)
def test_the_end_is_announced_as_a_sink_would_before_or_after_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_delay_s: float, event_delay_s: float, state: str
) -> None:
    with pubsub_process(tmp_path) as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{pubsub.port}")
        messages = PubSub(pubsub.port)
        topic = messages.topic("job-state")
        subscription = messages.subscribe(topic)
        with world(tmp_path, job_events_topic=topic) as here:
            here.control.set(end_delay_s=end_delay_s, event_delay_s=event_delay_s)
            name = here.clients.create().name
            (received,) = wait_until(
                lambda: (
                    messages.subscriber.pull(subscription=subscription, max_messages=5, timeout=30).received_messages
                )
            )
            entry = json.loads(received.message.data)
            assert here.clients.state(name) == state
        messages.publisher.stop()
        messages.publisher.transport.close()
        messages.subscriber.close()
    job_id = name.rsplit("/", 1)[-1]
    assert entry["textPayload"] == "Job completed successfully."
    assert entry["severity"] == "INFO"
    assert entry["logName"] == f"projects/local-project/logs/ml.googleapis.com%2F{job_id}"
    labels = {"job_id": job_id, "project_id": "local-project", "task_name": "service"}
    assert entry["resource"] == {"type": "ml_job", "labels": labels}


def test_failure_is_announced_and_a_cancel_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pubsub_process(tmp_path) as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{pubsub.port}")
        messages = PubSub(pubsub.port)
        topic = messages.topic("job-state")
        subscription = messages.subscribe(topic)
        with world(tmp_path, job_events_topic=topic) as here:
            cancelled = here.clients.create(f"--until={tmp_path / 'never'}").name
            here.clients.reach(cancelled, "JOB_STATE_RUNNING")
            here.clients.jobs.cancel_custom_job(name=cancelled)
            here.clients.ended(cancelled)
            failed = here.clients.create("--exit=1").name
            pulled = wait_until(
                lambda: (
                    messages.subscriber.pull(subscription=subscription, max_messages=5, timeout=30).received_messages
                )
            )
        messages.publisher.stop()
        messages.publisher.transport.close()
        messages.subscriber.close()
    entries = [json.loads(received.message.data) for received in pulled]
    assert [entry["textPayload"] for entry in entries] == ["Job failed."]
    assert entries[0]["resource"]["labels"]["job_id"] == failed.rsplit("/", 1)[-1]
