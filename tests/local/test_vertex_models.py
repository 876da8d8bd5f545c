"""Versions of models and their aliases, as Vertex's registry keeps them: over the wire, with the real client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions

from tests.local.vertex_world import PARENT, World, world

IMAGE = "us-docker.pkg.dev/p/r/serve@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("vertex"), slots=0) as opened:
        yield opened


class Registered:
    """One model of the registry, as a client sees it."""

    def __init__(self, here: World) -> None:
        self.client = here.clients.models
        self.model_id = f"m-{uuid4().hex}"
        self.name = f"{PARENT}/models/{self.model_id}"

    def upload(self, *aliases: str, **labels: str) -> str:
        """The new version's number."""
        place = {"parent_model": self.name} if self.exists() else {"model_id": self.model_id}
        model = {"display_name": "m", "container_spec": {"image_uri": IMAGE}, "labels": labels}
        request = {"parent": PARENT, "model": {**model, "version_aliases": list(aliases)}, **place}
        answer = self.client.upload_model(request=request).result(timeout=10)
        assert answer.model == self.name
        return str(answer.model_version_id)

    def exists(self) -> bool:
        try:
            self.client.get_model(name=self.name)
        except exceptions.NotFound:
            return False
        return True

    def aliases(self) -> dict[str, list[str]]:
        """Version -> aliases, newest version first."""
        return {item.version_id: list(item.version_aliases) for item in self.versions()}

    def versions(self, **fields: Any) -> list[Any]:
        return list(self.client.list_model_versions(request={"name": self.name, **fields}))

    def merge(self, version: str, *aliases: str) -> Any:
        return self.client.merge_version_aliases(name=f"{self.name}@{version}", version_aliases=aliases)


@pytest.fixture
def model(here: World) -> Registered:
    return Registered(here)


def test_only_the_first_version_is_the_default_by_itself(model: Registered) -> None:
    assert [model.upload(), model.upload(), model.upload("golden")] == ["1", "2", "3"]
    assert model.aliases() == {"3": ["golden"], "2": [], "1": ["default"]}
    read = {end: model.client.get_model(name=model.name + end) for end in ("", "@default", "@2", "@golden")}
    assert {end: found.version_id for end, found in read.items()} == {
        "": "1",
        "@default": "1",
        "@2": "2",
        "@golden": "3",
    }
    assert {found.name for found in read.values()} == {model.name}


def test_an_alias_names_one_version_and_moves_when_it_is_given_away(model: Registered) -> None:
    for _ in range(3):
        model.upload()
    assert sorted(model.merge("2", "default", "golden").version_aliases) == ["default", "golden"]
    assert model.aliases() == {"3": [], "2": ["default", "golden"], "1": []}
    assert model.client.get_model(name=model.name).version_id == "2"
    model.merge("3", "golden")
    model.merge("2", "both", "-both")
    assert model.aliases() == {"3": ["golden"], "2": ["default"], "1": []}
    model.merge("3", "-golden")
    assert model.upload("default") == "4"
    assert model.aliases() == {"4": ["default"], "3": [], "2": [], "1": []}


def test_a_list_of_models_shows_the_default_version_of_each(model: Registered) -> None:
    model.upload(lb_attempt="a")
    model.upload(lb_attempt="b")
    found = list(model.client.list_models(request={"parent": PARENT, "filter": f"model={model.model_id}"}))
    assert [(item.name, item.version_id) for item in found] == [(model.name, "1")]
    model.merge("2", "default")
    label = f"labels.lb_attempt=b AND model={model.model_id}"
    assert [item.version_id for item in model.client.list_models(request={"parent": PARENT, "filter": label})] == ["2"]


