"""The orchestrator's registry port over the wire, against the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.artifact_registry import RegistryServer
from local.processes import free_port
from orchestrator.errors import Unavailable
from orchestrator.images import ArtifactRegistry, ImageMissing

IMAGE = "us-central1-docker.pkg.dev/p/r/etl-my-job:v1"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    folder = tmp_path / "etl" / "my_job"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    server = RegistryServer([tmp_path])
    yield server
    server.close()


def test_an_image_is_pinned_by_a_digest_that_changes_with_its_files(registry: RegistryServer, tmp_path: Path) -> None:
    port = ArtifactRegistry(f"http://127.0.0.1:{registry.port}", 5.0)
    first = port.pin(IMAGE)
    assert first.startswith("us-central1-docker.pkg.dev/p/r/etl-my-job@sha256:") and port.pin(IMAGE) == first
    (tmp_path / "etl" / "my_job" / "main.py").write_text("print()\n")
    assert port.pin(IMAGE) != first


def test_an_image_that_nobody_built_is_missing(registry: RegistryServer) -> None:
    with pytest.raises(ImageMissing, match="etl-other"):
        ArtifactRegistry(f"http://127.0.0.1:{registry.port}", 5.0).pin(IMAGE.replace("my-job", "other"))


@pytest.mark.parametrize("uri", ["docker.io/me/image:1", "python:3.11", IMAGE.replace(":v1", "@sha256:" + "0" * 64)])
def test_an_image_of_another_registry_or_by_digest_stays_as_it_is(uri: str) -> None:
    assert ArtifactRegistry(f"http://127.0.0.1:{free_port()}", 1.0).pin(uri) == uri


def test_a_registry_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        ArtifactRegistry(f"http://127.0.0.1:{free_port()}", 1.0).pin(IMAGE)
