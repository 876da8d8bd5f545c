"""One workspace for all tests here: initialised and applied once. Skips, saying why, where no provider can be had."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from tests.terraform.workspace import PROJECT, State, TerraformFailed, Workspace, copy_sources

FIRST: dict[str, Any] = {"project_id": PROJECT}
# A second deployment in the same project, with everything that a company may ask for.
SECOND: dict[str, Any] = {
    "project_id": PROJECT,
    "deployment_name": "second",
    "enable_apis": False,
    "alert_emails": ["ml-team@example.com"],
    "data_buckets": [f"{PROJECT}-model-training-sources"],
    "enabled_pipelines": ["text_single_classification"],
    "image_tag": "v2",
    "job_secrets": ["model-training-signing-secret"],
    "kms_key_name": f"projects/{PROJECT}/locations/europe-west4/keyRings/r/cryptoKeys/k",
    "labelbox_endpoint": "https://labelbox.example.com/graphql",
    "labels": {"team": "vision", "cost_center": "1234"},
    "limits": {"max_active_runs": 5, "machines": ["n1-standard-8", "e2-standard-4"]},
    "log_retention_days": 400,
    "network": {"network": "projects/123456789012/global/networks/main", "subnetwork": "functions"},
    "pipeline_defaults": {"text_single_classification": {"minimum_examples": 20, "backbone": "none"}},
    "public_access": False,
    "reconcile_minutes": 5,
    "region": "europe-west4",
    "report_readers": ["group:ml-team@example.com"],
    "retention_days": {"data": 60, "images": 400},
    "vertex_roles": {"jobs": ""},
}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An initialised copy of the configuration."""
    program = os.environ.get("TERRAFORM", "terraform")
    if shutil.which(program) is None:
        pytest.skip(f"no program {program!r}: install terraform or name it in the environment variable TERRAFORM")
    folder = tmp_path_factory.mktemp("deployment")
    copy_sources(folder)
    found = Workspace(program, folder)
    try:
        found.run("init", "-no-color", "-input=false", "-backend=false")
    except TerraformFailed as failed:
        pytest.skip(f"terraform's providers cannot be had: {failed}")
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