def test_versions_are_found_by_their_labels_and_come_in_pages(model: Registered) -> None:
    for attempt in "abca":
        model.upload(lb_attempt=attempt)
    found = model.versions(filter='labels.lb_attempt="a"')
    assert [(item.name, item.version_id) for item in found] == [(f"{model.name}@4", "4"), (f"{model.name}@1", "1")]
    assert [item.version_id for item in model.versions(page_size=3)] == ["4", "3", "2", "1"]
    with pytest.raises(exceptions.InvalidArgument, match="Invalid filter"):
        model.versions(filter='display_name="m"')


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(model: Registered) -> None:
    for _ in range(3):
        model.upload()
    model.client.delete_model_version(name=f"{model.name}@3").result(timeout=10)
    assert list(model.aliases()) == ["2", "1"]
    assert model.upload() == "4"
    model.client.delete_model(name=model.name).result(timeout=10)
    assert not model.exists()
    with pytest.raises(exceptions.NotFound):
        model.versions()


REFUSED: dict[str, tuple[Callable[[Registered], Any], type[Exception], str]] = {
    "a version of no model": (
        lambda it: it.client.upload_model(
            request={
                "parent": PARENT,
                "parent_model": f"{PARENT}/models/none",
                "model": {"display_name": "m", "container_spec": {"image_uri": IMAGE}},
            }
        ),
        exceptions.NotFound,
        "models/none",
    ),
    "a version with an id": (
        lambda it: it.client.upload_model(
            request={
                "parent": PARENT,
                "parent_model": it.name,
                "model_id": "another",
                "model": {"display_name": "m", "container_spec": {"image_uri": IMAGE}},
            }
        ),
        exceptions.InvalidArgument,
        "together with parent_model",
    ),
    "a second model of an id": (
        lambda it: it.client.upload_model(
            request={
                "parent": PARENT,
                "model_id": it.model_id,
                "model": {"display_name": "m", "container_spec": {"image_uri": IMAGE}},
            }
        ),
        exceptions.AlreadyExists,
        "already exists",
    ),
    "an image that is none": (
        lambda it: it.client.upload_model(
            request={"parent": PARENT, "model": {"display_name": "m", "container_spec": {"image_uri": "no image"}}}
        ),
        exceptions.InvalidArgument,
        "image uri is invalid",
    ),
    "a route without a slash": (
        lambda it: it.client.upload_model(
            request={
                "parent": PARENT,
                "model": {"display_name": "m", "container_spec": {"image_uri": IMAGE, "predict_route": "predict"}},
            }
        ),
        exceptions.InvalidArgument,
        "begin with a slash",
    ),
    "an alias like a number": (lambda it: it.merge("2", "7"), exceptions.InvalidArgument, "An alias must match"),
    "no alias": (lambda it: it.merge("2"), exceptions.InvalidArgument, "version_aliases; Message: Required"),
    "aliases of no version": (
        lambda it: it.client.merge_version_aliases(name=it.name, version_aliases=["golden"]),
        exceptions.InvalidArgument,
        "include a version id",
    ),
    "aliases by alias": (lambda it: it.merge("default", "golden"), exceptions.InvalidArgument, "version id"),
    "a version that is not there": (lambda it: it.merge("9", "golden"), exceptions.NotFound, "'9'"),
    "an alias that is not there": (
        lambda it: it.client.get_model(name=f"{it.name}@golden"),
        exceptions.NotFound,
        "'golden'",
    ),
    "no default at all": (lambda it: it.merge("1", "-default"), exceptions.InvalidArgument, "cannot be removed"),
    "deleting the default": (
        lambda it: it.client.delete_model_version(name=f"{it.name}@1"),
        exceptions.FailedPrecondition,
        "default version",
    ),
    "deleting a model by a version's name": (
        lambda it: it.client.delete_model(name=f"{it.name}@2"),
        exceptions.InvalidArgument,
        "DeleteModelVersion",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_vertex_refuses_is_refused_and_changes_nothing(model: Registered, case: str) -> None:
    model.upload()
    model.upload()
    call, kind, words = REFUSED[case]
    with pytest.raises(kind) as caught:
        call(model)
    assert words in str(caught.value)
    assert model.aliases() == {"2": [], "1": ["default"]}


def test_the_only_version_goes_with_its_model(model: Registered) -> None:
    model.upload()
    with pytest.raises(exceptions.FailedPrecondition, match="only version"):
        model.client.delete_model_version(name=f"{model.name}@1")
