"""EndpointService: endpoints and the models deployed to them, as strict as Vertex about traffic; nothing is served.

The rules are those of the fields' comments in google-cloud-aiplatform 2.7.0 (types/endpoint.py, endpoint_service.py).
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local.vertex import rules
from local.vertex.filters import MODEL_FIELDS, parse
from local.vertex.kinds import proto_codec
from local.vertex.models import Models
from local.vertex.names import MODEL_VERSIONS, Place, new_id
from local.vertex.operations import Operations, generic_metadata
from local.vertex.pages import page
from local.vertex.refusal import Problems, Refused
from local.vertex.settings import SettingsFile
from local.vertex.store import Store, Table

ENDPOINTS = "endpoints"
NEW = "0"  # how a traffic split names the model that is being deployed
ALL = 100
_ENDPOINT_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9]{1,10}")


class Endpoints:
    """Answers the requests about endpoints."""

    def __init__(
        self, place: Place, store: Store, settings: SettingsFile, operations: Operations, models: Models
    ) -> None:
        self.table: Table[Any] = Table(store, ENDPOINTS, proto_codec(aiplatform_v1.Endpoint))
        self._versions: Table[Any] = Table(store, MODEL_VERSIONS, proto_codec(aiplatform_v1.Model))
        self._place, self._settings, self._operations, self._models = place, settings, operations, models

    def create(self, request: Any) -> Any:
        """Create an endpoint without models (LRO)."""
        self._place.check_parent(request.parent)
        given, problems = request.endpoint, Problems()
        rules.display_name(problems, "endpoint.display_name", given.display_name)
        rules.labels(problems, "endpoint.labels", given.labels)
        if request.endpoint_id and not _ENDPOINT_ID.fullmatch(request.endpoint_id):
            problems.add("endpoint_id", f"The endpoint id is invalid: {request.endpoint_id!r}")
        problems.refuse_if_any()
        now = datetime.now(UTC)
        endpoint = aiplatform_v1.Endpoint(
            name=self._place.name(ENDPOINTS, request.endpoint_id or new_id()),
            display_name=given.display_name,
            description=given.description,
            labels=dict(given.labels),
            create_time=now,
            update_time=now,
        )
        self.table.add(endpoint.name, endpoint)
        metadata = aiplatform_v1.CreateEndpointOperationMetadata(generic_metadata=generic_metadata(now))
        return self._operations.done(endpoint.name, metadata, endpoint)

    def get(self, request: Any) -> Any:
        """Return an endpoint."""
        return self.table.get(self._place.check_name(request.name, ENDPOINTS))

    def list(self, request: Any) -> Any:
        """Return a page of endpoints, newest first."""
        self._place.check_parent(request.parent)
        accepted = parse(request.filter, MODEL_FIELDS)
        found = [endpoint for endpoint in self.table.listed(self._settings.current.list_lag_s) if accepted(endpoint)]
        chosen, token = page(found, request.page_size, request.page_token)
        return aiplatform_v1.ListEndpointsResponse(endpoints=chosen, next_page_token=token)

    def delete(self, request: Any) -> Any:
        """Delete an endpoint to which nothing is deployed (LRO)."""
        name = self._place.check_name(request.name, ENDPOINTS)
        if self.table.get(name).deployed_models:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"The Endpoint {name} has deployed models.")
        self.table.delete(name)
        metadata = aiplatform_v1.DeleteOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, empty_pb2.Empty())

    def deploy(self, request: Any) -> Any:
        """Deploy a model of this place on machines of its own (LRO)."""
        name = self._place.check_name(request.endpoint, ENDPOINTS)
        given = aiplatform_v1.DeployedModel(request.deployed_model)
        _check_deployed(given)
        model = self._models.get(aiplatform_v1.GetModelRequest(name=given.model))
        given.id, given.create_time = given.id or new_id(), datetime.now(UTC)
        given.model_version_id, given.display_name = model.version_id, given.display_name or model.display_name

        def add(endpoint: Any) -> None:
            if any(one.id == given.id for one in endpoint.deployed_models):
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The DeployedModel {given.id} exists.")
            endpoint.deployed_models.append(given)
            if request.traffic_split:
                split = {given.id if key == NEW else key: part for key, part in request.traffic_split.items()}
                _direct(endpoint, split)

        self.table.change(name, add)
        self._note(model.name, model.version_id, lambda known: [*known, _reference(name, given.id)])
        metadata = aiplatform_v1.DeployModelOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, aiplatform_v1.DeployModelResponse(deployed_model=given))

    def undeploy(self, request: Any) -> Any:
        """Take a model that gets no traffic from an endpoint (LRO)."""
        name, ident = self._place.check_name(request.endpoint, ENDPOINTS), request.deployed_model_id
        taken: list[Any] = []

        def remove(endpoint: Any) -> None:
            left = [one for one in endpoint.deployed_models if one.id != ident]
            if len(left) == len(endpoint.deployed_models):
                raise Refused(grpc.StatusCode.NOT_FOUND, f"The Endpoint has no DeployedModel {ident!r}.")
            if left and request.traffic_split:
                _direct(endpoint, dict(request.traffic_split))
            if left and endpoint.traffic_split.get(ident):
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"The DeployedModel {ident} gets traffic.")
            taken.extend(one for one in endpoint.deployed_models if one.id == ident)
            endpoint.deployed_models = left
            endpoint.traffic_split = {key: part for key, part in endpoint.traffic_split.items() if left and part}

        self.table.change(name, remove)
        gone = _reference(name, ident)
        for one in taken:
            self._note(one.model, one.model_version_id, lambda known: [other for other in known if other != gone])
        metadata = aiplatform_v1.UndeployModelOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, aiplatform_v1.UndeployModelResponse())

    def _note(self, model: str, version: str, change: Callable[[Any], Any]) -> None:
        """Let a model's version, and the model where that is its default one, show where it is deployed."""
        plain = model.partition("@")[0]

        def update(found: Any) -> bool:
            found.deployed_models = change(found.deployed_models)
            return bool(found.version_id == version)

        self._versions.change(f"{plain}@{version}", update)
        self._models.table.change(plain, update)


