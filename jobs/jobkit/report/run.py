"""The report's part on the run: what the job was given, what it ran with, and where its files lie."""

import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote

from jobkit.ending import JOB_ID_VARIABLE
from jobkit.report.page import framed, short
from jobkit.report.stages import stages_table
from jobkit.run_description import RunDescription

LIBRARIES = (
    *("labelbox", "numpy", "onnxruntime", "pillow", "python-crfsuite", "scikit-learn", "tokenizers", "torch"),
    "transformers",
)
MAX_VALUE = 2000
_CONSOLE = "https://console.cloud.google.com"
_EMULATOR = "STORAGE_EMULATOR_HOST"  # set where the cloud is an imitation, which has no pages to link to


def versions(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Python and those of the libraries that this job has."""
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def job_links(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the platform says about this job: deployment, project, and the job with its page in the console."""
    names = {"deployment": "DEPLOYMENT_NAME", "project": "GOOGLE_CLOUD_PROJECT", "region": "REGION"}
    found = {name: environment[key] for name, key in names.items() if environment.get(key)}
    job = environment.get(JOB_ID_VARIABLE)
    if job:
        found["job"] = job
        if not environment.get(_EMULATOR) and {"project", "region"} <= found.keys():
            where = f"locations/{quote(found['region'], '')}/training/{quote(job, '')}"
            found["job's page"] = f"{_CONSOLE}/vertex-ai/{where}?project={quote(found['project'], '')}"
    return found


def _value(text: str, linked: bool) -> str:
    shown = escape(short(text, MAX_VALUE)) or '<span class="note">(empty)</span>'
    if not linked:
        return shown
    if text.startswith(f"{_CONSOLE}/"):
        return f'<a href="{escape(text)}">{shown}</a>'
    if text.startswith("gs://"):
        bucket, _, name = text.removeprefix("gs://").partition("/")
        kind = "browser" if name.endswith("/") or not name else "browser/_details"
        return f'<a href="{_CONSOLE}/storage/{kind}/{quote(bucket, "")}/{quote(name)}">{shown}</a>'
    return shown


def run_section(
    told: Mapping[str, str],
    arguments: Mapping[str, str],
    artifacts: Mapping[str, str],
    run: RunDescription | None = None,
) -> str:
    """The whole part: what happened, stages, parameters, files, versions. `run` is read from the environment."""
    run = run or RunDescription.from_environment()
    parameters = {name: _in_words(value) for name, value in run.parameters.items()}
    registered = {"model in the registry": run.model_version} if run.model_version else {}
    parts = (
        run_table({**told, **registered}, "What happened"),
        stages_table(run),
        run_table(parameters, "Parameters of the run"),
        run_table(arguments, "Arguments of this job"),
        run_table(artifacts, "Files of the run"),
        run_table({**job_links(), **versions()}, "Where and with what it ran"),
        run_table(_images(run), "Images of the jobs"),
    )
    return "".join(parts)


def _images(run: RunDescription) -> dict[str, str]:
    return {f"{job.get('stage')}/{job.get('job')}": str(job["image"]) for job in run.jobs if job.get("image")}


def _in_words(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_table(pairs: Mapping[str, str], caption: str, environment: Mapping[str, str] = os.environ) -> str:
    """Names and values; gs:// addresses and console pages become links, but not where the cloud is an imitation."""
    if not pairs:
        return ""
    linked = not environment.get(_EMULATOR)
    lines = "".join(
        f'<tr><th scope="row">{escape(short(name))}</th><td class="text">{_value(str(value), linked)}</td></tr>'
        for name, value in pairs.items()
    )
    head = '<thead><tr><th scope="col">what</th><th scope="col" class="text">value</th></tr></thead>'
    return framed(f"{head}<tbody>{lines}</tbody>", caption)
