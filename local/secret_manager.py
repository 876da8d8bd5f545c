"""Stand-in of Secret Manager: gRPC AccessSecretVersion over a JSON file that is read anew at each call.

The file: {"secret-id": ["value of version 1", {"value": "value of version 2", "state": "DISABLED"}]}. A version's state
is ENABLED (also that of a plain text), DISABLED or DESTROYED. To rotate a secret, append to its list.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import google_crc32c
import grpc
from google.cloud.secretmanager_v1 import AccessSecretVersionRequest, AccessSecretVersionResponse, SecretPayload

LOOPBACK = "127.0.0.1"
SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
LARGEST_SECRET_BYTES = 65_536  # https://cloud.google.com/secret-manager/quotas
THREADS = 8
_NAME = re.compile(r"projects/([^/]+)/secrets/([A-Za-z0-9_-]{1,255})/versions/(latest|[1-9][0-9]*)")


class State(StrEnum):
    """The state of a version; only an enabled one can be read."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DESTROYED = "DESTROYED"


@dataclass(frozen=True)
class Version:
    """One version of a secret."""

    value: bytes
    state: State


class Denied(Exception):
    """The call cannot be answered; `status` says why."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


class BadSecrets(ValueError):
    """The file holds no secrets in the form that this module's docstring shows."""


def read_secrets(path: Path) -> dict[str, list[Version]]:
    """All secrets of a file, versions in order from number 1. BadSecrets or OSError when it cannot be read."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise BadSecrets(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadSecrets(f"{path} must hold an object of lists")
    return {name: _versions(path, name, versions) for name, versions in content.items()}


def _versions(path: Path, name: str, versions: object) -> list[Version]:
    if not isinstance(versions, list):
        raise BadSecrets(f"{path}: {name} must be a list of versions")
    found: list[Version] = []
    for number, entry in enumerate(versions, 1):
        value, state = (
            (entry.get("value", ""), entry.get("state", State.ENABLED))
            if isinstance(entry, dict)
            else (entry, State.ENABLED)
        )
        if not isinstance(value, str) or len(value.encode()) > LARGEST_SECRET_BYTES:
            raise BadSecrets(f"{path}: version {number} of {name} must be a text of at most 64 KiB")
        if state not in list(State):
            raise BadSecrets(f"{path}: the state of version {number} of {name} is none of {', '.join(State)}")
        found.append(Version(value.encode(), State(state)))
    return found


def access(path: Path, project: str, name: str) -> AccessSecretVersionResponse:
    """The answer to one call; Denied with the code that Secret Manager uses."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Denied(grpc.StatusCode.INVALID_ARGUMENT, f"The provided name [{name}] is no secret version's name.")
    asked_project, secret, wanted = match.groups()
    resource = f"projects/{asked_project}/secrets/{secret}"
    if asked_project != project:
        sentence = f"Permission 'secretmanager.versions.access' denied for resource '{name}' (or it may not exist)."
        raise Denied(grpc.StatusCode.PERMISSION_DENIED, sentence)
    try:
        secrets = read_secrets(path)
    except (BadSecrets, OSError) as error:
        raise Denied(grpc.StatusCode.INTERNAL, str(error)) from error
    if secret not in secrets:
        raise Denied(grpc.StatusCode.NOT_FOUND, f"Secret [{resource}] not found or has no versions.")
    number = _number(secrets[secret], resource, wanted)
    version = secrets[secret][number - 1]
    if version.state is not State.ENABLED:
        sentence = f"Secret Version [{resource}/versions/{number}] is in {version.state} state."
        raise Denied(grpc.StatusCode.FAILED_PRECONDITION, sentence)
    payload = SecretPayload(data=version.value, data_crc32c=google_crc32c.value(version.value))
    return AccessSecretVersionResponse(name=f"{resource}/versions/{number}", payload=payload)


def _number(versions: Sequence[Version], resource: str, wanted: str) -> int:
    if wanted == "latest":
        # The newest of all, disabled or not: https://cloud.google.com/secret-manager/docs/access-secret-version
        if not versions:
            raise Denied(grpc.StatusCode.NOT_FOUND, f"Secret [{resource}] not found or has no versions.")
        return len(versions)
    if int(wanted) > len(versions):
        raise Denied(grpc.StatusCode.NOT_FOUND, f"Secret Version [{resource}/versions/{wanted}] not found.")
    return int(wanted)


class SecretManagerServer:
    """Serves from construction on until `close`. `port` is the port it got."""

    def __init__(self, secrets: Path, project: str = "local-project", port: int = 0) -> None:
        self._secrets = secrets
        self._project = project
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
        method = grpc.unary_unary_rpc_method_handler(
            self._access,
            request_deserializer=AccessSecretVersionRequest.deserialize,
            response_serializer=AccessSecretVersionResponse.serialize,
        )
        handlers = {"AccessSecretVersion": method}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port: int = self._server.add_insecure_port(f"{LOOPBACK}:{port}")
        self._server.start()

    def close(self, grace_s: float = 1.0) -> None:
        """Stop answering. Safe to repeat because a stopped server stays stopped."""
        self._server.stop(grace_s).wait()

    def _access(
        self, request: AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> AccessSecretVersionResponse:
        try:
            return access(self._secrets, self._project, request.name)
        except Denied as denied:
            context.abort(denied.status, str(denied))
            raise  # abort raises; this line is for the type checker


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; 0 after SIGTERM or Ctrl-C, 2 when the file or the port is no good."""
    given = _parser().parse_args(arguments)
    try:
        read_secrets(given.secrets)
        server = SecretManagerServer(given.secrets, given.project, given.port)
    except (BadSecrets, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if given.ready_file:
        partial = given.ready_file.with_suffix(given.ready_file.suffix + ".partial")
        partial.write_text(json.dumps({"port": server.port}))
        partial.rename(given.ready_file)  # whoever sees the file sees all of it
    print(f"Secret Manager stand-in: {LOOPBACK}:{server.port}", flush=True)
    stop.wait()
    server.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.secret_manager", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on the loopback address; 0 takes a free one")
    parser.add_argument(
        "--state-dir", type=Path, help="taken for likeness with the other stand-ins; the file is all state"
    )
    parser.add_argument("--ready-file", type=Path, help='written as {"port": N} once the server answers')
    parser.add_argument("--secrets", type=Path, required=True, help="JSON file of the secrets")
    parser.add_argument("--project", default="local-project", help="the only project that may be asked for")
    return parser


if __name__ == "__main__":
    sys.exit(main())
