"""Every job image, built and started for real. Needs a container engine: CONTAINER_ENGINE=docker (or podman).

    CONTAINER_ENGINE=docker python -m pytest tests/terraform/test_images.py

JOB_IMAGES names a few folders, separated by blanks, where all would take too long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terraform.workspace import ROOT

CHOSEN = os.environ.get("JOB_IMAGES", "").split()
FOLDERS = CHOSEN or sorted(
    path.parent.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").glob("*/*/Dockerfile")
)
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 1800, 120


class Engine:
    """docker or podman. Their own networks need rights that a build machine may not have, so the host's is used."""

    def __init__(self, program: str) -> None:
        self.program = program

    def run(self, *arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> str:
        """Run it and return what it printed."""
        done = subprocess.run(
            [self.program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def start(self, image: str, *arguments: str, entrypoint: str = "") -> str:
        """Start a container and wait for its end."""
        options = ["--rm", "--network", "host", *(["--entrypoint", entrypoint] if entrypoint else [])]
        return self.run("run", *options, image, *arguments)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The engine that the environment names."""
    program = os.environ.get("CONTAINER_ENGINE", "")
    if not program:
        pytest.skip("no container engine: name one in the environment variable CONTAINER_ENGINE")
    if shutil.which(program) is None:
        pytest.skip(f"CONTAINER_ENGINE names {program!r}, which is not installed")
    return Engine(program)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `gcloud builds submit` uploads: jobs/ and nothing else, without what python leaves behind."""
    folder = tmp_path_factory.mktemp("context")
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".env"))
    return folder


@pytest.fixture(scope="module", params=FOLDERS)
def image(request: pytest.FixtureRequest, engine: Engine, context: Path) -> Iterator[tuple[str, str]]:
    """A job's folder and its image, which is removed again."""
    folder = str(request.param)
    name = "job-image-test-" + folder.replace("/", "-").replace("_", "-")
    dockerfile = context / "jobs" / folder / "Dockerfile"
    arguments = ("build", "--network", "host", "--file", str(dockerfile), "--tag", name, str(context))
    engine.run(*arguments, timeout_s=BUILD_TIMEOUT_S)
    yield folder, name
    engine.run("rmi", name)


def test_an_image_starts_its_job_as_a_user_without_rights(engine: Engine, image: tuple[str, str]) -> None:
    folder, name = image
    assert "--ending-uri" in engine.start(name, "--help")
    assert engine.start(name, "-u", entrypoint="id").strip() != "0"
    assert engine.start(name, "-m", "pip", "check", entrypoint="python").strip() == "No broken requirements found."


def test_an_image_holds_its_own_job_and_the_kit_and_nothing_else_of_the_repository(
    engine: Engine, image: tuple[str, str], tmp_path: Path
) -> None:
    folder, name = image
    stage, job = folder.split("/")
    container = engine.run("create", name).strip()
    try:
        engine.run("cp", f"{container}:/app", str(tmp_path))
    finally:
        engine.run("rm", container)
    assert {path.name for path in (tmp_path / "app").iterdir()} >= {"jobkit", stage}
    found = {path.relative_to(tmp_path / "app").as_posix() for path in (tmp_path / "app").rglob("*.py")}
    assert f"{stage}/{job}/main.py" in found
    in_repository = {path.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").rglob("*.py")}
    assert found <= in_repository
    assert not [path for path in (tmp_path / "app").rglob("*") if path.name in (".env", "__pycache__")]