def _reference(endpoint: str, ident: str) -> Any:
    return aiplatform_v1.DeployedModelRef(endpoint=endpoint, deployed_model_id=ident)


def _check_deployed(given: Any) -> None:
    problems = Problems()
    machines = given.dedicated_resources
    if not given.model:
        problems.add("deployed_model.model", "Required field is not set.")
    if given.id and not re.fullmatch(r"[0-9]{1,10}", given.id):
        problems.add("deployed_model.id", f"The id must be 1 to 10 digits: {given.id!r}")
    if "dedicated_resources" not in given:
        problems.add("deployed_model.prediction_resources", "Required field is not set.")
    else:
        if not machines.machine_spec.machine_type:
            problems.add("deployed_model.dedicated_resources.machine_spec.machine_type", "Required field is not set.")
        if machines.min_replica_count < 1:
            problems.add("deployed_model.dedicated_resources.min_replica_count", "Must be at least 1.")
        if machines.max_replica_count and machines.max_replica_count < machines.min_replica_count:
            problems.add("deployed_model.dedicated_resources.max_replica_count", "Must not be below min_replica_count.")
    problems.refuse_if_any()


def _direct(endpoint: Any, split: Mapping[str, int]) -> None:
    """Send shares of the traffic to deployed models; they must exist and add up to 100."""
    known = {one.id for one in endpoint.deployed_models}
    problems = Problems()
    if unknown := sorted(set(split) - known):
        problems.add("traffic_split", f"Not deployed to this endpoint: {', '.join(unknown)}")
    if sum(split.values()) != ALL or any(part < 0 for part in split.values()):
        problems.add("traffic_split", "The percentages must add up to 100.")
    problems.refuse_if_any()
    endpoint.traffic_split = dict(split)
