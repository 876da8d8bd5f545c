"""Checks through Google's REST APIs, for what the embedded cloud does not have: scheduler, sink, notifications."""

from __future__ import annotations

from ops.check import APPLY, Fault, Skipped
from ops.deployment import Deployment


def _cloud_only(deployment: Deployment, why: str) -> None:
    if deployment.is_local:
        raise Skipped(f"the embedded cloud {why}")


def tick_is_scheduled(deployment: Deployment) -> str:
    """Cloud Scheduler's job is enabled
    (https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs)."""
    _cloud_only(deployment, "has a clock of its own")
    settings = deployment.settings
    job = deployment.rest.get(
        "cloudscheduler.googleapis.com", f"v1/{settings.parent}/jobs/{settings.deployment_name}-reconcile"
    )
    if job is None:
        raise Fault(f"There is no scheduler job {settings.deployment_name}-reconcile", APPLY)
    if job.get("state") != "ENABLED":
        remedy = f"gcloud scheduler jobs resume {settings.deployment_name}-reconcile --location={settings.region}"
        raise Fault(f"The reconcile tick is {job.get('state')}", remedy)
    return str(job.get("schedule", ""))


def job_ends_are_routed(deployment: Deployment) -> str:
    """The log sink hands the ends of jobs to job-state
    (https://cloud.google.com/logging/docs/reference/v2/rest/v2/sinks)."""
    _cloud_only(deployment, "sends job ends itself")
    settings = deployment.settings
    name = f"{settings.deployment_name}-job-ends"
    sink = deployment.rest.get("logging.googleapis.com", f"v2/projects/{settings.google_cloud_project}/sinks/{name}")
    wanted = f"pubsub.googleapis.com/{settings.topic('job-state')}"
    if sink is None or sink.get("disabled") or sink.get("destination") != wanted:
        state = "is missing" if sink is None else "is disabled" if sink.get("disabled") else "goes elsewhere"
        raise Fault(f"The log sink {name} {state}", APPLY)
    return name


def endings_are_announced(deployment: Deployment) -> str:
    """The bucket notifies job-state of endings/ and batch/
    (https://cloud.google.com/storage/docs/json_api/v1/notifications/list)."""
    _cloud_only(deployment, "announces them through a topic of its own")
    bucket = deployment.settings.bucket
    found = deployment.rest.get("storage.googleapis.com", f"storage/v1/b/{bucket}/notificationConfigs") or {}
    topic = f"//pubsub.googleapis.com/{deployment.settings.topic('job-state')}"
    prefixes = {item.get("object_name_prefix") for item in found.get("items", []) if item.get("topic") == topic}
    if missing := sorted({"endings/", "batch/"} - prefixes):
        raise Fault(f"Bucket {bucket} does not announce {', '.join(missing)}", APPLY)
    return "endings/ and batch/"


def bucket_is_in_the_region(deployment: Deployment) -> str:
    """Vertex AI reads and writes the bucket in its own region
    (https://cloud.google.com/storage/docs/json_api/v1/buckets)."""
    _cloud_only(deployment, "is in one place")
    bucket, region = deployment.settings.bucket, deployment.settings.region
    found = deployment.rest.get("storage.googleapis.com", f"storage/v1/b/{bucket}?fields=location")
    if found is None:
        raise Fault(f"There is no bucket {bucket}", f"name the right one (--bucket), or: {APPLY}")
    if str(found.get("location", "")).lower() != region.lower():
        remedy = "AutoML needs its data in the job's region: make a new deployment in one region"
        raise Fault(f"Bucket {bucket} is in {found.get('location')}, the jobs in {region}", remedy)
    return region
