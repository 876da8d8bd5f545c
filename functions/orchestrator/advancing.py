"""Advancing a run: load its facts, take the next step, again until there is nothing to do now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC

from orchestrator import logs
from orchestrator.errors import LabelboxRefused, Unavailable, UnreadableMessage
from orchestrator.facts import Configured, Finished
from orchestrator.identities import RunId
from orchestrator.images import ImageMissing
from orchestrator.job_requests import named_image
from orchestrator.launching import launch
from orchestrator.limits import limit_problems
from orchestrator.messages import StageRequested
from orchestrator.observing import observe
from orchestrator.parameters import settle as settle_parameters
from orchestrator.pipelines import CustomJob
from orchestrator.reply import DONE, Reply, again
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.telling import tell
from orchestrator.templates import Scalar
from orchestrator.workflow import Configure, Finish, Hold, Launch, Observe, Step, next_step

_MOST_STEPS = 12
_UNKNOWN = "Labelbox does not know this model run; is the deployment's API key of another workspace, or was it deleted?"


def advance(handling: Handling, run_id: RunId, topic: str | None) -> Reply:
    """Go on with a run as far as it goes now. `topic` is the one whose stages may be launched here; a step that
    belongs to another is asked for by a message to its own topic.

    Safe to repeat: each step is decided from the facts as they are.
    """
    services = handling.services
    for _ in range(_MOST_STEPS):
        run = handling.ledger.load(run_id)
        if run is None:
            raise UnreadableMessage(f"There is no run {run_id}")
        step = next_step(run, services.now(), services.settings)
        if isinstance(step, Configure):
            configure(handling, run)
        elif isinstance(step, Finish):
            finish(handling, run, step.finished)
        elif isinstance(step, Launch) and step.topic == topic:
            launch(handling, run, step)
        elif not (isinstance(step, Observe) and step.stop and observe(handling, run, step)):
            return _rest(handling, run, step)
    return again("the run needs more steps than one request takes")


def _rest(handling: Handling, run: Run, step: Step) -> Reply:
    if isinstance(step, Hold):
        return again(f"a claim is alive until {step.until.astimezone(UTC):%H:%M:%S}")
    if isinstance(step, Launch):
        handling.publish_stage(StageRequested(run.id, step.ref.stage), step.topic)
    tell(handling, run.id)
    return DONE


def configure(handling: Handling, run: Run) -> None:
    """Settle the run's parameters and admit it under the deployment's limits, as one fact.

    Safe to repeat: the fact is write-once, so a second reading of a changed config has no effect.
    """
    services = handling.services
    config, problems = run.accepted.config, list[str]()
    if config is None:
        try:
            config = services.labelbox.look_up(run.accepted.model_run_id).config
        except LabelboxRefused as refused:
            if refused.reason == "key":
                logs.critical("Labelbox refuses the API key: put a valid one into the secret", run=run.id)
                raise Unavailable("Labelbox refuses the API key") from refused
            config, problems = {}, [_UNKNOWN]
    values, of_config = settle_parameters(run.pipeline.parameters, config)
    problems += of_config
    if not problems:
        problems += limit_problems(run.pipeline, values, services.settings)
        problems += _crowd_problems(handling, run)
    images, missing = _pinned_images(handling, run, values)
    problems += missing
    handling.ledger.record(run.id, Configured(values, tuple(problems), images))
    services.reached("configured")


def _pinned_images(handling: Handling, run: Run, parameters: Mapping[str, Scalar]) -> tuple[dict[str, str], list[str]]:
    """Every image of the run by digest, and a sentence on those that there are not."""
    jobs = (job for _, job in run.pipeline.jobs())
    wanted = sorted({job.image_for(parameters) for job in jobs if isinstance(job, CustomJob)})
    images: dict[str, str] = {}
    missing: list[str] = []
    for image in wanted:
        uri = named_image(run, image)
        try:
            images[uri] = handling.services.images.pin(uri)
        except ImageMissing:
            missing.append(image)
    return images, list(_missing_images(run, missing))


def _missing_images(run: Run, missing: list[str]) -> Iterator[str]:
    yield from (f"the registry has no image {image}" for image in missing if ":" in image)
    folders = [image for image in missing if ":" not in image]
    if folders:
        names = ", ".join(named_image(run, folder).rpartition("/")[2] for folder in folders)
        # A build leaves out the large images unless they are named.
        chosen = f" and _JOBS={' '.join(folders)}" if any(folder.endswith("/gpu") for folder in folders) else ""
        yield f"not built: {names} (run: gcloud builds submit, with the options of Terraform's build_command{chosen})"


def _crowd_problems(handling: Handling, run: Run) -> list[str]:
    settings, ledger = handling.services.settings, handling.ledger
    problems: list[str] = []
    older = []
    for marker in ledger.active():
        if marker.run == run.id:
            break
        older.append(marker.run)
    if len(older) >= settings.max_active_runs:
        under_way = sum(1 for other in older if not ledger.has(other, Finished.path))
        if under_way >= settings.max_active_runs:
            problems.append(
                f"{under_way} runs are under way, and this deployment allows {settings.max_active_runs}"
                " (MAX_ACTIVE_RUNS)"
            )
    day = run.accepted_at.astimezone(UTC).date().isoformat()
    if ledger.count_on_day(run.id, day) >= settings.max_runs_per_day:
        problems.append(f"this deployment starts at most {settings.max_runs_per_day} runs a day (MAX_RUNS_PER_DAY)")
    return problems


def finish(handling: Handling, run: Run, finished: Finished) -> None:
    """End the run and leave no job of it running.

    Safe to repeat: `finished` has one winner, and a cancel repeated is a cancel.
    """
    handling.check_time()
    handling.services.reached("before-finished")
    # Marked first: until the run is closed, reconcile looks for jobs that outlive it.
    handling.ledger.mark_look(run.id)
    if handling.ledger.record(run.id, finished):
        severity = logs.info if finished.outcome == "COMPLETE" else logs.error
        severity("The run finished", run=run.id, status=finished.outcome, reason=finished.sentence)
    handling.services.reached("finished")
    for attempts in run.attempts.values():
        for attempt in attempts:
            if attempt.launched and not attempt.ended:
                handling.services.jobs.cancel(attempt.launched.name)
