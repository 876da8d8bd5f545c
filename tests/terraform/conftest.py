"""One workspace for all tests here: initialised and applied once. Skips, saying why, where no provider can be had."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.terraform.workspace import FIRST, SECOND, State, TerraformFailed, Workspace, copy_sources


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An initialised copy of the configuration."""
    program = os.environ.get("TERRAFORM", "terraform")
    found_program = shutil.which(program)
    if found_program is None:
        pytest.skip(f"no program {program!r}: install terraform or name it in the environment variable TERRAFORM")
    folder = tmp_path_factory.mktemp("deployment")
    copy_sources(folder)
    found = Workspace(str(Path(found_program).absolute()), folder)
    try:
        found.run("init", "-no-color", "-input=false", "-backend=false")
    except TerraformFailed as failed:
        reason = next((line for line in str(failed).splitlines() if line.startswith("Error:")), "init failed")
        pytest.skip(f"neither a registry nor a stand-in serves terraform's providers: {reason}")
    return found


@pytest.fixture(scope="session")
def first(workspace: Workspace) -> State:
    """A deployment with all defaults."""
    try:
        return workspace.apply(FIRST)
    except TerraformFailed as failed:
        # Google's own provider asks for an account before it plans; only a stand-in needs none.
        if "credential" in str(failed).lower():
            pytest.skip("these providers need an account: `terraform test` checks the configuration without one")
        raise


@pytest.fixture(scope="session")
def second(workspace: Workspace, first: State) -> State:
    """Another deployment beside the first, with all options."""
    return workspace.apply(SECOND, "second.tfstate")
