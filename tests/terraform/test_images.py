"""Every job image, built and run for real: make test-images. Needs podman or docker, named in CONTAINER_ENGINE.

JOB_IMAGES names a few folders below jobs/, separated by blanks, where all would take too long. IMAGE_FIGURES names a
file that gets a table of what the images weigh and how fast they start.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit import __version__
from orchestrator.pipelines import CustomJob, Pipeline, read_pipelines
from tests.jobs.weights.hub_server import HubServer
from tests.terraform.containers import Built, Engine, NoBaseImage, base_image
from tests.terraform.image_runs import first_difference, ran_as_processes, replayed
from tests.terraform.workspace import ROOT
from weights import fill

ALL = sorted(path.parent.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").glob("*/*/Dockerfile"))
WEIGHED = sorted(
    path.parent.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").glob("*/*/gpu/models.txt")
)
FOLDERS = os.environ.get("JOB_IMAGES", "").split() or ALL
# What we put on the base image, which is not ours to make smaller.
LARGEST_TEXT_IMAGE_BYTES = 480_000_000
Images = Callable[[str], Built]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine that the environment names, with the Dockerfiles' base image."""
    program = os.environ.get("CONTAINER_ENGINE", "")
    if not program:
        pytest.skip("no container engine: name one in the environment variable CONTAINER_ENGINE")
    if shutil.which(program) is None:
        pytest.fail(f"CONTAINER_ENGINE names {program!r}, which is not installed")
    found = Engine(program, tmp_path_factory.mktemp("engine"))
    try:
        found.ready(base_image(FOLDERS))
    except NoBaseImage as error:
        pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, tuple[Built, float]]]:
    """What was measured, by folder; written down at the end."""
    found: dict[str, tuple[Built, float]] = {}
    yield found
    if file := os.environ.get("IMAGE_FIGURES"):
        rows = "".join(
            f"| {folder} | {built.size_bytes / 1e6:.0f} | {built.seconds:.0f} | {start_s:.1f} |\n"
            for folder, (built, start_s) in sorted(found.items())
        )
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(f"| image | MB | build s | --help s |\n|---|---|---|---|\n{rows}", encoding="utf-8")


@pytest.fixture(scope="module")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Images by folder, each built once of what `gcloud builds submit` uploads, and removed at the end."""
    context, built = tmp_path_factory.mktemp("context"), dict[str, Built]()
    shutil.copytree(ROOT / "jobs", context / "jobs", ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".env"))

    def image(folder: str) -> Built:
        if folder not in built:
            built[folder] = engine.build(folder, context)
        return built[folder]

    yield image
    for item in built.values():
        engine.run("rmi", "--force", item.name)


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_image_starts_its_job_as_a_user_without_rights(
    engine: Engine, images: Images, figures: dict[str, tuple[Built, float]], folder: str
) -> None:
    built = images(folder)
    began = time.monotonic()
    assert "--ending-uri" in engine.start(built.name, "--help")
    figures[folder] = (built, time.monotonic() - began)
    assert engine.start(built.name, "--version").strip() == __version__
    assert engine.start(built.name, "-u", entrypoint="id").strip() != "0"
    assert (
        engine.start(built.name, "-m", "pip", "check", entrypoint="python").strip() == "No broken requirements found."
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_image_holds_its_own_job_and_the_kit_and_nothing_else_of_the_repository(
    engine: Engine, images: Images, tmp_path: Path, folder: str
) -> None:
    stage, job = folder.split("/")[:2]
    container = engine.run("create", images(folder).name).strip()
    try:
        engine.run("cp", f"{container}:/app", str(tmp_path))
    finally:
        engine.run("rm", container)
    assert {path.name for path in (tmp_path / "app").iterdir()} >= {"jobkit", stage}
    found = {path.relative_to(tmp_path / "app").as_posix() for path in (tmp_path / "app").rglob("*.py")}
    assert f"{stage}/{job}/main.py" in found
    assert not [path for path in found if path.split("/")[0] not in ("jobkit", stage)]
    in_repository = {path.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").rglob("*.py")}
    assert found <= in_repository
    assert not [path for path in (tmp_path / "app").rglob("*") if path.name in (".env", "__pycache__")]


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if "text" in folder or folder.endswith("/ner")])
def test_an_image_for_texts_is_light(engine: Engine, images: Images, folder: str) -> None:
    base = int(engine.run("image", "inspect", "--format", "{{.Size}}", base_image(FOLDERS)))
    assert images(folder).size_bytes - base <= LARGEST_TEXT_IMAGE_BYTES


@pytest.mark.parametrize("folder", WEIGHED)
def test_weights_that_are_not_locked_stop_the_build_and_locked_ones_are_in_the_image(
    engine: Engine, tmp_path: Path, folder: str
) -> None:
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".env"))
    (tmp_path / "jobs" / folder / "models.txt").write_text("mine org/model\n")
    with HubServer() as hub:
        options = ("--target", "weights", "--build-arg", f"HF_ENDPOINT={hub.address}")
        with pytest.raises(AssertionError, match=r"mine \(org/model\) is not in jobs/weights/lock.json"):
            engine.build(folder, tmp_path, *options)
        lock = tmp_path / "jobs" / "weights" / "lock.json"
        lock.write_text('{"version": 1, "models": {}}')
        for other in (tmp_path / "jobs").glob("*/*/gpu/models.txt"):
            other.write_text("mine org/model\n")
        assert fill.main(["--jobs", str(tmp_path / "jobs"), "--lock", str(lock)], hub.client) == 0
        built = engine.build(folder, tmp_path, *options)
    try:
        listed = engine.start(built.name, "-c", "cd /models/mine && cat config.json", entrypoint="sh")
        assert listed == '{"hidden": 8}'
    finally:
        engine.run("rmi", "--force", built.name)


def _covering() -> list[str]:
    """As few pipelines as show every chosen image at work."""

    def uses(pipeline: Pipeline) -> set[str]:
        return {job.image for _, job in pipeline.jobs() if isinstance(job, CustomJob)} & set(FOLDERS)

    left, found = set(FOLDERS), list[str]()
    pipelines: dict[str, Any] = dict(read_pipelines())
    while best := max(pipelines, key=lambda name: len(uses(pipelines[name]) & left), default=None):
        if not uses(pipelines[best]) & left:
            break
        found.append(best)
        left -= uses(pipelines.pop(best))
    return found


@pytest.mark.parametrize("model_type", _covering())
def test_the_jobs_of_a_sample_run_leave_the_same_files_in_their_images_as_as_processes(
    engine: Engine, images: Images, tmp_path: Path, model_type: str
) -> None:
    compared: set[str] = set()
    with ran_as_processes(model_type, tmp_path) as run:
        for job in run.custom_jobs():
            if job.folder not in FOLDERS:
                continue
            original, again = replayed(engine, images(job.folder).name, job, run)
            assert original, f"{job.folder} left no file"
            assert again.keys() == original.keys()
            different = [name for name in original if again[name] != original[name]]
            assert not different, f"{job.folder}: {[first_difference(original[n], again[n]) for n in different]}"
            compared.add(job.folder)
    assert compared
