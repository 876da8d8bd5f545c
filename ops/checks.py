"""The checks of `doctor`: each looks at one thing that a deployment needs, and says what to do if it is not so."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ops.dead_letters import dead_letters
from ops.deployment import Deployment
from ops.errors import OpsError
from ops.training_request import ask_models
from orchestrator.errors import LabelboxRefused, ServiceError
from orchestrator.limits import limit_problems
from orchestrator.pipelines import CustomJob

ROOT = Path(__file__).resolve().parent.parent
TOPICS = ("etl", "train", "inference", "custom", "job-state", "dead-letter")
TESTED = "tested over the wire"
UNSEEN = "not yet seen in a real account"
APPLY = "terraform apply (terraform/)"
_NO_MODEL_RUN = "00000000-0000-0000-0000-000000000000"
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class Fault(OpsError):
    """Something is not as a deployment needs it; the hint is the remedy."""


class Skipped(Exception):
    """There is nothing to check here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check. `look` gives what was found, or raises Fault or Skipped. `seen`: how far the check itself is proven:
    against what stands in for the service over the wire, or not yet against anything but documents."""

    name: str
    look: Callable[[Deployment], str]
    seen: str = TESTED


def settings_are_whole(deployment: Deployment) -> str:
    """Settings are complete, the time chain stands, and every pipeline's defaults pass the deployment's limits."""
    deployment.settings.check()
    problems = [
        f"{name}: {problem}"
        for name, pipeline in deployment.services.pipelines.items()
        for problem in limit_problems(
            pipeline,
            {parameter: declared.default for parameter, declared in pipeline.parameters.items()},
            deployment.settings,
        )
    ]
    if problems:
        hint = "raise the limit in the settings (docs/settings.md), or change the pipeline's default"
        raise Fault(f"Defaults pass the deployment's limits: {'; '.join(problems)}", hint)
    return f"{len(deployment.services.pipelines)} pipelines within the limits"


def _secret(deployment: Deployment, given: str, secret_id: str) -> str:
    if given:
        raise Skipped("given by an environment variable")
    found = deployment.secret_reader(secret_id).read("latest")
    if found is None or not found[1]:
        project = deployment.settings.google_cloud_project
        remedy = f"gcloud secrets versions add {secret_id} --project={project} --data-file=-"
        raise Fault(f"Secret {secret_id} has no newest version that is enabled", remedy)
    return f"{secret_id}, version {found[0]}"


def api_key_is_there(deployment: Deployment) -> str:
    """The secret of the Labelbox API key has a version."""
    return _secret(deployment, deployment.settings.labelbox_api_key, deployment.settings.labelbox_api_key_secret)


def signing_secret_is_there(deployment: Deployment) -> str:
    """The signing secret has a version."""
    return _secret(deployment, deployment.settings.service_secret, deployment.settings.service_secret_secret)


def bucket_keeps_facts(deployment: Deployment) -> str:
    """An object can be created, not created twice, read and deleted."""
    from google.api_core import exceptions

    store, bucket = deployment.services.store, deployment.settings.bucket
    name, mine = f"doctor/{uuid.uuid4().hex}", b'{"version":1}'
    try:
        created = store.create(name, mine)
    except exceptions.NotFound as error:
        raise Fault(f"There is no bucket {bucket}", f"name the right one (--bucket), or: {APPLY}") from error
    try:
        if not created or store.create(name, b"{}"):
            raise Fault(
                f"Bucket {bucket} lets an object be created twice", "use a Cloud Storage bucket, no mount of one"
            )
        if store.read(name) != mine:
            raise Fault(f"Bucket {bucket} gives back something else than was written", "look at who writes there")
    finally:
        store.delete(name)
    return f"{bucket}: created once, refused twice, read, deleted"


def vertex_answers(deployment: Deployment) -> str:
    """Vertex AI lists the deployment's jobs."""
    running = deployment.services.jobs.running(deployment.settings.deployment_name)
    return f"{len(running)} jobs run"


def topics_are_there(deployment: Deployment) -> str:
    """Every topic exists."""
    names = [deployment.settings.topic(topic) for topic in TOPICS]
    if missing := [name for name in names if not deployment.topics.topic_exists(name)]:
        raise Fault(f"Missing: {', '.join(missing)}", APPLY)
    return f"{len(names)} topics"


def subscriptions_wake_functions(deployment: Deployment) -> str:
    """Every topic has its push subscription, with dead letters and the ack deadline of the time chain."""
    if problems := [problem for topic in TOPICS for problem in _subscription_problems(deployment, topic)]:
        raise Fault("; ".join(problems), APPLY)
    return f"{len(TOPICS)} subscriptions push, with dead letters"


def _subscription_problems(deployment: Deployment, topic: str) -> Iterator[str]:
    settings = deployment.settings
    short = f"{settings.deployment_name}-{topic}-push"
    found = deployment.topics.subscription(f"projects/{settings.google_cloud_project}/subscriptions/{short}")
    if found is None:
        yield f"{short} is missing"
        return
    if found.topic != settings.topic(topic):
        yield f"{short} is of topic {found.topic}"
    if not found.push_endpoint:
        yield f"{short} does not push"
    if found.ack_deadline_s != settings.ack_deadline_s:
        yield f"{short} has an ack deadline of {found.ack_deadline_s} s, the settings say {settings.ack_deadline_s:g} s"
    if topic != "dead-letter" and found.dead_letter_topic != settings.topic("dead-letter"):
        yield f"{short} has no dead letters"


