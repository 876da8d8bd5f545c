"""A real storage server for the tests of the image jobs."""

from collections.abc import Iterator

import pytest

from jobkit.storage import Storage
from local.gcs import StorageServer

BUCKET = "image-jobs"


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    with StorageServer(tmp_path_factory.mktemp("gcs") / "buckets") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def storage(storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Storage of the jobs, spoken to over the wire."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local-project")
    made = Storage()
    yield made
    made._client.close()


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A folder of the bucket that only this test uses."""
    return f"gs://{BUCKET}/{request.node.name}"
