"""Configuring a run: its parameters, its images by digest and its admission, settled once as one fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC

from orchestrator import logs
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable, Unavailable
from orchestrator.facts import Configured, Finished
from orchestrator.images import ImageMissing
from orchestrator.job_requests import named_image
from orchestrator.limits import limit_problems
from orchestrator.parameters import settle as settle_parameters
from orchestrator.pipelines import CustomJob
from orchestrator.questions import unsettled
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.templates import Scalar

_UNKNOWN = "Labelbox does not know this model run; is the deployment's API key of another workspace, or was it deleted?"


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
        problems += _question_problems(handling, run, values)
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


def _question_problems(handling: Handling, run: Run, parameters: Mapping[str, Scalar]) -> list[str]:
    """What leaves open which question is learned. A Labelbox that does not answer leaves it to the ETL job, which asks
    the same; so does a run that takes over what an ETL job left."""
    asked = {name: item.question_kinds for name, item in run.pipeline.parameters.items() if item.question_kinds}
    if not asked or run.accepted.reused:
        return []
    handling.check_time()
    try:
        questions = handling.services.labelbox.questions(run.accepted.model_run_id)
    except (LabelboxUnavailable, LabelboxRefused) as error:
        logs.warning("Labelbox did not tell the ontology; the first job asks again", run=run.id, reason=str(error))
        return []
    found = ((name, unsettled(questions, str(parameters[name]), kinds)) for name, kinds in asked.items())
    return [f"{name} {problem}" for name, problem in found if problem]


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
