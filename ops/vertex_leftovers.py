"""What runs leave in Vertex AI beside jobs: data sets, models and versions of models, found by the deployment's label.

A model that AutoML made is one run's own and goes whole. A model that was uploaded has a version of each run, and its
versions go one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ops.errors import OpsError

TIMEOUT_S = 30.0
OPERATION_TIMEOUT_S = 300.0
# Vertex gives it to every model's first version, so of a model with one version it says nothing of what a person wants
# to keep. Of an uploaded model it names what is in use, and Vertex deletes no version that has it.
# https://cloud.google.com/vertex-ai/docs/model-registry/model-alias
_OWN_ALIAS = "default"
MODEL, VERSION, DATA_SET = "model", "model version", "data set"


@dataclass(frozen=True)
class Leftover:
    """A data set, a model or a version (its name ends with @ and its number). `kept_for` says why it must stay; empty
    if it may go."""

    kind: str
    name: str
    created: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    kept_for: str = ""


class Leftovers(Protocol):
    """What `clean` needs of Vertex. All raise OpsError."""

    def list(self, deployment: str) -> list[Leftover]:
        """The deployment's data sets, models and versions."""

    def delete(self, leftover: Leftover) -> None:
        """Delete one and wait until it is gone."""


class VertexLeftovers:
    """Vertex's data set and model services. `endpoint` http://host:port means an insecure channel."""

    def __init__(self, parent: str, region: str, endpoint: str) -> None:
        self._parent, self._region, self._endpoint = parent, region, endpoint
        self._cached: tuple[Any, Any] | None = None

    def _clients(self) -> tuple[Any, Any]:
        if self._cached is None:
            from google.cloud import aiplatform_v1

            if self._endpoint.startswith("http://"):
                import grpc
                from google.cloud.aiplatform_v1.services.dataset_service.transports import DatasetServiceGrpcTransport
                from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

                channel = grpc.insecure_channel(self._endpoint.removeprefix("http://"))
                self._cached = (
                    aiplatform_v1.DatasetServiceClient(transport=DatasetServiceGrpcTransport(channel=channel)),
                    aiplatform_v1.ModelServiceClient(transport=ModelServiceGrpcTransport(channel=channel)),
                )
            else:
                target = {"api_endpoint": self._endpoint or f"{self._region}-aiplatform.googleapis.com"}
                self._cached = (
                    aiplatform_v1.DatasetServiceClient(client_options=target),
                    aiplatform_v1.ModelServiceClient(client_options=target),
                )
        return self._cached

    def close(self) -> None:
        """Close the connections, if there are any."""
        for client in self._cached or ():
            client.transport.close()

    @staticmethod
    def _call(what: str, call: Callable[[], Any]) -> Any:
        from google.api_core import exceptions

        try:
            return call()
        except exceptions.GoogleAPIError as error:
            raise OpsError(f"Vertex AI did not {what}: {type(error).__name__}") from error

    def list(self, deployment: str) -> list[Leftover]:
        """See Leftovers."""
        datasets, models = self._clients()
        request = {"parent": self._parent, "filter": f"labels.lb_deployment={deployment}", "page_size": 100}
        found = [
            Leftover(DATA_SET, item.name, item.create_time, dict(item.labels))
            for item in self._call(
                "list data sets", lambda: list(datasets.list_datasets(request=request, timeout=TIMEOUT_S))
            )
        ]
        listed = self._call("list models", lambda: list(models.list_models(request=request, timeout=TIMEOUT_S)))
        for model in listed:
            if model.training_pipeline:
                found.append(Leftover(MODEL, model.name, model.create_time, dict(model.labels), _kept_for(model)))
            else:
                found += self._versions(model.name.partition("@")[0], deployment)
        return found

    def _versions(self, model: str, deployment: str) -> Iterator[Leftover]:
        _, models = self._clients()
        request = {"name": model, "filter": f"labels.lb_deployment={deployment}", "page_size": 100}
        for item in self._call(
            f"list versions of {model}", lambda: list(models.list_model_versions(request=request, timeout=TIMEOUT_S))
        ):
            name, labels = f"{model}@{item.version_id}", dict(item.labels)
            yield Leftover(VERSION, name, item.version_create_time, labels, _kept_for(item, is_version=True))

    def delete(self, leftover: Leftover) -> None:
        """See Leftovers. Safe to repeat: what is gone is not listed again."""
        datasets, models = self._clients()
        kinds = {DATA_SET: datasets.delete_dataset, MODEL: models.delete_model, VERSION: models.delete_model_version}
        remove = kinds[leftover.kind]
        self._call(
            f"delete {leftover.name}",
            lambda: remove(name=leftover.name, timeout=TIMEOUT_S).result(timeout=OPERATION_TIMEOUT_S),
        )


def _kept_for(model: Any, *, is_version: bool = False) -> str:
    aliases = sorted(set(model.version_aliases) - (set() if is_version else {_OWN_ALIAS}))
    if aliases:
        return f"has the alias {', '.join(aliases)}"
    return "is deployed to an endpoint" if model.deployed_models else ""
