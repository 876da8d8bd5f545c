"""Operators for the tests: over a world in memory, and over one embedded cloud for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from local.address import Address
from local.cloud import CloudOptions, EmbeddedCloud
from local.job_environments import prepare
from local.state import StateFolder
from ops.deployment import Deployment
from ops.target import Target
from orchestrator.pipelines import read_pipelines
from tests.functions.world import World
from tests.ops.operators import Commands, CommandsFor, deployment_of

TEXT = "text_single_classification"


@pytest.fixture(autouse=True)
def _environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands set variables for Google's clients; none may stay behind, or come from a shell."""
    names = ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "NO_PROXY", "no_proxy", "OPS_PRICES", "PIPELINES_DIR")
    for name in (*names, "GOOGLE_CLOUD_PROJECT", "REGION", "DEPLOYMENT_NAME", "BUCKET", "COORDINATOR_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def commands_for(capsys: pytest.CaptureFixture[str]) -> CommandsFor:
    """Commands for a deployment that the test made."""
    return lambda deployment: Commands(capsys, deployment)


@pytest.fixture
def ops(world: World, commands_for: CommandsFor) -> Commands:
    """Commands for the world in memory."""
    return commands_for(deployment_of(world))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCloud]:
    """One embedded cloud that can run the text pipeline."""
    folder = tmp_path_factory.mktemp("ops")
    state = StateFolder(folder / "state")
    options = CloudOptions(reconcile_period_s=1.0)
    prepare(read_pipelines()[TEXT], options.environments_dir, state, Console(quiet=True))
    with EmbeddedCloud(state, options) as running, Address.of(running).published(folder):
        yield running


@pytest.fixture
def local_dir(cloud: EmbeddedCloud) -> Path:
    """Where the embedded cloud's up.json lies."""
    return cloud.state.path.parent


@pytest.fixture
def deployment(local_dir: Path) -> Iterator[Deployment]:
    """The embedded cloud as the commands reach it."""
    opened = Target(local=True, local_dir=local_dir).open()
    yield opened
    opened.close()
