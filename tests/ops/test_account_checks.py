"""The doctor on grants, quotas and a real data row: each planted fault is found and named with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from local.cloud import EmbeddedCloud
from ops.account_checks import grants_are_there, quotas_allow_jobs
from ops.check import TESTED, Check, Finding, examine
from ops.deployment import Deployment
from ops.row_reading import row_is_readable
from orchestrator.services import Services
from tests.functions.world import World
from tests.ops.google_stand_in import GoogleStandIn, google
from tests.ops.operating_page import MODEL_RUN
from tests.ops.operators import deployment_of

PROJECT, PARENT = "local-project", "projects/local-project/locations/us-central1"
BUCKET_POLICY = "storage/v1/b/bucket/iam?optionsRequestedPolicyVersion=3"
PROJECT_POLICY = f"v1/projects/{PROJECT}:getIamPolicy"
QUOTA = (
    f"v1beta1/projects/{PROJECT}/services/aiplatform.googleapis.com/consumerQuotaMetrics/aiplatform.googleapis.com%2F"
)


def member(account: str) -> str:
    return f"serviceAccount:test-{account}@{PROJECT}.iam.gserviceaccount.com"


def policy(**roles: list[str]) -> dict[str, Any]:
    """Roles, each with the accounts that have it."""
    named = {role.replace("__", "."): [member(one) for one in accounts] for role, accounts in roles.items()}
    return {"bindings": [{"role": f"roles/{role}", "members": members} for role, members in named.items()]}


BUCKET_ROLES: dict[str, list[str]] = {
    "storage__objectUser": ["coordinator", "stages", "jobs"],
    "storage__objectViewer": ["stages", "jobs"],
    "storage__legacyBucketReader": ["coordinator", "stages", "jobs"],
}


@contextmanager
def granted(world: World) -> Iterator[tuple[GoogleStandIn, Deployment]]:
    """A deployment with all its grants."""
    with google() as (stand_in, rest):
        stand_in.says("GET", BUCKET_POLICY, policy(**BUCKET_ROLES))
        stand_in.says("POST", PROJECT_POLICY, policy(aiplatform__user=["stages", "jobs"]))
        for name in ("etl", "train", "inference", "custom", "job-state", "dead-letter"):
            invokers = policy(run__invoker=["push"])
            stand_in.says("GET", f"v2/{PARENT}/services/test-{name}:getIamPolicy", invokers)
        yield stand_in, deployment_of(world, rest=rest)


def look(deployment: Deployment, check: Any) -> Finding:
    return examine(deployment, Check("it", check, TESTED))


LOST: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "jobs may not write the bucket": (
        *("GET", BUCKET_POLICY),
        policy(**{**BUCKET_ROLES, "storage__objectUser": ["coordinator", "stages"]}),
        "jobs lacks roles/storage.objectUser on bucket",
    ),
    "stages may not list the bucket": (
        *("GET", BUCKET_POLICY),
        policy(**{**BUCKET_ROLES, "storage__legacyBucketReader": ["coordinator", "jobs"]}),
        "stages lacks roles/storage.legacyBucketReader",
    ),
    "a policy without bindings": ("GET", BUCKET_POLICY, {}, "coordinator lacks"),
    "stages may not use Vertex AI": (
        *("POST", PROJECT_POLICY, policy(aiplatform__user=["jobs"])),
        "stages has no role for Vertex AI",
    ),
    "Pub/Sub may not call a function": (
        *("GET", f"v2/{PARENT}/services/test-train:getIamPolicy", {}),
        "Pub/Sub may not call test-train",
    ),
}


@pytest.mark.parametrize("fault", LOST)
def test_a_grant_that_was_taken_away_is_found(world: World, fault: str) -> None:
    method, path, content, detail = LOST[fault]
    with granted(world) as (stand_in, deployment):
        assert look(deployment, grants_are_there).state == "ok"
        stand_in.says(method, path, content)
        found = look(deployment, grants_are_there)
    assert found.state == "failed" and detail in found.detail and "terraform apply" in found.remedy, found


def test_a_role_of_ones_own_may_stand_for_vertex_ai_s(world: World) -> None:
    with granted(world) as (stand_in, deployment):
        mine = {"role": f"projects/{PROJECT}/roles/trainer", "members": [member("stages"), member("jobs")]}
        stand_in.says("POST", PROJECT_POLICY, {"bindings": [mine]})
        assert look(deployment, grants_are_there).state == "ok"


def quota(limit: int, region: str = "us-central1") -> dict[str, Any]:
    buckets = [{"effectiveLimit": "0"}, {"effectiveLimit": str(limit), "dimensions": {"region": region}}]
    return {"metric": "x", "consumerQuotaLimits": [{"quotaBuckets": buckets}]}


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (quota(20), "ok", "custom_model_training_cpus 20"),
        (quota(-1), "ok", "unlimited"),
        (quota(2), "failed", "custom_model_training_cpus is 2 in us-central1, a job needs 4"),
        (quota(20, "europe-west4"), "failed", "is 0 in us-central1"),
        (None, "skipped", "Google names no such quota"),
    ],
)
def test_a_quota_that_no_job_fits_in_is_found(world: World, answer: Any, state: str, detail: str) -> None:
    with google() as (stand_in, rest):
        if answer:
            stand_in.says("GET", f"{QUOTA}custom_model_training_cpus", answer)
        found = look(deployment_of(world, rest=rest), quotas_allow_jobs)
    assert found.state == state and detail in found.detail, found
    assert state != "failed" or "console.cloud.google.com/iam-admin/quotas" in found.remedy


def test_the_first_row_of_a_model_run_is_read(cloud: EmbeddedCloud, deployment: Deployment) -> None:
    def read(model_run: str) -> Finding:
        return look(deployment, lambda it: row_is_readable(it, model_run))

    found = read(MODEL_RUN)
    assert found.state == "ok" and "a text of" in found.detail, found
    pictures = next(run for run in cloud_runs(cloud) if "image" in run[1])
    assert read(pictures[0]).detail.endswith("its address gives bytes")
    assert read("no-such-run").state == "failed" and "knows no model run" in read("no-such-run").detail
    assert read("").state == "skipped"


def cloud_runs(cloud: EmbeddedCloud) -> Iterator[tuple[str, str]]:
    """(model run, sample) of what Labelbox's stand-in serves."""
    from local.labelbox_side import TrainingRequest
    from local.samples import sample_folders

    for folder in sample_folders(cloud.options.samples_dir):
        yield TrainingRequest.for_export(folder / "export.ndjson", folder.name).model_run_id, folder.name


