"""What tests of every room may use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from local.gcs import StorageServer


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    """Cloud Storage over files, one for all tests; each takes a bucket of its own."""
    with StorageServer(tmp_path_factory.mktemp("storage") / "buckets") as server:
        yield server


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """Wait until a call gives something true, and give that; AssertionError after `within_s`."""

    def wait(look: Callable[[], object], what: str, within_s: float = 30.0) -> object:
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {within_s:g} s: {what}")

    return wait
