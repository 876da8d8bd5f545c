"""Checks of `doctor` through the functions' own ports: each looks at one thing that a deployment needs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from ops.check import APPLY, Fault, Skipped
from ops.dead_letters import dead_letters
from ops.deployment import Deployment
from ops.training_request import ask_models
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable, NoBucket
from orchestrator.limits import limit_problems
from orchestrator.pipelines import CustomJob

ROOT = Path(__file__).resolve().parent.parent
TOPICS = ("etl", "train", "inference", "custom", "job-state", "dead-letter")
_NO_MODEL_RUN = "00000000-0000-0000-0000-000000000000"
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


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
    store, bucket = deployment.services.store, deployment.settings.bucket
    name, mine = f"doctor/{uuid.uuid4().hex}", b'{"version":1}'
    try:
        created = store.create(name, mine)
    except NoBucket as error:
        raise Fault(error.sentence, f"name the right one (--bucket), or: {APPLY}") from error
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
    except LabelboxUnavailable as error:
        raise Fault(error.sentence, "is LABELBOX_ENDPOINT right, and is Labelbox up?") from error
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
    return f"{url} offers {len(answer.content)} model types"


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
