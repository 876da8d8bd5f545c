"""DatasetService: data sets, and the requests to import into them."""

from datetime import UTC, datetime
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local.vertex import automl_rules
from local.vertex.bucket import Buckets
from local.vertex.filters import DATASET_FIELDS, parse
from local.vertex.imports import Imports
from local.vertex.items import Items
from local.vertex.kinds import proto_codec
from local.vertex.names import DATASETS, Place, new_id
from local.vertex.operations import Operations, generic_metadata
from local.vertex.pages import page
from local.vertex.settings import SettingsFile
from local.vertex.store import Store, Table


class Datasets:
    """Answers the requests about data sets."""

    def __init__(
        self, place: Place, store: Store, settings: SettingsFile, operations: Operations, buckets: Buckets
    ) -> None:
        self.table: Table[Any] = Table(store, DATASETS, proto_codec(aiplatform_v1.Dataset))
        self.items = Items(store)
        self._place = place
        self._settings = settings
        self._operations = operations
        self.imports = Imports(self.table, self.items, operations, buckets)

    def create(self, request: Any) -> Any:
        """Create a data set (LRO)."""
        self._place.check_parent(request.parent)
        given = request.dataset
        automl_rules.dataset(given)
        now = datetime.now(UTC)
        dataset = aiplatform_v1.Dataset(
            name=self._place.name(DATASETS, new_id()),
            display_name=given.display_name,
            description=given.description,
            metadata_schema_uri=given.metadata_schema_uri,
            labels=dict(given.labels),
            encryption_spec=given.encryption_spec if given.encryption_spec.kms_key_name else None,
            create_time=now,
            update_time=now,
        )
        self.table.add(dataset.name, dataset)
        metadata = aiplatform_v1.CreateDatasetOperationMetadata(generic_metadata=generic_metadata(now))
        return self._operations.done(dataset.name, metadata, dataset)

    def get(self, request: Any) -> Any:
        """Return a data set."""
        return self.table.get(self._place.check_name(request.name, DATASETS))

    def list(self, request: Any) -> Any:
        """Return a page of data sets, newest first."""
        self._place.check_parent(request.parent)
        accepted = parse(request.filter, DATASET_FIELDS)
        found = [dataset for dataset in self.table.listed(self._settings.current.list_lag_s) if accepted(dataset)]
        chosen, token = page(found, request.page_size, request.page_token)
        return aiplatform_v1.ListDatasetsResponse(datasets=chosen, next_page_token=token)

    def delete(self, request: Any) -> Any:
        """Delete a data set with its items (LRO)."""
        name = self._place.check_name(request.name, DATASETS)
        self.table.delete(name)
        self.items.delete(name)
        metadata = aiplatform_v1.DeleteOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        return self._operations.done(name, metadata, empty_pb2.Empty())

    def import_data(self, request: Any) -> Any:
        """Import files into a data set (LRO)."""
        name = self._place.check_name(request.name, DATASETS)
        self.table.get(name)
        automl_rules.import_configs(request.import_configs)
        metadata = aiplatform_v1.ImportDataOperationMetadata(generic_metadata=generic_metadata(datetime.now(UTC)))
        notes = {"import": aiplatform_v1.ImportDataRequest.to_json(request)}
        operation = self._operations.pending(name, metadata, notes)
        self.imports.begin(operation.name, request)
        return operation
