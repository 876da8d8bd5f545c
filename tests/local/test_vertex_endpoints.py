"""Endpoints of the Vertex stand-in: one place for traffic, and every rule of Vertex's about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.aiplatform_v1.services import endpoint_service

from tests.local.vertex_world import PARENT, World, world

MACHINE = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1, "max_replica_count": 1}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("vertex")) as opened:
        yield opened


@pytest.fixture(scope="module")
def endpoints(here: World) -> Any:
    transport = endpoint_service.transports.EndpointServiceGrpcTransport(channel=here.clients.channel)
    return endpoint_service.EndpointServiceClient(transport=transport)


def endpoint(endpoints: Any, **fields: Any) -> str:
    made = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "texts", **fields}, timeout=10)
    return str(made.result(timeout=10).name)


def model(here: World) -> str:
    given = {"display_name": "m", "container_spec": {"image_uri": "host/project/repository/image:tag"}}
    uploaded = here.clients.models.upload_model(parent=PARENT, model=given, timeout=10)
    return str(uploaded.result(timeout=10).model)


def deploy(endpoints: Any, name: str, model: str, split: dict[str, int] | None = None, **fields: Any) -> str:
    given = {"model": model, "dedicated_resources": MACHINE, **fields}
    request = {"endpoint": name, "deployed_model": given, "traffic_split": split or {}}
    return str(endpoints.deploy_model(request=request, timeout=10).result(timeout=10).deployed_model.id)


def traffic(endpoints: Any, name: str) -> dict[str, int]:
    return dict(endpoints.get_endpoint(name=name, timeout=10).traffic_split)


def test_traffic_moves_to_a_new_model_and_the_old_one_can_go(here: World, endpoints: Any) -> None:
    name, old, new = endpoint(endpoints), model(here), model(here)
    first = deploy(endpoints, name, old, {"0": 100})
    second = deploy(endpoints, name, new, {"0": 90, first: 10})
    assert traffic(endpoints, name) == {first: 10, second: 90}
    with pytest.raises(exceptions.FailedPrecondition, match="gets traffic"):
        endpoints.undeploy_model(endpoint=name, deployed_model_id=first, timeout=10)
    moved = {"endpoint": name, "deployed_model_id": first, "traffic_split": {second: 100}}
    endpoints.undeploy_model(request=moved, timeout=10).result(timeout=10)
    assert traffic(endpoints, name) == {second: 100}
    assert [item.endpoint for item in here.clients.models.get_model(name=new, timeout=10).deployed_models] == [name]
    assert not here.clients.models.get_model(name=old, timeout=10).deployed_models
    with pytest.raises(exceptions.FailedPrecondition, match="has deployed models"):
        endpoints.delete_endpoint(name=name, timeout=10)
    endpoints.undeploy_model(endpoint=name, deployed_model_id=second, timeout=10).result(timeout=10)
    assert traffic(endpoints, name) == {}
    endpoints.delete_endpoint(name=name, timeout=10).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        endpoints.get_endpoint(name=name, timeout=10)


@pytest.mark.parametrize(
    ("split", "fields", "problem"),
    [
        ({"0": 50}, {}, "must add up to 100"),
        ({"0": 200, "7": -100}, {}, "must add up to 100"),
        ({"0": 40, "7": 60}, {}, "Not deployed to this endpoint: 7"),
        (None, {"dedicated_resources": None}, "prediction_resources"),
        (None, {"dedicated_resources": {**MACHINE, "min_replica_count": 0}}, "min_replica_count; Message: Must be"),
        (None, {"dedicated_resources": {**MACHINE, "min_replica_count": 2}}, "Must not be below min_replica_count"),
        (None, {"dedicated_resources": {"min_replica_count": 1}}, "machine_type"),
        (None, {"id": "letters"}, "1 to 10 digits"),
    ],
)
def test_a_deployment_that_vertex_would_refuse_is_refused_and_changes_nothing(
    here: World, endpoints: Any, split: dict[str, int] | None, fields: dict[str, Any], problem: str
) -> None:
    name = endpoint(endpoints)
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        deploy(endpoints, name, model(here), split, **fields)
    assert not endpoints.get_endpoint(name=name, timeout=10).deployed_models


def test_what_is_not_there_is_not_deployed_or_taken_away(here: World, endpoints: Any) -> None:
    name, known = endpoint(endpoints), model(here)
    with pytest.raises(exceptions.NotFound):
        deploy(endpoints, name, f"{PARENT}/models/1")
    with pytest.raises(exceptions.NotFound):
        deploy(endpoints, f"{PARENT}/endpoints/1", known)
    with pytest.raises(exceptions.NotFound, match="no DeployedModel '1'"):
        endpoints.undeploy_model(endpoint=name, deployed_model_id="1", timeout=10)
    assert not here.clients.models.get_model(name=known, timeout=10).deployed_models


def test_endpoints_are_found_by_their_labels_and_ids_are_taken_once(here: World, endpoints: Any) -> None:
    name = endpoint(endpoints, labels={"lb_deployment": "one", "lb_endpoint": "texts"})
    request = {"parent": PARENT, "filter": "labels.lb_deployment=one AND labels.lb_endpoint=texts"}
    assert [one.name for one in endpoints.list_endpoints(request=request, timeout=10)] == [name]
    with pytest.raises(exceptions.InvalidArgument, match=r"endpoint\.display_name; Message"):
        endpoint(endpoints, display_name="")
    with pytest.raises(exceptions.AlreadyExists):
        for _ in range(2):
            endpoints.create_endpoint(
                parent=PARENT, endpoint={"display_name": "x"}, endpoint_id="mine", timeout=10
            ).result(timeout=10)
