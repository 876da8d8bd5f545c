"""What lists guarantee and what they do not: filters, order, pages, and a lag that gets never have."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core import exceptions

from local.vertex.filters import needed_texts
from tests.local.vertex_world import PARENT, World, world


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("vertex")) as opened:
        first = opened.clients.create(display_name="first", labels={"lb_run": "a", "lb_attempt": "train-1"})
        failed = opened.clients.create("--exit=1", display_name="failed", labels={"lb_run": "a"})
        opened.clients.create(display_name="other", labels={"team": "x"})
        for name in (first.name, failed.name):
            opened.clients.ended(name)
        opened.clients.reach(listed(opened, 'display_name="other"', names=True)[0], "JOB_STATE_SUCCEEDED")
        yield opened


def listed(here: World, filter_: str, *, names: bool = False) -> list[str]:
    jobs = here.clients.jobs.list_custom_jobs(request={"parent": PARENT, "filter": filter_})
    return [job.name if names else job.display_name for job in jobs]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("", ["other", "failed", "first"]),
        ("labels.lb_run=a", ["failed", "first"]),
        ('labels.lb_run="a"', ["failed", "first"]),
        ('labels."lb_run"=a', ["failed", "first"]),
        ("labels.lb_run=a AND labels.lb_attempt=train-1", ["first"]),
        ("labels.lb_run:*", ["failed", "first"]),
        ("labels.lb_run!=a", ["other"]),
        ("labels.nobody:*", []),
        ('state="JOB_STATE_FAILED"', ["failed"]),
        ("state=JOB_STATE_SUCCEEDED AND labels.lb_run=a", ["first"]),
        ('state!="JOB_STATE_SUCCEEDED"', ["failed"]),
        ('NOT state="JOB_STATE_SUCCEEDED"', ["failed"]),
        ('display_name="first"', ["first"]),
        ('display_name!="first"', ["other", "failed"]),
        ('display_name:"f*"', ["failed", "first"]),
        ('display_name:"ir"', ["first"]),
        ('(display_name="first" OR display_name="other") AND labels.team:*', ["other"]),
        ('labels.team:* OR display_name="first" AND state="JOB_STATE_SUCCEEDED"', ["other", "first"]),
        ('create_time>"2021-05-18T00:00:00Z"', ["other", "failed", "first"]),
        ('create_time<"2021-05-18T00:00:00Z"', []),
    ],
)
def test_a_filter_finds_what_it_says_newest_first(here: World, filter_: str, found: list[str]) -> None:
    assert listed(here, filter_) == found


@pytest.mark.parametrize(
    ("filter_", "needed"),
    [
        ("", []),
        ("labels.lb_attempt=abc-1", [b"abc-1"]),
        ('labels.a=x AND labels."b" = "y z" AND state="JOB_STATE_FAILED"', [b"x", b"y z"]),
        ("labels.a=x OR labels.b=y", []),
        ("labels.a=x AND NOT labels.b=y", []),
        ("(labels.a=x) AND labels.b=y", []),
        ("labels.a!=x AND labels.c:*", []),
        ('display_name="labels.a" AND labels.b=y', [b"y"]),
        (r'labels.a="x\"y"', []),
    ],
)
def test_a_list_reads_only_resources_that_hold_what_its_filter_surely_needs(filter_: str, needed: list[bytes]) -> None:
    assert needed_texts(filter_) == needed


@pytest.mark.parametrize(
    "filter_",
    [
        "labels.a",
        "labels.a=",
        "labels.a>b",
        "labels.a:b",
        "owner=me",
        'state="RUNNING"',
        'state<"JOB_STATE_FAILED"',
        'display_name>"a"',
        "labels.a=b AND",
        "labels.a=b labels.c=d",
        '(display_name="a"',
        'display_name="a',
        'create_time>"yesterday"',
        'create_time>"2021-05-18T00:00:00"',
    ],
)
def test_a_filter_that_is_none_is_an_invalid_argument(here: World, filter_: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Invalid filter"):
        listed(here, filter_)


def test_each_kind_of_list_has_its_own_fields(here: World) -> None:
    clients = here.clients
    ask = {"parent": PARENT, "filter": 'state="PIPELINE_STATE_FAILED" AND training_task_definition:"image"'}
    assert list(clients.pipelines.list_training_pipelines(request=ask)) == []
    assert list(clients.jobs.list_batch_prediction_jobs(request={"parent": PARENT, "filter": "labels.a=b"})) == []
    assert list(clients.datasets.list_datasets(request={"parent": PARENT, "filter": 'labels.a="b"'})) == []
    assert list(clients.models.list_models(request={"parent": PARENT, "filter": 'display_name="m"'})) == []
    with pytest.raises(exceptions.InvalidArgument):
        clients.datasets.list_datasets(request={"parent": PARENT, "filter": 'state="X"'})
    with pytest.raises(exceptions.InvalidArgument):
        clients.pipelines.list_training_pipelines(request={"parent": PARENT, "filter": 'state="JOB_STATE_FAILED"'})


def test_pages_hold_everything_once_while_jobs_are_created(here: World) -> None:
    request = {"parent": PARENT, "page_size": 1, "filter": "labels.lb_run=a"}
    first = here.clients.jobs.list_custom_jobs(request=request)
    assert [job.display_name for job in first.custom_jobs] == ["failed"]
    here.clients.create(display_name="newest", labels={"lb_run": "b"})
    second = here.clients.jobs.list_custom_jobs(request={**request, "page_token": first.next_page_token})
    assert [job.display_name for job in second.custom_jobs] == ["first"]
    assert second.next_page_token == ""


@pytest.mark.parametrize("page", [{"page_size": -1}, {"page_token": "nonsense!"}, {"page_token": "YWJj"}])
def test_a_page_that_is_none_is_an_invalid_argument(here: World, page: dict[str, object]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        here.clients.jobs.list_custom_jobs(request={"parent": PARENT, **page})


def test_a_lagging_list_misses_new_jobs_and_shows_old_states_but_a_get_does_not(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        here.control.set(list_lag_s=1.0)
        created = time.monotonic()
        name = here.clients.create().name
        here.clients.ended(name)
        states: list[str] = []
        while not states or states[-1] != "JOB_STATE_SUCCEEDED":
            found = list(here.clients.jobs.list_custom_jobs(parent=PARENT))
            state = found[0].state.name if found else "not listed"
            if not states or states[-1] != state:
                states.append(state)
                if state == "JOB_STATE_QUEUED":
                    assert time.monotonic() - created >= 1.0
            assert time.monotonic() - created < 20
        assert states[0] == "not listed"
        assert here.clients.state(name) == "JOB_STATE_SUCCEEDED"
        here.clients.jobs.delete_custom_job(name=name).result(timeout=10)
        assert [job.name for job in here.clients.jobs.list_custom_jobs(parent=PARENT)] == [name]
        here.control.set(list_lag_s=0.0)
        assert list(here.clients.jobs.list_custom_jobs(parent=PARENT)) == []
