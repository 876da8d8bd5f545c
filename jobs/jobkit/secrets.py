"""Secrets of the jobs, read from Secret Manager when they are needed and kept nowhere."""

import os
from typing import Any

from jobkit.errors import BadConfiguration, PermissionRefused, Transient

TIMEOUT_S = 30.0


def read_secret(secret_id: str) -> str:
    """The newest version of a secret of GOOGLE_CLOUD_PROJECT; SECRET_MANAGER_ENDPOINT may name another server.

    Google's client is loaded here, not at the top: a job that has its key in the environment does not need it.
    """
    if not secret_id:
        raise BadConfiguration("No Labelbox API key: set LABELBOX_API_KEY_SECRET or LABELBOX_API_KEY.")
    from google.api_core import exceptions
    from google.cloud import secretmanager

    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    name = f"projects/{project}/secrets/{secret_id}/versions/latest"
    try:
        answer = _client(secretmanager).access_secret_version(request={"name": name}, timeout=TIMEOUT_S)
    except (exceptions.NotFound, exceptions.FailedPrecondition) as error:
        raise BadConfiguration(
            f"The secret '{secret_id}' has no usable version.", "Add the Labelbox API key."
        ) from error
    except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
        raise PermissionRefused(f"The job's account may not read the secret '{secret_id}'.") from error
    except (exceptions.ServerError, exceptions.RetryError) as error:
        raise Transient("Secret Manager did not answer.") from error
    value: str = answer.payload.data.decode("utf-8").strip()
    return value


def _client(secretmanager: Any) -> Any:
    endpoint = os.environ.get("SECRET_MANAGER_ENDPOINT", "")
    if not endpoint.startswith("http://"):
        options = {"api_endpoint": endpoint} if endpoint else None
        return secretmanager.SecretManagerServiceClient(client_options=options)
    import grpc
    from google.cloud.secretmanager_v1.services.secret_manager_service import transports

    channel = grpc.insecure_channel(endpoint.removeprefix("http://").rstrip("/"))
    return secretmanager.SecretManagerServiceClient(
        transport=transports.SecretManagerServiceGrpcTransport(channel=channel)
    )
