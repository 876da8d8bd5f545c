"""The functions as they are deployed: one functions-framework process each, configured by its environment only."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local import deployment
from local.processes import LOOPBACK, Process, free_port

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "functions" / "main.py"
READY_DEADLINE_S = 60.0
# Requests that a worker serves at once, as in terraform/locals.tf; the coordinator's wait for Labelbox.
COORDINATOR_THREADS, STAGE_THREADS = 32, 8
INSTANCE_HEADER = "x-instance"
API_KEY_SECRET = "local-labelbox-api-key"
SERVICE_SECRET_SECRET = "local-service-secret"


@dataclass(frozen=True)
class Endpoints:
    """Where the stand-ins serve, as the clients are told it."""

    storage: str
    pubsub_host: str
    vertex: str
    secret_manager: str
    labelbox: str
    artifact_registry: str


def function_environment(endpoints: Endpoints, reconcile_period_s: float) -> dict[str, str]:
    """Every setting of the functions, as Terraform would set it, with the times of the laptop."""
    return {
        "GOOGLE_CLOUD_PROJECT": deployment.PROJECT,
        "REGION": deployment.REGION,
        "DEPLOYMENT_NAME": deployment.DEPLOYMENT,
        "BUCKET": deployment.BUCKET,
        "JOB_SERVICE_ACCOUNT": f"jobs@{deployment.PROJECT}.iam.gserviceaccount.com",
        "IMAGE_REPOSITORY": f"{deployment.REGION}-docker.pkg.dev/{deployment.PROJECT}/{deployment.DEPLOYMENT}",
        "IMAGE_TAG": "local",
        "LABELBOX_ENDPOINT": endpoints.labelbox,
        "LABELBOX_API_KEY_SECRET": API_KEY_SECRET,
        "SERVICE_SECRET_SECRET": SERVICE_SECRET_SECRET,
        "SECRET_MANAGER_ENDPOINT": endpoints.secret_manager,
        "VERTEX_ENDPOINT": endpoints.vertex,
        "ARTIFACT_REGISTRY_ENDPOINT": endpoints.artifact_registry,
        "PUBSUB_EMULATOR_HOST": endpoints.pubsub_host,
        "STORAGE_EMULATOR_HOST": endpoints.storage,
        # The time chain (docs/decisions/time-chain.md), shortened: call < function < ack deadline < claim.
        "CALL_DEADLINE_S": "3",
        "FUNCTION_TIMEOUT_S": "8",
        "ACK_DEADLINE_S": str(deployment.ACK_DEADLINE_S),
        "CLAIM_HOLD_S": "20",
        "RECONCILE_PERIOD_S": f"{reconcile_period_s:g}",
        "REPUBLISH_AFTER_S": str(3 * deployment.MAXIMUM_BACKOFF_S),
        "RETRY_BACKOFF_S": "2",
        "QUOTA_BACKOFF_S": "5",
        "ALLOW_PRIVATE_ADDRESSES": "true",
        # A person's own keys, if any stand in the shell, have no business here.
        "LABELBOX_API_KEY": "",
        "SERVICE_SECRET": "",
        "GOOGLE_APPLICATION_CREDENTIALS": "",
    }


class FunctionProcess:
    """One function and its address. It can be killed and started again; it keeps its port."""

    def __init__(self, name: str, environment: Mapping[str, str], state_dir: Path) -> None:
        self.name = name
        self.port = free_port()
        self.origin = f"http://{LOOPBACK}:{self.port}"
        self.process = Process(
            name.replace("_", "-"),
            [
                *(sys.executable, "-m", "functions_framework"),
                *("--source", SOURCE, "--target", name, "--host", LOOPBACK, "--port", str(self.port)),
            ],
            {**environment, "THREADS": str(COORDINATOR_THREADS if name == "coordinator" else STAGE_THREADS)},
            state_dir / "logs" / f"{name}.log",
            state_dir,
            port=self.port,
            # Not the repository: `python -m` would put it on the path, and a deployed function has only its own folder.
            cwd=state_dir,
        )

    def start(self) -> None:
        """Start the process without waiting for it."""
        self.process.start()

    def wait_ready(self) -> None:
        """Return once this process answers: a connection that is accepted proves nothing."""
        self.process.wait_ready(self._answers, READY_DEADLINE_S)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.origin}/ping", timeout=2) as answer:
                return INSTANCE_HEADER in answer.headers
        except urllib.error.HTTPError as error:
            error.close()
            return INSTANCE_HEADER in error.headers
