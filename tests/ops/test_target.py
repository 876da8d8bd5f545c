"""Which deployment a command is for, and that a cloud's names are those that Terraform gives."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.address import Address
from local.cloud import EmbeddedCloud
from local.functions import ROOT
from ops.deployment import Deployment
from ops.errors import Misuse, OpsError
from ops.target import Target, _coordinator_of
from tests.functions.world import SETTINGS
from tests.ops.google_stand_in import google
from tests.ops.operators import CommandsFor

TEXT = "text_single_classification"
NAMED = {"project": "my-project", "region": "europe-west4", "deployment": "training"}
IN_ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": "env-project", "REGION": "us-east1", "DEPLOYMENT_NAME": "env"}


def up_json(folder: Path, **changes: Any) -> Path:
    environment = {
        "GOOGLE_CLOUD_PROJECT": "local-project",
        "REGION": "us-central1",
        "DEPLOYMENT_NAME": "local",
        "BUCKET": "b",
        "JOB_SERVICE_ACCOUNT": "j",
        "IMAGE_REPOSITORY": "r",
        "LABELBOX_API_KEY": "k",
        "SERVICE_SECRET": "s",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:2",
    }
    content = {
        "version": 1,
        "pid": os.getpid(),
        "coordinator_url": "http://127.0.0.1:3/",
        "job_logs": "/logs",
        "environment": environment,
        **changes,
    }
    (folder / "up.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("options", "environment", "deployment"),
    [
        ({}, {}, "local"),
        ({}, IN_ENVIRONMENT, "env"),
        (NAMED, {}, "training"),
        (NAMED, IN_ENVIRONMENT, "training"),
        ({"deployment": "other"}, IN_ENVIRONMENT, "other"),
        ({"local": True}, IN_ENVIRONMENT, "local"),
        ({}, {"GOOGLE_CLOUD_PROJECT": "only-this"}, "local"),
    ],
)
def test_options_win_over_the_environment_and_that_over_the_embedded_cloud(
    tmp_path: Path, options: dict[str, Any], environment: dict[str, str], deployment: str
) -> None:
    opened = Target(**options, local_dir=up_json(tmp_path)).open(dict(environment))
    assert opened.settings.deployment_name == deployment
    assert opened.is_local == (deployment == "local")


def test_the_names_of_a_deployment_are_terraform_s() -> None:
    settings = Target(**NAMED).open({}).settings
    assert settings.bucket == "my-project-training-runs"
    assert settings.image_repository == "europe-west4-docker.pkg.dev/my-project/training-jobs"
    assert settings.job_service_account == "training-jobs@my-project.iam.gserviceaccount.com"
    secrets = (settings.labelbox_api_key_secret, settings.service_secret_secret)
    assert secrets == ("training-labelbox-api-key", "training-signing-secret")
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "terraform").glob("*.tf"))
    for written in (
        *('"${var.project_id}-${local.prefix}-runs"', 'repository_id = "${local.prefix}-jobs"'),
        *("labelbox-api-key = ", "signing-secret   = ", '"${local.prefix}-reconcile"', '"${local.prefix}-job-ends"'),
    ):
        assert re.sub(r"\s+", " ", written) in re.sub(r"\s+", " ", text), written


def test_what_the_environment_sets_stands() -> None:
    environment = {"BUCKET": "mine", "SERVICE_SECRET_SECRET": "own-secret", "IMAGE_TAG": "v7"}
    settings = Target(**NAMED).open(environment).settings
    assert (settings.bucket, settings.service_secret_secret, settings.image_tag) == ("mine", "own-secret", "v7")
    assert Target(**NAMED, bucket="given").open(environment).settings.bucket == "given"


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        ({"project": "p"}, {}, "REGION, DEPLOYMENT_NAME is missing"),
        ({"bucket": "b"}, {}, "GOOGLE_CLOUD_PROJECT"),
        (NAMED, {"CLAIM_HOLD_S": "soon"}, "CLAIM_HOLD_S"),
    ],
)
def test_a_deployment_that_is_not_named_whole_is_a_usage_error(
    tmp_path: Path, options: dict[str, Any], environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Misuse, match=sentence):
        Target(**options, local_dir=up_json(tmp_path)).open(environment)


@pytest.mark.parametrize("content", [None, "{", json.dumps({"version": 1, "pid": 2**22 + 1}), '{"version": 2}'])
def test_without_a_cloud_that_runs_the_error_says_how_to_get_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "up.json").write_text(content)
    with pytest.raises(OpsError) as raised:
        Target(local_dir=tmp_path).open({})
    assert "make up" in raised.value.hint


def test_the_coordinator_s_address_is_looked_up_in_cloud_run() -> None:
    path = "v2/projects/local-project/locations/us-central1/services/test-coordinator"
    with google() as (stand_in, rest):
        with pytest.raises(OpsError) as raised:
            _coordinator_of(SETTINGS, rest)
        assert "--coordinator-url" in raised.value.hint
        stand_in.says("GET", path, {"uri": "https://test-coordinator.run.app"})
        assert _coordinator_of(SETTINGS, rest) == "https://test-coordinator.run.app"


def test_the_embedded_cloud_is_reached_by_what_up_wrote(deployment: Deployment) -> None:
    assert deployment.is_local and deployment.settings.deployment_name == "local"
    assert deployment.coordinator_url.startswith("http://127.0.0.1:")
    assert list(deployment.services.store.list("nothing/")) == []


def test_a_named_deployment_is_reached_through_the_same_clients(
    cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch, commands_for: CommandsFor
) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    names = ("--project", "local-project", "--region", "us-central1", "--deployment", "local")
    ops = commands_for(None)
    assert ops(*names, "runs", "--json").code == 0
    answer = ops(*names, "--coordinator-url", cloud.origin, "train", "no-such-model-run", "--pipeline", TEXT)
    assert answer.code == 1 and "knows no model run" in answer.err


def test_what_up_wrote_goes_with_it_and_another_s_stays(tmp_path: Path) -> None:
    address = Address("http://c", "http://l", "/state", "/logs", {}, os.getpid())
    with address.published(tmp_path):
        assert json.loads((tmp_path / "up.json").read_text())["coordinator_url"] == "http://c"
    assert list(tmp_path.iterdir()) == []
    with address.published(tmp_path):
        later = replace(address, coordinator_url="http://later").write(tmp_path)
    assert json.loads(later.read_text())["coordinator_url"] == "http://later"
