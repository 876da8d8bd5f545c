"""Vertex AI as the deploying job needs it: a registered model, an endpoint, and which model gets its traffic."""

import os
from contextlib import suppress
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists
from google.cloud import aiplatform_v1 as v1
from google.cloud.aiplatform_v1.services.endpoint_service.transports import EndpointServiceGrpcTransport
from google.cloud.aiplatform_v1.services.job_service.transports import JobServiceGrpcTransport
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

CALL_S = 60.0
DEPLOY_S = 3600.0  # a machine must be found, and the image pulled
ALL = 100
NEW = "0"  # how a traffic split names the model that is being deployed
PORT, HEALTH, PREDICT = 8080, "/health", "/predict"
SERVE = ("python", "-m", "inference.text_classification.serve")


class Vertex:
    """The services of the job's own project and region; an http:// VERTEX_ENDPOINT is an insecure channel."""

    def __init__(self) -> None:
        region = os.environ["REGION"]
        self._parent = f"projects/{os.environ['GOOGLE_CLOUD_PROJECT']}/locations/{region}"
        place = os.environ.get("VERTEX_ENDPOINT") or f"{region}-aiplatform.googleapis.com"
        if place.startswith("http://"):
            channel = grpc.insecure_channel(place.removeprefix("http://"))
            self._models = v1.ModelServiceClient(transport=ModelServiceGrpcTransport(channel=channel))
            self._endpoints = v1.EndpointServiceClient(transport=EndpointServiceGrpcTransport(channel=channel))
            self._jobs = v1.JobServiceClient(transport=JobServiceGrpcTransport(channel=channel))
        else:
            options = {"api_endpoint": place}
            self._models = v1.ModelServiceClient(client_options=options)
            self._endpoints = v1.EndpointServiceClient(client_options=options)
            self._jobs = v1.JobServiceClient(client_options=options)

    def close(self) -> None:
        """Close the connections."""
        for client in (self._models, self._endpoints, self._jobs):
            client.transport.close()

    def sibling_image(self, name: str) -> str:
        """The newest image of this name in the repository that this job's own image comes from."""
        job = self._jobs.get_custom_job(
            name=f"{self._parent}/customJobs/{os.environ['CLOUD_ML_JOB_ID']}", timeout=CALL_S
        )
        own = job.job_spec.worker_pool_specs[0].container_spec.image_uri
        return f"{own.rpartition('/')[0]}/{name}:latest"

    def register(self, folder: str, image: str, labels: dict[str, str]) -> str:
        """The name of the model of this run. Safe to repeat: its id is the run's, so a second upload is refused."""
        identity = f"lb-endpoint-{labels['lb_run_key']}"
        model = v1.Model(
            display_name=f"{labels['lb_deployment']} {labels['lb_model_run']}"[:128],
            artifact_uri=folder,
            container_spec=v1.ModelContainerSpec(
                image_uri=image,
                command=list(SERVE),
                ports=[v1.Port(container_port=PORT)],
                health_route=HEALTH,
                predict_route=PREDICT,
            ),
            labels=labels,
        )
        request = {"parent": self._parent, "model": model, "model_id": identity}
        with suppress(AlreadyExists):
            self._models.upload_model(request=request, timeout=CALL_S).result(timeout=DEPLOY_S)
        return f"{self._parent}/models/{identity}"

    def endpoint(self, name: str, labels: dict[str, str]) -> str:
        """The oldest endpoint of this name in the deployment; made if there is none."""
        own = {"lb_deployment": labels["lb_deployment"], "lb_endpoint": name}
        found = self._endpoints.list_endpoints(
            request={
                "parent": self._parent,
                "filter": " AND ".join(f"labels.{key}={value}" for key, value in own.items()),
            },
            timeout=CALL_S,
        )
        if known := sorted(found, key=lambda one: one.create_time):
            return str(known[0].name)
        endpoint = v1.Endpoint(display_name=name, labels=own)
        made = self._endpoints.create_endpoint(parent=self._parent, endpoint=endpoint, timeout=CALL_S)
        return str(made.result(timeout=DEPLOY_S).name)

    def deploy(self, endpoint: str, model: str, machine: str) -> None:
        """Give all traffic to the model, and take the others away. Safe to repeat: what is deployed stays."""
        if not any(one.model == model for one in self._deployed(endpoint)):
            deployed = v1.DeployedModel(
                model=model,
                dedicated_resources=v1.DedicatedResources(
                    machine_spec=v1.MachineSpec(machine_type=machine), min_replica_count=1, max_replica_count=1
                ),
            )
            request = {"endpoint": endpoint, "deployed_model": deployed, "traffic_split": {NEW: ALL}}
            self._endpoints.deploy_model(request=request, timeout=CALL_S).result(timeout=DEPLOY_S)
        for other in self._deployed(endpoint):
            if other.model != model:
                gone = {"endpoint": endpoint, "deployed_model_id": other.id}
                self._endpoints.undeploy_model(request=gone, timeout=CALL_S).result(timeout=DEPLOY_S)

    def _deployed(self, endpoint: str) -> Any:
        return self._endpoints.get_endpoint(name=endpoint, timeout=CALL_S).deployed_models
