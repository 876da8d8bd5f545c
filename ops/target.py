"""Which deployment a command is for: one in a Google Cloud project, or the embedded cloud of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.deployment import Deployment
from ops.errors import Misuse, OpsError
from ops.google_rest import GoogleRest
from ops.job_logs import CloudJobLogs, LocalJobLogs
from ops.topics import PubSubTopics
from ops.vertex_leftovers import VertexLeftovers
from orchestrator.errors import BadSettings
from orchestrator.secret_store import SecretManagerReader, SecretReader
from orchestrator.services import Services
from orchestrator.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
UP_VERSION = 1
_HINT = "start the embedded cloud with `make up`, or name a deployment: --project ID --region REGION --deployment NAME"
_RUN = "run.googleapis.com"


@dataclass(frozen=True)
class Target:
    """What the command line says about the deployment. An empty value was not given."""

    project: str = ""
    region: str = ""
    deployment: str = ""
    bucket: str = ""
    coordinator_url: str = ""
    local: bool = False
    local_dir: Path = ROOT / ".local"

    def open(self, environ: MutableMapping[str, str] | None = None) -> Deployment:
        """Reach the deployment: the one that is named, else the embedded cloud that runs here.

        Nothing is connected yet. Misuse when neither can be told; OpsError when the embedded cloud is gone.
        """
        environ = os.environ if environ is None else environ
        named = {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "REGION": self.region,
            "DEPLOYMENT_NAME": self.deployment,
            "BUCKET": self.bucket,
        }
        given = {name: value or environ.get(name, "") for name, value in named.items()}
        missing = [name for name in ("GOOGLE_CLOUD_PROJECT", "REGION", "DEPLOYMENT_NAME") if not given[name]]
        if not self.local and not missing:
            return self._cloud({**environ, **{name: value for name, value in given.items() if value}})
        if not self.local and any(named.values()):
            raise Misuse(f"The deployment is not named whole: {', '.join(missing)} is missing", _HINT)
        return self._embedded(environ)

    def _cloud(self, environ: Mapping[str, str]) -> Deployment:
        environment = {**environ, **_names_of(environ)}
        try:
            settings = Settings.from_environment(environment)
        except BadSettings as error:
            raise Misuse(str(error), "see docs/settings.md") from error
        rest = GoogleRest()
        url = self.coordinator_url or environ.get("COORDINATOR_URL", "")
        return _deployment(
            settings,
            find_coordinator=(lambda: url) if url else lambda: _coordinator_of(settings, rest),
            job_logs=CloudJobLogs(settings.google_cloud_project, rest),
            rest=rest,
            pubsub_host=environ.get("PUBSUB_EMULATOR_HOST", ""),
        )

    def _embedded(self, environ: MutableMapping[str, str]) -> Deployment:
        address = _read_address(self.local_dir / "up.json")
        environment: dict[str, str] = address["environment"]
        # As Google's clients want to be told it.
        for name in ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"):
            environ[name] = environment[name]
        for name in ("NO_PROXY", "no_proxy"):
            hosts = [host for host in environ.get(name, "").split(",") if host]
            environ[name] = ",".join([*hosts, "127.0.0.1", "localhost"])
        url = self.coordinator_url or address["coordinator_url"]
        return _deployment(
            Settings.from_environment(environment),
            find_coordinator=lambda: url,
            job_logs=LocalJobLogs(Path(address["job_logs"])),
            rest=GoogleRest(),
            pubsub_host=environment["PUBSUB_EMULATOR_HOST"],
            is_local=True,
        )


def _deployment(
    settings: Settings,
    *,
    find_coordinator: Callable[[], str],
    job_logs: LocalJobLogs | CloudJobLogs,
    rest: GoogleRest,
    pubsub_host: str,
    is_local: bool = False,
) -> Deployment:
    project, endpoint = settings.google_cloud_project, settings.secret_manager_endpoint

    def reader(secret_id: str) -> SecretReader:
        return SecretManagerReader(project, secret_id, endpoint, settings.call_deadline_s)

    return Deployment(
        services=Services.from_settings(settings),
        find_coordinator=find_coordinator,
        job_logs=job_logs,
        topics=PubSubTopics(pubsub_host),
        leftovers=VertexLeftovers(settings.parent, settings.region, settings.vertex_endpoint),
        secret_reader=reader,
        rest=rest,
        is_local=is_local,
    )


def _names_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What Terraform calls things, wherever the environment does not say otherwise (terraform/*.tf)."""
    project, region, name = (environ[key] for key in ("GOOGLE_CLOUD_PROJECT", "REGION", "DEPLOYMENT_NAME"))
    usual = {
        "BUCKET": f"{project}-{name}-runs",
        "JOB_SERVICE_ACCOUNT": f"{name}-jobs@{project}.iam.gserviceaccount.com",
        "IMAGE_REPOSITORY": f"{region}-docker.pkg.dev/{project}/{name}-jobs",
    }
    if not environ.get("LABELBOX_API_KEY"):
        usual["LABELBOX_API_KEY_SECRET"] = f"{name}-labelbox-api-key"
    if not environ.get("SERVICE_SECRET"):
        usual["SERVICE_SECRET_SECRET"] = f"{name}-signing-secret"
    return {key: environ.get(key) or value for key, value in usual.items()}


def _coordinator_of(settings: Settings, rest: GoogleRest) -> str:
    """The address of the coordinator's Cloud Run service
    (https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services)."""
    name = f"{settings.parent}/services/{settings.deployment_name}-coordinator"
    service = rest.get(_RUN, f"v2/{name}")
    if not service or not service.get("uri"):
        hint = "give its address: --coordinator-url, from `terraform output labelbox_url`"
        raise OpsError(f"There is no service {settings.deployment_name}-coordinator in {settings.region}", hint)
    return str(service["uri"])


def _read_address(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OpsError("No deployment is named, and no embedded cloud runs here", _HINT) from error
    except ValueError as error:
        raise OpsError(f"{file} cannot be read: {error}", "start the embedded cloud again: make up") from error
    if content.get("version") != UP_VERSION or not _lives(int(content["pid"])):
        raise OpsError(f"The embedded cloud of {file} is gone", _HINT)
    return dict(content)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
