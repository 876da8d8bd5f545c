"""ModelService: models, whether a training made them or an upload."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local.vertex import automl_rules
from local.vertex.filters import MODEL_FIELDS, parse
from local.vertex.kinds import proto_codec
from local.vertex.names import MODELS, Place, new_id
from local.vertex.operations import Operations, generic_metadata
from local.vertex.pages import page
from local.vertex.refusal import Refused
from local.vertex.settings import SettingsFile
from local.vertex.store import Store, Table


class Models:
    """Answers the requests about models."""

    def __init__(self, place: Place, store: Store, settings: SettingsFile, operations: Operations) -> None:
        self.table: Table[Any] = Table(store, MODELS, proto_codec(aiplatform_v1.Model))
        self._place = place
        self._settings = settings
        self._operations = operations

    def name(self, model_id: str) -> str:
        """Return the name of the model of this id."""
        return self._place.name(MODELS, model_id)

    def add(self, model_id: str, given: Any, **notes: str) -> Any:
        """Add a model under an id of the caller's or a new one; refuse an id that exists."""
        now = datetime.now(UTC)
        model = aiplatform_v1.Model(
            name=self.name(model_id or new_id()),
            version_id="1",
            version_aliases=["default"],
            display_name=given.display_name,
            description=given.description,
            artifact_uri=given.artifact_uri,
            container_spec=given.container_spec if given.container_spec.image_uri else None,
            training_pipeline=given.training_pipeline,
            labels=dict(given.labels),
            create_time=now,
            update_time=now,
            version_create_time=now,
            version_update_time=now,
        )
        self.table.add(model.name, model, dict(notes))
        return model

    def notes(self, name: str) -> Mapping[str, str]:
        """Return what a training noted about its model: where its files are, what it can do."""
        return self.table.notes(name)

    def upload(self, request: Any) -> Any:
        """Upload a model (LRO). Its container is never served here."""
        self._place.check_parent(request.parent)
        automl_rules.uploaded_model(request.model, request.model_id)
        if request.parent_model:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "The local stand-in keeps one version of a model.")
        model = self.add(request.model_id, request.model)
        metadata = aiplatform_v1.UploadModelOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        response = aiplatform_v1.UploadModelResponse(model=model.name, model_version_id=model.version_id)
        return self._operations.done(model.name, metadata, response)

    def get(self, request: Any) -> Any:
        """Return a model."""
        return self.table.get(self._place.check_name(request.name, MODELS))

    def list(self, request: Any) -> Any:
        """Return a page of models, newest first."""
        self._place.check_parent(request.parent)
        accepted = parse(request.filter, MODEL_FIELDS)
        found = [model for model in self.table.listed(self._settings.current.list_lag_s) if accepted(model)]
        chosen, token = page(found, request.page_size, request.page_token)
        return aiplatform_v1.ListModelsResponse(models=chosen, next_page_token=token)

    def delete(self, request: Any) -> Any:
        """Delete a model (LRO)."""
        name = self._place.check_name(request.name, MODELS)
        self.table.delete(name)
        metadata = aiplatform_v1.DeleteOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, empty_pb2.Empty())
