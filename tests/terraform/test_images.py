"""Every job image, built and started for real. Needs a container engine: CONTAINER_ENGINE=docker (or podman).

    CONTAINER_ENGINE=docker python -m pytest tests/terraform/test_images.py

JOB_IMAGES names a few folders, separated by blanks, where all would take too long.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.gcs import StorageServer
from tests.terraform.workspace import ROOT

CHOSEN = os.environ.get("JOB_IMAGES", "").split()
FOLDERS = CHOSEN or sorted(
    path.parent.relative_to(ROOT / "jobs").as_posix() for path in (ROOT / "jobs").glob("*/*/Dockerfile")
)
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 1800, 120
NOTHING: Mapping[str, str] = {}
ML_USE = "aiplatform.googleapis.com/ml_use"
TRAINER = "train/text_classification"


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

    def start(self, image: str, *arguments: str, entrypoint: str = "", environment: Mapping[str, str] = NOTHING) -> str:
        """Start a container and wait for its end."""
        options = ["--rm", "--network", "host", *(["--entrypoint", entrypoint] if entrypoint else [])]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
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
    _, name = image
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


def _training_file() -> str:
    words = {"billing": "invoice refund charge", "login": "password account reset"}
    rows = [
        {
            "textContent": f"{words[label]} ticket number {number}",
            "classificationAnnotation": {"displayName": label},
            "dataItemResourceLabels": {
                "aiplatform.googleapis.com/ml_use": "validation" if number % 5 == 0 else "training"
            },
        }
        for number in range(40)
        for label in words
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_job_in_its_image_makes_the_same_files_as_the_same_job_as_a_process(
    engine: Engine, image: tuple[str, str], tmp_path: Path
) -> None:
    folder, name = image
    if folder != TRAINER:
        pytest.skip(f"compared for {TRAINER} only: it needs no Labelbox")
    with StorageServer(tmp_path / "gcs" / "root") as server:
        server.create_bucket("images")
        environment = {
            "STORAGE_EMULATOR_HOST": server.host,
            "GOOGLE_CLOUD_PROJECT": "local-project",
            "CLOUD_ML_JOB_ID": "7001",
        }
        client = _client(server)
        bucket = client.bucket("images")
        bucket.blob("training.jsonl").upload_from_string(_training_file())

        def arguments(who: str) -> list[str]:
            common = ["--training-file=gs://images/training.jsonl", "--seed=1", "--backbone=none"]
            return [*common, f"--output-uri=gs://images/{who}/", f"--ending-uri=gs://images/{who}-ending/"]

        engine.start(name, *arguments("image"), environment=environment)
        subprocess.run(
            [sys.executable, "-m", "train.text_classification.main", *arguments("process")],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT / "jobs")},
            check=True,
            timeout=RUN_TIMEOUT_S,
            capture_output=True,
        )
        files: dict[str, dict[str, bytes]] = {}
        for who in ("image", "process"):
            blobs = bucket.list_blobs(prefix=f"{who}/")
            files[who] = {blob.name.removeprefix(f"{who}/"): blob.download_as_bytes() for blob in blobs}
        client.close()
    assert files["image"]
    assert files["image"] == files["process"]


def _client(server: StorageServer) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    return Client(
        project="local-project",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": server.host},
    )
