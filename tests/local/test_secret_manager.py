"""The real SecretManagerServiceClient against the stand-in: versions, rotation by editing the file, and refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from local.secret_manager import BadSecrets, SecretManagerServer, read_secrets

SECRETS = {
    "signing": ["one", "zwei ä"],
    "rolled-back": ["one", {"value": "two", "state": "DISABLED"}],
    "gone": [{"value": "x", "state": "DESTROYED"}],
    "empty": [],
}
PARENT = "projects/local-project/secrets"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(SECRETS))
    return path


@pytest.fixture
def client(secrets: Path) -> Iterator[SecretManagerServiceClient]:
    server = SecretManagerServer(secrets)
    with connected(server.port) as made:
        yield made
    server.close(0)


def connected(port: int) -> SecretManagerServiceClient:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


@pytest.mark.parametrize(("asked", "number", "value"), [("1", 1, "one"), ("2", 2, "zwei ä"), ("latest", 2, "zwei ä")])
def test_an_enabled_version_is_read(client: SecretManagerServiceClient, asked: str, number: int, value: str) -> None:
    answer = client.access_secret_version(name=f"{PARENT}/signing/versions/{asked}", timeout=5)
    assert answer.name == f"{PARENT}/signing/versions/{number}"
    assert answer.payload.data.decode() == value
    assert answer.payload.data_crc32c == google_crc32c.value(value.encode())


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (f"{PARENT}/nothing/versions/latest", exceptions.NotFound, "nothing"),
        (f"{PARENT}/signing/versions/3", exceptions.NotFound, "versions/3"),
        (f"{PARENT}/rolled-back/versions/2", exceptions.FailedPrecondition, "is in DISABLED state"),
        (f"{PARENT}/rolled-back/versions/latest", exceptions.FailedPrecondition, "is in DISABLED state"),
        (f"{PARENT}/gone/versions/1", exceptions.FailedPrecondition, "is in DESTROYED state"),
        (f"{PARENT}/gone/versions/latest", exceptions.FailedPrecondition, "is in DESTROYED state"),
        (f"{PARENT}/empty/versions/latest", exceptions.NotFound, "no versions"),
        (f"{PARENT}/signing/versions/0", exceptions.InvalidArgument, "versions/0"),
        (f"{PARENT}/signing", exceptions.InvalidArgument, "signing"),
        ("projects/other/secrets/signing/versions/1", exceptions.PermissionDenied, "versions.access"),
    ],
)
def test_what_cannot_be_read_is_refused(
    client: SecretManagerServiceClient, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        client.access_secret_version(name=name, timeout=5)


def test_rotation_is_an_edit_of_the_file(client: SecretManagerServiceClient, secrets: Path) -> None:
    name = f"{PARENT}/signing/versions/latest"
    assert client.access_secret_version(name=name, timeout=5).payload.data == "zwei ä".encode()
    secrets.write_text(json.dumps({"signing": [{"value": "one", "state": "DISABLED"}, "two", "three"]}))
    assert client.access_secret_version(name=name, timeout=5).name.endswith("/versions/3")
    with pytest.raises(exceptions.FailedPrecondition):
        client.access_secret_version(name=f"{PARENT}/signing/versions/1", timeout=5)


def test_only_access_is_offered(client: SecretManagerServiceClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        client.get_secret(name=f"{PARENT}/signing", timeout=5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no JSON"),
        ("[]", "object of lists"),
        ('{"a": "x"}', "a must be a list"),
        ('{"a": [5]}', "version 1 of a"),
        ('{"a": ["x", {"value": "y", "state": "OFF"}]}', "the state of version 2 of a"),
        (json.dumps({"a": ["x" * 65_537]}), "64 KiB"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)
    with pytest.raises(BadSecrets, match=said):
        read_secrets(path)


def test_the_command_serves_until_sigterm(tmp_path: Path, secrets: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "local.secret_manager", "--secrets", str(secrets), "--ready-file", str(ready)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        with connected(json.loads(ready.read_text())["port"]) as client:
            assert client.access_secret_version(name=f"{PARENT}/signing/versions/1", timeout=5).payload.data == b"one"
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
