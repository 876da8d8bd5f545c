"""The gRPC face: the four services and their operations, answered by generic handlers with the client's own types."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from local.vertex.cloud import Cloud, Configuration
from local.vertex.control import Control
from local.vertex.refusal import Refused

log = logging.getLogger(__name__)

THREADS = 24
STOP_GRACE_S = 0.3
SERVICES = "google.cloud.aiplatform.v1"
Operation = operations_pb2.Operation
Empty = empty_pb2.Empty


@dataclass(frozen=True)
class Method:
    """One method: who answers it, and the types of its request and its response."""

    path: str
    answer: Callable[[Any], Any]
    request: Any
    response: Any


def methods(cloud: Cloud) -> Iterator[Method]:
    """Yield every method that is answered; all others are UNIMPLEMENTED, as gRPC itself says."""
    v1 = aiplatform_v1
    yield from _job_methods(cloud)
    yield from _endpoint_methods(cloud)
    sets, models = cloud.datasets, cloud.models
    yield Method("DatasetService/CreateDataset", sets.create, v1.CreateDatasetRequest, Operation)
    yield Method("DatasetService/GetDataset", sets.get, v1.GetDatasetRequest, v1.Dataset)
    yield Method("DatasetService/ListDatasets", sets.list, v1.ListDatasetsRequest, v1.ListDatasetsResponse)
    yield Method("DatasetService/DeleteDataset", sets.delete, v1.DeleteDatasetRequest, Operation)
    yield Method("DatasetService/ImportData", sets.import_data, v1.ImportDataRequest, Operation)
    yield Method("ModelService/UploadModel", models.upload, v1.UploadModelRequest, Operation)
    yield Method("ModelService/GetModel", models.get, v1.GetModelRequest, v1.Model)
    yield Method("ModelService/ListModels", models.list, v1.ListModelsRequest, v1.ListModelsResponse)
    yield Method("ModelService/DeleteModel", models.delete, v1.DeleteModelRequest, Operation)
    versions = v1.ListModelVersionsRequest, v1.ListModelVersionsResponse
    yield Method("ModelService/ListModelVersions", models.list_versions, *versions)
    yield Method("ModelService/MergeVersionAliases", models.merge_aliases, v1.MergeVersionAliasesRequest, v1.Model)
    yield Method("ModelService/DeleteModelVersion", models.delete_version, v1.DeleteModelVersionRequest, Operation)


def _endpoint_methods(cloud: Cloud) -> Iterator[Method]:
    v1, endpoints = aiplatform_v1, cloud.endpoints
    yield Method("EndpointService/CreateEndpoint", endpoints.create, v1.CreateEndpointRequest, Operation)
    yield Method("EndpointService/GetEndpoint", endpoints.get, v1.GetEndpointRequest, v1.Endpoint)
    yield Method("EndpointService/ListEndpoints", endpoints.list, v1.ListEndpointsRequest, v1.ListEndpointsResponse)
    yield Method("EndpointService/DeleteEndpoint", endpoints.delete, v1.DeleteEndpointRequest, Operation)
    yield Method("EndpointService/DeployModel", endpoints.deploy, v1.DeployModelRequest, Operation)
    yield Method("EndpointService/UndeployModel", endpoints.undeploy, v1.UndeployModelRequest, Operation)


def _job_methods(cloud: Cloud) -> Iterator[Method]:
    v1 = aiplatform_v1
    kinds = (
        ("JobService", "CustomJob", "CustomJobs", "custom_job", cloud.custom_jobs),
        (
            "JobService",
            "BatchPredictionJob",
            "BatchPredictionJobs",
            "batch_prediction_job",
            cloud.batch_prediction_jobs,
        ),
        ("PipelineService", "TrainingPipeline", "TrainingPipelines", "training_pipeline", cloud.training_pipelines),
    )
    for service, one, many, field, jobs in kinds:

        def create(request: Any, jobs: Any = jobs, field: str = field) -> Any:
            return jobs.create(request.parent, getattr(request, field))

        kind = getattr(v1, one)
        yield Method(f"{service}/Create{one}", create, getattr(v1, f"Create{one}Request"), kind)
        yield Method(f"{service}/Get{one}", jobs.get, getattr(v1, f"Get{one}Request"), kind)
        listing = getattr(v1, f"List{many}Request"), getattr(v1, f"List{many}Response")
        yield Method(f"{service}/List{many}", jobs.list, *listing)
        yield Method(f"{service}/Cancel{one}", jobs.cancel, getattr(v1, f"Cancel{one}Request"), Empty)
        yield Method(f"{service}/Delete{one}", jobs.delete, getattr(v1, f"Delete{one}Request"), Operation)


class VertexServer:
    """The stand-in as an object: `port` and `control_port` are known once it is started (0 chooses a free one)."""

    def __init__(self, configuration: Configuration, port: int = 0, control_port: int = 0) -> None:
        self._cloud = Cloud(configuration)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=THREADS), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._control = Control(self._cloud, control_port)
        self.control_port = self._control.port
        self._stopped = threading.Event()

    @property
    def host(self) -> str:
        """Return where a channel connects to."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Take up what a restart interrupted, and serve."""
        self._cloud.start()
        self._server.start()
        self._control.start()

    def stop(self) -> None:
        """Stop serving, end the jobs' processes, keep the state."""
        self._control.stop()
        self._server.stop(STOP_GRACE_S).wait()
        self._cloud.stop()

    def _handlers(self) -> Iterator[Any]:
        by_service: dict[str, dict[str, Any]] = {}
        for method in methods(self._cloud):
            service, name = method.path.split("/")
            by_service.setdefault(f"{SERVICES}.{service}", {})[name] = self._handler(method)
        operations = self._cloud.operations
        get = Method("GetOperation", lambda it: operations.get(it.name), operations_pb2.GetOperationRequest, Operation)
        wait = Method(
            "WaitOperation",
            lambda request: operations.wait(request.name, request.timeout.ToTimedelta().total_seconds()),
            operations_pb2.WaitOperationRequest,
            Operation,
        )
        by_service["google.longrunning.Operations"] = {it.path: self._handler(it) for it in (get, wait)}
        for service, handlers in by_service.items():
            yield grpc.method_handlers_generic_handler(service, handlers)

    def _handler(self, method: Method) -> Any:
        read = getattr(method.request, "deserialize", None) or method.request.FromString
        write = getattr(method.response, "serialize", None) or method.response.SerializeToString

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if self._cloud.settings.current.unavailable:
                context.abort(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
            try:
                return method.answer(request)
            except Refused as refused:
                context.abort(refused.code, refused.message)
            except Exception as error:
                log.exception("%s", method.path)
                context.abort(grpc.StatusCode.INTERNAL, f"Fault of the local stand-in: {error!r}")

        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read, response_serializer=write)
