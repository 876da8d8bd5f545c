"""ModelService: models, whether a training made them or an upload, and the versions of each."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local.vertex import model_rules
from local.vertex.filters import MODEL_FIELDS, MODEL_VERSION_FIELDS, parse
from local.vertex.kinds import proto_codec
from local.vertex.model_versions import DEFAULT, ModelVersions
from local.vertex.names import MODELS, Place, new_id
from local.vertex.operations import Operations, generic_metadata
from local.vertex.pages import page
from local.vertex.refusal import Refused
from local.vertex.settings import SettingsFile
from local.vertex.store import Store, Table

QUOTA = "The following quota metrics exceed quota limits: aiplatform.googleapis.com/resource_management_requests"


class Models:
    """Answers the requests about models. A model reads as its default version, until a request names another."""

    def __init__(self, place: Place, store: Store, settings: SettingsFile, operations: Operations) -> None:
        self.table: Table[Any] = Table(store, MODELS, proto_codec(aiplatform_v1.Model))
        self._versions = ModelVersions(store, self.table)
        self._place = place
        self._settings = settings
        self._operations = operations

    def name(self, model_id: str) -> str:
        """Return the name of the model of this id."""
        return self._place.name(MODELS, model_id)

    def add(self, model_id: str, given: Any, **notes: str) -> Any:
        """Add a model under an id of the caller's or a new one; refuse an id that exists."""
        model = _version_of(given, self.name(model_id or new_id()), "1")
        model.version_aliases = sorted({DEFAULT, *given.version_aliases})
        self._versions.add_first(model, notes)
        return model

    def notes(self, name: str) -> Mapping[str, str]:
        """Return what a training noted about its model: where its files are, what it can do."""
        return self.table.notes(name)

    def upload(self, request: Any) -> Any:
        """Upload a model or, with a parent, the next version of that one (LRO). Its container is never served here.

        A first version gets the alias `default`; a later one only takes the aliases that it asks for.
        """
        self._place.check_parent(request.parent)
        if self._settings.current.deny_uploads:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "Permission 'aiplatform.models.upload' denied.")
        if self._settings.take("upload_refusals"):
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, QUOTA)
        model_rules.uploaded_model(request.model, request.model_id, bool(request.parent_model))
        model = self._add_version(request) if request.parent_model else self.add(request.model_id, request.model)
        if self._settings.take("lost_uploads"):
            raise Refused(grpc.StatusCode.UNAVAILABLE, "The answer was lost on its way; the model was uploaded.")
        metadata = aiplatform_v1.UploadModelOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        response = aiplatform_v1.UploadModelResponse(model=model.name, model_version_id=model.version_id)
        return self._operations.done(model.name, metadata, response)

    def _add_version(self, request: Any) -> Any:
        parent = self._place.check_name(request.parent_model, MODELS)
        given = request.model
        return self._versions.add_next(parent, lambda number: _version_of(given, parent, number), given.version_aliases)

    def get(self, request: Any) -> Any:
        """Return a model: the version that the name ends with (`@3`, `@golden`), else the default one."""
        name = self._place.check_name(request.name, MODELS)
        return self._versions.find(name, request.name.partition("@")[2] or DEFAULT)

    def list(self, request: Any) -> Any:
        """Return a page of models, each as its default version, newest first."""
        self._place.check_parent(request.parent)
        accepted = parse(request.filter, MODEL_FIELDS)
        found = [model for model in self.table.listed(self._settings.current.list_lag_s) if accepted(model)]
        chosen, token = page(found, request.page_size, request.page_token)
        return aiplatform_v1.ListModelsResponse(models=chosen, next_page_token=token)

    def list_versions(self, request: Any) -> Any:
        """Return a page of a model's versions, newest first; their names end with `@` and the version's number."""
        name = self._place.check_name(request.name, MODELS)
        accepted = parse(request.filter, MODEL_VERSION_FIELDS)
        lag_s = self._settings.current.list_lag_s
        found = [version for version in self._versions.listed(name, lag_s) if accepted(version)]
        chosen, token = page(found, request.page_size, request.page_token)
        return aiplatform_v1.ListModelVersionsResponse(models=chosen, next_page_token=token)

    def merge_aliases(self, request: Any) -> Any:
        """Add aliases to a version (taking them from the version that has them) and remove those that begin with `-`.

        The name must hold the version's number. `default` can be moved, not removed.
        """
        name = self._place.check_name(request.name, MODELS)
        number = _number_in(request.name)
        model_rules.merged_aliases(request.version_aliases)
        return self._versions.merge(name, number, list(request.version_aliases))

    def delete(self, request: Any) -> Any:
        """Delete a model with all its versions (LRO)."""
        name = self._place.check_name(request.name, MODELS)
        if "@" in request.name:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "DeleteModelVersion deletes one version of a model.")
        self._versions.delete_all(name)
        return self._deleted(name)

    def delete_version(self, request: Any) -> Any:
        """Delete a version (LRO); refuse the default one and the only one."""
        name = self._place.check_name(request.name, MODELS)
        self._versions.delete(name, _number_in(request.name))
        return self._deleted(name)

    def _deleted(self, name: str) -> Any:
        metadata = aiplatform_v1.DeleteOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, empty_pb2.Empty())


def _number_in(name: str) -> str:
    number = name.partition("@")[2]
    if not number.isdigit():
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"The name must include a version id: {name!r}")
    return number


def _version_of(given: Any, name: str, number: str) -> Any:
    now = datetime.now(UTC)
    return aiplatform_v1.Model(
        name=name,
        version_id=number,
        display_name=given.display_name,
        description=given.description,
        version_description=given.version_description,
        artifact_uri=given.artifact_uri,
        container_spec=given.container_spec if given.container_spec.image_uri else None,
        encryption_spec=given.encryption_spec if given.encryption_spec.kms_key_name else None,
        training_pipeline=given.training_pipeline,
        labels=dict(given.labels),
        create_time=now,
        update_time=now,
        version_create_time=now,
        version_update_time=now,
    )