@contextmanager
def labelbox_says(deployment: Deployment, row_data: str, nodes: int = 1, **changes: Any) -> Iterator[Deployment]:
    """The same deployment with another Labelbox, whose model run has one row."""
    with google() as (stand_in, _):
        row = {"dataRow": {"id": "row-1", "rowData": row_data.replace("HOST", stand_in.url)}}
        stand_in.says("POST", "graphql", {"data": {"annotationGroups": {"nodes": [row] * nodes}}})
        stand_in.says("GET", "file", {"bytes": 1})
        settings = replace(deployment.settings, labelbox_endpoint=f"{stand_in.url}/graphql", **changes)
        yield replace(deployment, services=Services.from_settings(settings))


@pytest.mark.parametrize(
    ("row_data", "settings", "state", "detail"),
    [
        ("HOST/file", {}, "ok", "its address gives bytes"),
        ("HOST/gone", {}, "failed", "its address answered 404"),
        ("http://127.0.0.1:9/x", {}, "failed", "its address does not answer"),
        ("gs://mine/a.png", {"data_buckets": "mine, other"}, "ok", "in bucket mine"),
        ("gs://yours/a.png", {"data_buckets": "mine"}, "failed", "lies in bucket yours, which the jobs may not read"),
    ],
)
def test_a_row_that_nobody_can_read_is_found(
    deployment: Deployment, row_data: str, settings: dict[str, Any], state: str, detail: str
) -> None:
    with labelbox_says(deployment, row_data, **settings) as other:
        found = look(other, lambda it: row_is_readable(it, "run"))
    assert found.state == state and detail in found.detail, found
    assert "http" not in found.detail, "a URL may be signed"


def test_a_model_run_without_a_row_is_found(deployment: Deployment) -> None:
    with labelbox_says(deployment, "", nodes=0) as other:
        found = look(other, lambda it: row_is_readable(it, "run"))
    assert found.state == "failed" and "has no data row" in found.detail
