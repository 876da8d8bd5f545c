"""The Vertex data set of a run: found again by its label or created, imported once, with the failures told.

Only the data set client is loaded, not the whole SDK. Both calls are long-running operations that are waited for here,
because nothing announces their end.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from google.api_core import exceptions as google_errors
from google.api_core.operation import Operation
from google.cloud.aiplatform_v1.services.dataset_service import DatasetServiceClient
from google.cloud.aiplatform_v1.services.dataset_service.transports import DatasetServiceGrpcTransport
from google.cloud.aiplatform_v1.types import Dataset, ImportDataConfig, ImportDataOperationMetadata

from jobkit.errors import BadData, JobError, PermissionRefused, Transient
from jobkit.progress import say
from jobkit.vertex import BUSY, CALL_TIMEOUT_S, client_of, encryption, finished

RUN_KEY_LABEL = "lb_run_key"
IMAGE_METADATA_SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
SINGLE_LABEL_SCHEMA = (
    "gs://google-cloud-aiplatform/schema/dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml"
)
MULTI_LABEL_SCHEMA = SINGLE_LABEL_SCHEMA.replace("single_label", "multi_label")
CREATE_DEADLINE_S = 600.0
IMPORT_DEADLINE_S = 4 * 3600.0
PATIENCE_S = 600.0  # how long a busy or absent Vertex is waited for

T = TypeVar("T")


@dataclass(frozen=True)
class Imported:
    """The data set with what Vertex could not import, in Vertex's words (at most 20)."""

    name: str
    items: int
    failures: tuple[str, ...]

    @property
    def dataset_id(self) -> str:
        """The bare id: a training pipeline's inputDataConfig.datasetId."""
        return self.name.rpartition("/")[2]


def dataset_client() -> DatasetServiceClient:
    """Vertex's client of data sets in REGION."""
    return client_of(DatasetServiceClient, DatasetServiceGrpcTransport)


class VertexDatasets:
    """Data sets of one project and region."""

    def __init__(self, client: DatasetServiceClient, parent_name: str, patience_s: float = PATIENCE_S) -> None:
        self._client = client
        self._parent = parent_name
        self._patience_s = patience_s

    def find(self, run_key: str) -> str | None:
        """The oldest data set of the run, by label."""
        request = {"parent": self._parent, "filter": f'labels.{RUN_KEY_LABEL}="{run_key}"'}
        found = self._patiently(lambda: list(self._client.list_datasets(request, timeout=CALL_TIMEOUT_S)))
        found.sort(key=lambda dataset: (dataset.create_time.timestamp() if dataset.create_time else 0.0, dataset.name))
        return found[0].name if found else None

    def create(self, display_name: str, labels: Mapping[str, str]) -> str:
        """A new data set of images, once Vertex has made it.

        Not safe to repeat by itself: after a lost answer the data set is looked for by its label first.
        """
        dataset = Dataset(
            display_name=display_name[:128],
            metadata_schema_uri=IMAGE_METADATA_SCHEMA,
            labels=labels,
            encryption_spec=encryption(),
        )
        deadline = time.monotonic() + self._patience_s
        pause_s = 1.0
        while True:
            try:
                request = {"parent": self._parent, "dataset": dataset}
                operation = self._client.create_dataset(request, timeout=CALL_TIMEOUT_S)
                return str(finished(operation, "The data set is being created", CREATE_DEADLINE_S).name)
            except google_errors.GoogleAPICallError as error:
                if not isinstance(error, BUSY) or time.monotonic() + pause_s > deadline:
                    raise translated(error) from error
            say("Vertex is busy; the data set is looked for and created again", severity="WARNING", pause_s=pause_s)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 30.0)
            made = self.find(labels[RUN_KEY_LABEL]) if RUN_KEY_LABEL in labels else None
            if made:
                return made

    def fill(self, name: str, import_uri: str, images: int, schema: str = SINGLE_LABEL_SCHEMA) -> Imported:
        """Imports the file unless the data set holds its images already. Safe to repeat because Vertex merges equal
        images of an import with those it has."""
        held = self._items(name)
        if held >= images:
            say("The data set holds its images already", images=held)
            return Imported(name, held, ())
        config = ImportDataConfig(gcs_source={"uris": [import_uri]}, import_schema_uri=schema)
        request = {"name": name, "import_configs": [config]}
        operation = self._patiently(lambda: self._client.import_data(request, timeout=CALL_TIMEOUT_S))
        try:
            finished(operation, "The images are being imported", IMPORT_DEADLINE_S)
        except google_errors.GoogleAPICallError as error:
            raise translated(error) from error
        return Imported(name, self._items(name), partial_failures(operation))

    def _items(self, name: str) -> int:
        dataset = self._patiently(lambda: self._client.get_dataset({"name": name}, timeout=CALL_TIMEOUT_S))
        return int(dataset.data_item_count)

    def _patiently(self, call: Callable[[], T]) -> T:
        """A call that is safe to repeat, tried again while Vertex is busy or down."""
        deadline = time.monotonic() + self._patience_s
        pause_s = 1.0
        while True:
            try:
                return call()
            except google_errors.GoogleAPICallError as error:
                if not isinstance(error, BUSY) or time.monotonic() + pause_s > deadline:
                    raise translated(error) from error
            say("Vertex is busy or down; trying again", severity="WARNING", pause_s=pause_s)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 30.0)


def translated(error: google_errors.GoogleAPICallError) -> JobError:
    """Our error for one of Vertex's."""
    text = str(error.message or type(error).__name__)
    if isinstance(error, google_errors.PermissionDenied | google_errors.Unauthenticated):
        return PermissionRefused(f"The job's account may not make data sets: {text}", "Grant it Vertex AI User.")
    if isinstance(error, BUSY):
        return Transient(f"Vertex is busy or down: {text}")
    if isinstance(error, google_errors.InvalidArgument | google_errors.FailedPrecondition):
        return BadData(f"Vertex refused the data set: {text}")
    return JobError(f"Vertex answered with an error: {text}")


def partial_failures(operation: Operation) -> tuple[str, ...]:
    """What an import could not take, in Vertex's words."""
    metadata = operation.metadata
    if not isinstance(metadata, ImportDataOperationMetadata):
        return ()
    return tuple(str(status.message) for status in metadata.generic_metadata.partial_failures)
