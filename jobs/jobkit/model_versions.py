"""The versions of one model in the Model Registry: found by the label of the attempt that trained them, or uploaded.

https://docs.cloud.google.com/vertex-ai/docs/model-registry/versioning: the first upload makes the model and is its
default version; a later one only becomes the default when a person moves the alias, because it asks for none.
"""

import os
import time
from collections.abc import Mapping

from google.api_core import exceptions as google_errors
from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport
from google.cloud.aiplatform_v1.types import EnvVar, Model, ModelContainerSpec, Port, UploadModelRequest

from jobkit.progress import say
from jobkit.registry import Registration
from jobkit.serving import FOLDERS_VARIABLE
from jobkit.storage import split_uri
from jobkit.vertex import BUSY, CALL_TIMEOUT_S, client_of, encryption, finished, parent, project

ATTEMPT_LABEL = "lb_attempt"
# What jobkit.serving answers on, when Vertex sets no other.
PORT, PREDICT_ROUTE, HEALTH_ROUTE = 8080, "/predict", "/health"
PATIENCE_S = 300.0  # how long a busy or absent Vertex is waited for
UPLOAD_DEADLINE_S = 1800.0  # Vertex copies the image and the files
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0


class ModelVersions:
    """The versions of one model."""

    def __init__(
        self,
        client: ModelServiceClient,
        parent_name: str,
        model_id: str,
        patience_s: float = PATIENCE_S,
        pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._client = client
        self._parent = parent_name
        self._model_id = model_id
        self._name = f"{parent_name}/models/{model_id}"
        self._patience_s = patience_s
        self._pause_s = pause_s

    @classmethod
    def of_environment(cls, model_id: str) -> "ModelVersions":
        """The model of this id in the job's own project and region."""
        return cls(client_of(ModelServiceClient, ModelServiceGrpcTransport), parent(), model_id)

    def register(self, registration: Registration, model_uri: str, metrics: Mapping[str, float]) -> str:
        """The resource name, with @version, of the version that holds this model. Raises Google's errors.

        Safe to repeat: Vertex takes no request id, so before each upload, and after one whose answer was lost, the
        version is looked for by its attempt's label and taken over.
        """
        model = described(registration, model_uri, metrics)
        deadline = time.monotonic() + self._patience_s
        pause_s = self._pause_s
        while True:
            try:
                return self._found(registration.labels) or self._uploaded(model)
            except (google_errors.AlreadyExists, *BUSY) as error:
                # AlreadyExists: another run has made the model just now, and then it is there to get a version.
                if time.monotonic() + pause_s > deadline:
                    raise
                say("The model is not registered yet; trying again", severity="WARNING", reason=type(error).__name__)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _found(self, labels: Mapping[str, str]) -> str:
        """The oldest version of this attempt; "" where there is none."""
        if not labels.get(ATTEMPT_LABEL):
            return ""
        request = {"name": self._name, "filter": f'labels.{ATTEMPT_LABEL}="{labels[ATTEMPT_LABEL]}"'}
        try:
            versions = list(self._client.list_model_versions(request, timeout=CALL_TIMEOUT_S))
        except google_errors.NotFound:  # no model yet
            return ""
        if not versions:
            return ""
        oldest = min(versions, key=lambda version: int(version.version_id))
        say("This attempt has registered its model already", version=oldest.version_id)
        return self._versioned(oldest.version_id)

    def _uploaded(self, model: Model) -> str:
        place = {"parent_model": self._name} if self._exists() else {"model_id": self._model_id}
        request = UploadModelRequest(parent=self._parent, model=model, **place)
        operation = self._client.upload_model(request, timeout=CALL_TIMEOUT_S)
        # While it is under way its version is not listed, and another upload would make a second one: Google's client
        # itself asks on for ten minutes when Vertex is away (google.api_core.operations_v1).
        answer = finished(operation, "The model is being registered", UPLOAD_DEADLINE_S)
        return self._versioned(answer.model_version_id)

    def _exists(self) -> bool:
        try:
            self._client.get_model({"name": self._name}, timeout=CALL_TIMEOUT_S)
        except google_errors.NotFound:
            return False
        return True

    def _versioned(self, version_id: str) -> str:
        return f"{self._name}@{version_id}"


def described(registration: Registration, model_uri: str, metrics: Mapping[str, float]) -> Model:
    """The version as it is uploaded: without an alias, so that `default` stays where it is."""
    return Model(
        display_name=registration.model_id,
        description=f"{registration.model_type}, trained on Labelbox's model runs; one version a run.",
        version_description=registration.description(metrics),
        artifact_uri=model_uri,
        container_spec=ModelContainerSpec(
            image_uri=registration.serving_image,
            command=registration.serving_command,
            env=[EnvVar(name=name, value=value) for name, value in _environment(model_uri).items()],
            ports=[Port(container_port=PORT)],
            predict_route=PREDICT_ROUTE,
            health_route=HEALTH_ROUTE,
        ),
        labels=dict(registration.labels),
        encryption_spec=encryption(),
    )


def _environment(model_uri: str) -> dict[str, str]:
    """The server's environment: its project, and the folders whose objects requests may name. Those are the images
    that all runs share and the deployment's data buckets; whoever may ask for predictions may read no facts."""
    bucket = split_uri(model_uri)[0]
    named = (name.strip() for name in os.environ.get("DATA_BUCKETS", "").split(","))
    folders = [f"gs://{bucket}/images/", *(f"gs://{name}/" for name in named if name)]
    return {"GOOGLE_CLOUD_PROJECT": project(), FOLDERS_VARIABLE: ",".join(folders)}
