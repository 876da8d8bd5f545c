"""The jobs of named entities, ready to run against the storage server of tests/jobs/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobkit.storage import Storage
from tests.jobs.ner.notes import Jobs


@pytest.fixture
def jobs(folder: str) -> Iterator[Jobs]:
    storage = Storage()
    yield Jobs(folder, storage)
    storage.close()