def images_are_there(deployment: Deployment) -> str:
    """Every image that a pipeline names exists; locally, every folder that the Vertex stand-in would run."""
    images = sorted(
        {
            job.image
            for pipeline in deployment.services.pipelines.values()
            for _, job in pipeline.jobs()
            if isinstance(job, CustomJob)
        }
    )
    is_there = _has_folder if deployment.is_local else _is_in_registry
    if missing := [image for image in images if not is_there(deployment, image)]:
        remedy = "build them: `terraform output build_command` prints how"
        raise Fault(f"Missing: {', '.join(missing)}", "add the folder below jobs/" if deployment.is_local else remedy)
    return f"{len(images)} images"


def _has_folder(deployment: Deployment, image: str) -> bool:
    return ":" in image or (ROOT / "jobs" / image / "Dockerfile").is_file()


def _is_in_registry(deployment: Deployment, image: str) -> bool:
    """Asks the registry itself (https://distribution.github.io/distribution/spec/api/#existing-manifests)."""
    settings = deployment.settings
    # A folder below jobs/ is named as the functions name its image.
    name = image.replace("/", "-").replace("_", "-")
    uri = image if ":" in image else f"{settings.image_repository}/{name}:{settings.image_tag}"
    host, _, path = uri.partition("/")
    repository, _, tag = path.rpartition(":")
    return deployment.rest.exists(host, f"v2/{repository}/manifests/{tag}", _MANIFESTS)


def labelbox_takes_the_key(deployment: Deployment) -> str:
    """Labelbox answers a look-up of a model run that cannot exist with "unknown", not with "who are you"."""
    try:
        deployment.services.labelbox.look_up(_NO_MODEL_RUN)
    except LabelboxRefused as refused:
        if refused.reason == "key":
            secret = deployment.settings.labelbox_api_key_secret or "LABELBOX_API_KEY"
            remedy = f"make a key in Labelbox (Workspace settings, API), and put it into {secret}"
            raise Fault("Labelbox refuses the API key", remedy) from refused
    return deployment.settings.labelbox_endpoint


def coordinator_answers(deployment: Deployment) -> str:
    """The coordinator answers a signed GET /models, and refuses one that is signed with another secret."""
    answer = ask_models(deployment, deployment.services.signing_secret.current())
    url = deployment.coordinator_url
    if answer.status == 401:
        remedy = "the functions read another secret than this command, or keep the old one for 5 minutes: see again"
        raise Fault(f"{url} refuses our signature", remedy)
    if answer.status != 200:
        raise Fault(f"{url}/models answered {answer.status}", "see the coordinator's logs; is this its address?")
    if ask_models(deployment, uuid.uuid4().hex).status != 401:
        raise Fault(f"{url} takes a wrong signature", "this is not our coordinator: give the right --coordinator-url")
    return f"{url} offers {', '.join(sorted(answer.content)) or 'nothing'}"


def nothing_is_dead(deployment: Deployment) -> str:
    """No message waits under dead/."""
    waiting = sum(1 for _ in dead_letters(deployment))
    if waiting:
        raise Fault(f"{waiting} dead letters are kept", "python -m ops replay lists them and says how to go on")
    return "no dead letters"


def no_run_is_stuck(deployment: Deployment) -> str:
    """Every active run has a job that runs, or a fact younger than the time after which reconcile asks again."""
    settings, now = deployment.settings, deployment.services.now()
    patience = timedelta(seconds=2 * settings.republish_after_s + settings.reconcile_period_s)
    running = {job.labels.get("lb_run_key") for job in deployment.services.jobs.running(settings.deployment_name)}
    markers = deployment.ledger.active()
    stuck = [
        str(run.id)
        for marker in markers
        if (run := deployment.ledger.load(marker.run))
        and not run.finished
        and run.accepted.run_key not in running
        and now - run.last_fact_at > patience
    ]
    if stuck:
        remedy = "see the job-state function's logs; python -m ops show RUN, then cancel RUN"
        raise Fault(f"Nothing moves in {', '.join(stuck)}: is the reconcile tick alive?", remedy)
    return f"{len(markers)} runs marked active"


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


CHECKS = (
    Check("settings", settings_are_whole),
    Check("Labelbox API key: secret", api_key_is_there),
    Check("signing secret", signing_secret_is_there),
    Check("bucket", bucket_keeps_facts),
    Check("bucket: region", bucket_is_in_the_region, UNSEEN),
    Check("bucket: notifications", endings_are_announced, UNSEEN),
    Check("topics", topics_are_there),
    Check("subscriptions", subscriptions_wake_functions),
    Check("log sink", job_ends_are_routed, UNSEEN),
    Check("scheduler", tick_is_scheduled, UNSEEN),
    Check("Vertex AI", vertex_answers),
    Check("images", images_are_there, UNSEEN),
    Check("Labelbox API key: accepted", labelbox_takes_the_key),
    Check("coordinator", coordinator_answers),
    Check("dead letters", nothing_is_dead),
    Check("runs", no_run_is_stuck),
)


@dataclass(frozen=True)
class Finding:
    """What a check found: `state` is ok, failed or skipped."""

    check: str
    state: str
    detail: str
    remedy: str
    seen: str


def examine(deployment: Deployment, check: Check) -> Finding:
    """Look, and put whatever happens into a finding. Changes nothing but an object of its own, which it removes."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        return Finding(check.name, "ok", check.look(deployment), "", check.seen)
    except Skipped as skipped:
        return Finding(check.name, "skipped", str(skipped), "", check.seen)
    except OpsError as error:
        return Finding(check.name, "failed", str(error), error.hint, check.seen)
    except ServiceError as error:
        remedy = error.hint or "is its API enabled, and may your account use it?"
        return Finding(check.name, "failed", error.sentence, remedy, check.seen)
    except (GoogleAPIError, GoogleAuthError) as error:
        remedy = "gcloud auth application-default login, or ask for the right to look"
        return Finding(check.name, "failed", f"{type(error).__name__}: {error}", remedy, check.seen)
