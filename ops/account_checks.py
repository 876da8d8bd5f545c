"""Checks of `doctor` on the Google account: what the deployment's accounts may do, and what quota allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.check import APPLY, Fault, Skipped
from ops.deployment import Deployment
from orchestrator.pipelines import CustomJob

# terraform/iam.tf, by account: roles on the bucket, all of them needed.
_BUCKET_ROLES = {
    "coordinator": ("roles/storage.objectUser", "roles/storage.legacyBucketReader"),
    "stages": ("roles/storage.objectUser", "roles/storage.objectViewer", "roles/storage.legacyBucketReader"),
    "jobs": ("roles/storage.objectUser", "roles/storage.objectViewer", "roles/storage.legacyBucketReader"),
}
_VERTEX_ACCOUNTS = ("stages", "jobs")
_PUSHED = ("etl", "train", "inference", "custom", "job-state", "dead-letter")
_INVOKER = "roles/run.invoker"
_LEAST_CPUS = 4
_QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
# Names of Vertex AI's quota metrics of custom training; a region is one dimension of each.
# https://cloud.google.com/vertex-ai/docs/quotas
_CPUS = "custom_model_training_cpus"


def grants_are_there(deployment: Deployment) -> str:
    """The accounts have the roles that Terraform gives them on the bucket, in the project and on the functions
    (https://cloud.google.com/storage/docs/json_api/v1/buckets/getIamPolicy,
    https://cloud.google.com/resource-manager/reference/rest/v1/projects/getIamPolicy)."""
    if deployment.is_local:
        raise Skipped("the embedded cloud has no accounts")
    problems = [*_on_the_bucket(deployment), *_in_the_project(deployment), *_on_functions(deployment)]
    if problems:
        raise Fault("; ".join(problems), APPLY)
    return "bucket, Vertex AI, push to functions"


def _member(deployment: Deployment, account: str) -> str:
    settings = deployment.settings
    return (
        f"serviceAccount:{settings.deployment_name}-{account}@{settings.google_cloud_project}.iam.gserviceaccount.com"
    )


def _roles(policy: Mapping[str, Any] | None, member: str) -> set[str]:
    bindings = (policy or {}).get("bindings", ())
    return {str(item.get("role")) for item in bindings if member in item.get("members", ())}


def _on_the_bucket(deployment: Deployment) -> Iterator[str]:
    bucket = deployment.settings.bucket
    policy = deployment.rest.get(
        "storage.googleapis.com", f"storage/v1/b/{bucket}/iam?optionsRequestedPolicyVersion=3"
    )  # version 3: bindings with a condition, which these have
    for account, needed in _BUCKET_ROLES.items():
        if missing := [role for role in needed if role not in _roles(policy, _member(deployment, account))]:
            yield f"{account} lacks {', '.join(missing)} on {bucket}"


def _in_the_project(deployment: Deployment) -> Iterator[str]:
    project = deployment.settings.google_cloud_project
    policy = deployment.rest.post(
        "cloudresourcemanager.googleapis.com", f"v1/projects/{project}:getIamPolicy", {"options": {}}
    )
    for account in _VERTEX_ACCOUNTS:
        roles = _roles(policy, _member(deployment, account))
        # A role of one's own may stand in the place of roles/aiplatform.user; what is in it is not looked into.
        if not any(role.startswith("roles/aiplatform.") or not role.startswith("roles/") for role in roles):
            yield f"{account} has no role for Vertex AI in {project}"


def _on_functions(deployment: Deployment) -> Iterator[str]:
    """https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/getIamPolicy"""
    settings, push = deployment.settings, _member(deployment, "push")
    for name in _PUSHED:
        service = f"{settings.parent}/services/{settings.deployment_name}-{name}"
        policy = deployment.rest.get("run.googleapis.com", f"v2/{service}:getIamPolicy")
        if _INVOKER not in _roles(policy, push):
            yield f"Pub/Sub may not call {settings.deployment_name}-{name}"


def quotas_allow_jobs(deployment: Deployment) -> str:
    """Vertex AI's quota of this region allows one job of each machine that a pipeline's defaults ask for
    (https://cloud.google.com/service-usage/docs/reference/rest/v1beta1/services.consumerQuotaMetrics)."""
    if deployment.is_local:
        raise Skipped("the embedded cloud has no quotas")
    limits = {metric: _limit(deployment, metric) for metric in (_CPUS, *_accelerators(deployment))}
    if all(limit is None for limit in limits.values()):
        raise Skipped("Google names no such quota of this project; a job that finds none waits, and says so")
    needed = {metric: _LEAST_CPUS if metric == _CPUS else 1 for metric in limits}
    short = [
        f"{metric} is {limit} in {deployment.settings.region}, a job needs {needed[metric]}"
        for metric, limit in limits.items()
        if limit is not None and 0 <= limit < needed[metric]
    ]
    if short:
        raise Fault("; ".join(short), f"ask for more: {_QUOTAS}?project={deployment.settings.google_cloud_project}")
    known = [f"{metric} {'unlimited' if limit < 0 else limit}" for metric, limit in limits.items() if limit is not None]
    return ", ".join(known)


def _accelerators(deployment: Deployment) -> Iterable[str]:
    """The metrics of the accelerators that pipelines ask for by default: NVIDIA_TESLA_T4 is nvidia_t4_gpus."""
    found: dict[str, None] = {}
    for pipeline in deployment.services.pipelines.values():
        values = {f"parameters.{name}": declared.default for name, declared in pipeline.parameters.items()}
        for _, job in pipeline.jobs():
            accelerator, count = job.accelerators(values) if isinstance(job, CustomJob) else ("", 0)
            if accelerator and count:
                found[f"custom_model_training_{accelerator.lower().replace('tesla_', '')}_gpus"] = None
    return found


def _limit(deployment: Deployment, metric: str) -> int | None:
    """What the region may use at once; -1 without a limit, None where Google names no such quota."""
    project, region = deployment.settings.google_cloud_project, deployment.settings.region
    service = f"v1beta1/projects/{project}/services/aiplatform.googleapis.com"
    found = deployment.rest.get(
        "serviceusage.googleapis.com", f"{service}/consumerQuotaMetrics/aiplatform.googleapis.com%2F{metric}"
    )
    buckets = [bucket for limit in (found or {}).get("consumerQuotaLimits", ()) for bucket in limit["quotaBuckets"]]
    own = [bucket for bucket in buckets if bucket.get("dimensions", {}).get("region") == region]
    every = own or [bucket for bucket in buckets if not bucket.get("dimensions")]
    return min((int(bucket["effectiveLimit"]) for bucket in every), default=None)
