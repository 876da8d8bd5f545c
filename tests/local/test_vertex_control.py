"""What the control port gives: all that there is, and failures on demand."""

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core import exceptions

from tests.local.vertex_world import PARENT, World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as opened:
        yield opened


def test_jobs_shows_every_resource_with_its_log_and_error(here: World) -> None:
    name = here.clients.create("--exit=1", labels={"lb_run": "a"}).name
    here.clients.ended(name)
    metadata = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
    here.clients.datasets.create_dataset(
        parent=PARENT, dataset={"display_name": "d", "metadata_schema_uri": metadata}
    ).result(timeout=10)
    job, dataset = here.control.jobs()
    assert (job["kind"], job["name"], job["state"]) == ("CustomJob", name, "JOB_STATE_FAILED")
    assert job["labels"] == {"lb_run": "a"}
    assert job["create_time"] <= job["start_time"] <= job["end_time"]
    assert "non-zero status of 1" in job["error"]["message"]
    assert "one line on stdout" in Path(job["log"]).read_text()
    assert (dataset["kind"], dataset["display_name"]) == ("Dataset", "d")


def test_settings_change_one_by_one_and_are_shown(here: World) -> None:
    assert here.control.set(list_lag_s=1.5)["list_lag_s"] == 1.5
    assert here.control.set(partial_batch=True)["list_lag_s"] == 1.5
    assert here.control.settings()["partial_batch"] is True


@pytest.mark.parametrize(
    "changes",
    [{"lag": 1}, {"list_lag_s": "1"}, {"list_lag_s": -1}, {"create_refusals": 1.5}, {"unavailable": 1}],
)
def test_a_setting_that_is_none_is_refused_and_nothing_changes(here: World, changes: dict[str, object]) -> None:
    before = here.control.settings()
    with pytest.raises(urllib.error.HTTPError) as caught:
        here.control.set(batch_shards=9, **changes)
    caught.value.close()
    assert caught.value.code == 400
    assert here.control.settings() == before


def test_the_next_creates_are_refused_for_quota(here: World) -> None:
    here.control.set(create_refusals=2)
    for _ in range(2):
        with pytest.raises(exceptions.ResourceExhausted, match="quota"):
            here.clients.create()
    assert here.clients.create().name
    assert len(list(here.clients.jobs.list_custom_jobs(parent=PARENT))) == 1


def test_a_lost_answer_leaves_a_job(here: World) -> None:
    here.control.set(lost_answers=1)
    with pytest.raises(exceptions.ServiceUnavailable):
        here.clients.create(labels={"lb_run": "a"})
    (job,) = here.clients.jobs.list_custom_jobs(request={"parent": PARENT, "filter": "labels.lb_run=a"})
    assert here.clients.ended(job.name).state.name == "JOB_STATE_SUCCEEDED"


def test_unavailable_refuses_everything_until_it_is_over(here: World) -> None:
    name = here.clients.create().name
    here.control.set(unavailable=True)
    with pytest.raises(exceptions.ServiceUnavailable):
        here.clients.create()
    with pytest.raises(exceptions.ServiceUnavailable):
        here.clients.jobs.get_custom_job(name=name, retry=None)
    here.control.set(unavailable=False)
    assert here.clients.ended(name).state.name == "JOB_STATE_SUCCEEDED"


def test_a_slow_operation_is_done_later(here: World) -> None:
    here.control.set(operation_delay_s=0.5)
    metadata = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
    operation = here.clients.datasets.create_dataset(
        parent=PARENT, dataset={"display_name": "d", "metadata_schema_uri": metadata}
    )
    assert not operation.done()
    assert operation.result(timeout=20).display_name == "d"
