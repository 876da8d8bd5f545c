"""One build makes and pushes every job image under one tag, or a chosen few, or nothing at all if one is broken.

The steps' own scripts run here, with a program in docker's place that writes down what it is asked.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from orchestrator.job_requests import named_image
from tests.terraform.workspace import ROOT
from unused import UNUSED, remove

# With CUDA and baked weights: built where they are named.
GPU = {path.parent.relative_to(ROOT / "jobs").as_posix(): path for path in (ROOT / "jobs").glob("*/*/gpu/Dockerfile")}
REPOSITORY = "europe-west4-docker.pkg.dev/proj-one/second-jobs"
IMAGES = {path.parent.relative_to(ROOT / "jobs").as_posix(): path for path in (ROOT / "jobs").glob("*/*/Dockerfile")}
FAKE_DOCKER = """#!/usr/bin/env bash
echo "$*" >>"$DOCKER_LOG"
[[ "$1" == build && "$*" == *"${BROKEN:-nothing is broken}"* ]] && { echo "no such base image"; exit 1; }
exit 0
"""


def _config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))
    return content


class Build:
    """The build in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "docker.log"
        for dockerfile in IMAGES.values():
            target = folder / dockerfile.relative_to(ROOT)
            target.parent.mkdir(parents=True)
            shutil.copy(dockerfile, target)
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(FAKE_DOCKER)
        docker.chmod(0o755)
        self.log.touch()

    def run(
        self, jobs: str = "", broken: str = "nothing is broken", extra_index: str = "", hub: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """The steps in their order, as far as the first that fails, with what Cloud Build would put in."""
        config = _config()
        given = {"_REPOSITORY": REPOSITORY, "_TAG": "v2", "_JOBS": jobs, "BUILD_ID": "build-7"}
        given |= {"_PIP_EXTRA_INDEX_URL": extra_index, "_HF_ENDPOINT": hub}
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "DOCKER_LOG": str(self.log)}
        environment["BROKEN"] = broken
        for step in config["steps"]:
            for entry in [*config["options"]["env"], *step.get("env", [])]:
                name, _, value = entry.partition("=")
                environment[name] = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], value)
            script = self.folder / f"{step['id']}.sh"
            script.write_text(step["script"])
            done = subprocess.run(
                ["bash", script],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode:
                break
        return done

    def asked(self, verb: str) -> list[str]:
        """What docker was asked to do, sorted."""
        return sorted(line for line in self.log.read_text().splitlines() if line.startswith(f"{verb} "))


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A fresh build."""
    return Build(tmp_path)


def _image(folder: str) -> str:
    return f"{REPOSITORY}/{folder.replace('/', '-').replace('_', '-')}"


def test_every_folder_with_a_dockerfile_is_built_on_its_last_layers_and_pushed_under_one_tag(build: Build) -> None:
    assert IMAGES
    done = build.run()
    assert done.returncode == 0, done.stderr
    built = build.asked("build")
    assert len(built) == len(IMAGES)
    for folder in IMAGES:
        (line,) = [line for line in built if f"--file jobs/{folder}/Dockerfile " in line]
        assert f"--cache-from {_image(folder)}:v2 " in line
        assert f"--tag {_image(folder)}:v2 --tag {_image(folder)}:build-7 ." in line
    expected = sorted(f"push --quiet {_image(folder)}:{tag}" for folder in IMAGES for tag in ("v2", "build-7"))
    assert build.asked("push") == expected


def test_a_new_folder_needs_no_line(build: Build) -> None:
    new = build.folder / "jobs" / "train" / "my_own_job"
    new.mkdir()
    (new / "Dockerfile").write_text("FROM scratch\n")
    assert build.run().returncode == 0
    assert f"push --quiet {_image('train/my_own_job')}:v2" in build.asked("push")


def test_an_image_with_cuda_and_weights_is_built_only_where_it_is_named(build: Build) -> None:
    gpu = build.folder / "jobs" / "train" / "my_own_job" / "gpu"
    gpu.mkdir(parents=True)
    (gpu / "Dockerfile").write_text("FROM scratch\n")
    assert build.run().returncode == 0
    assert not [line for line in build.log.read_text().splitlines() if "gpu" in line]
    assert build.run(jobs="train/my_own_job/gpu").returncode == 0
    assert f"push --quiet {_image('train/my_own_job/gpu')}:v2" in build.asked("push")


def test_a_further_index_and_a_mirror_reach_every_build_and_none_is_passed_on_unasked(build: Build) -> None:
    done = build.run(extra_index="https://packages.example.com/simple?a=b c", hub="https://hub.example.com")
    assert done.returncode == 0
    told = "--build-arg PIP_EXTRA_INDEX_URL=https://packages.example.com/simple?a=b c"
    for line in build.asked("build"):
        assert f"{told} --build-arg HF_ENDPOINT=https://hub.example.com --tag" in line
    build.log.write_text("")
    assert build.run().returncode == 0
    assert not [line for line in build.asked("build") if "INDEX_URL" in line or "HF_ENDPOINT" in line]


def test_a_chosen_few_are_built_and_the_others_left_alone(build: Build) -> None:
    chosen = sorted(IMAGES)[:2]
    assert build.run(jobs="  ".join(chosen)).returncode == 0
    assert len(build.asked("build")) == len(chosen)
    assert {line.split()[-1] for line in build.asked("push")} == {
        f"{_image(folder)}:{tag}" for folder in chosen for tag in ("v2", "build-7")
    }


def test_a_folder_that_does_not_exist_is_named_with_those_that_do(build: Build) -> None:
    done = build.run(jobs="train/no_such_job")
    assert done.returncode == 1
    assert "jobs/train/no_such_job has no Dockerfile" in done.stderr
    assert all(folder in done.stderr for folder in IMAGES)
    assert build.log.read_text() == ""


def test_one_broken_image_means_that_none_is_pushed_and_the_broken_one_is_named(build: Build) -> None:
    broken = sorted(IMAGES)[1]
    done = build.run(broken=f"jobs/{broken}/Dockerfile")
    assert done.returncode == 1
    assert done.stderr.strip() == f"Nothing is pushed, because these did not build: {broken}"
    assert f"{broken}: no such base image" in done.stdout
    assert build.asked("push") == []


def test_the_orchestrator_launches_the_images_that_the_build_pushes(build: Build) -> None:
    assert build.run().returncode == 0
    accepted = SimpleNamespace(image_repository=REPOSITORY, image_tag="v2")
    run: Any = SimpleNamespace(accepted=accepted, configured=None)  # nothing is pinned to a digest yet
    launched = {f"push --quiet {named_image(run, folder)}" for folder in IMAGES}
    assert len(launched) == len(IMAGES)
    assert launched <= set(build.asked("push"))


@pytest.mark.parametrize("folder", sorted(GPU))
def test_an_image_with_weights_fetches_them_by_the_lock_before_anything_is_installed(folder: str) -> None:
    text = GPU[folder].read_text(encoding="utf-8")
    asked = GPU[folder].parent / "models.txt"
    assert asked.exists() == ("AS weights" in text)
    if asked.exists():
        assert f"COPY jobs/{folder}/models.txt /app/models.txt" in text
        assert text.index("weights.fetch --wanted /app/models.txt --into /models") < text.index("pip install")
        assert "\nARG HF_ENDPOINT\n" in text, "a company's mirror does not reach the build"
        assert "COPY --from=weights /models /models" in text and "MODELS_DIR=/models" in text
    assert "HF_HUB_OFFLINE=1" in text, "a miss must fail at once, not ask a hub"


def test_steps_wait_for_each_other_without_a_gap_and_use_only_declared_substitutions() -> None:
    config = _config()
    seen: list[str] = []
    for step in config["steps"]:
        assert set(step.get("waitFor", seen[-1:])) == set(seen[-1:]), "each step needs what the one before made"
        seen.append(step["id"])
    text = (ROOT / "cloudbuild.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(_\w+)\}", text)) == set(config["substitutions"])
    assert config["options"]["logging"] == "CLOUD_LOGGING_ONLY", "an account of our own has no default log bucket"


def test_what_the_images_copy_is_uploaded_and_what_is_local_is_not(tmp_path: Path) -> None:
    rules = (ROOT / ".gcloudignore").read_text(encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text(rules)

    def ignored(path: str) -> bool:
        return subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", path], check=False).returncode == 0

    for dockerfile in (*IMAGES.values(), *GPU.values()):
        for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile.read_text(encoding="utf-8"), re.MULTILINE):
            assert (ROOT / source).exists(), f"{dockerfile} copies {source}, which does not exist"
            assert not ignored(source), f"{dockerfile} copies {source}, which .gcloudignore keeps back"
    for path in (".env", ".git/config", ".venv/x", "terraform/terraform.tfstate", "samples/x", "jobs/etl/.env"):
        assert ignored(path)


@pytest.mark.parametrize("folder", sorted(IMAGES | GPU))
def test_an_image_is_pinned_slim_and_not_root(folder: str) -> None:
    lines = (IMAGES | GPU)[folder].read_text(encoding="utf-8").splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert all(re.fullmatch(r"FROM \S+:\d+\.\d+\.\d+-slim\S*( AS \w+)?", base) for base in bases), bases
    assert any(line.startswith("USER ") and line != "USER root" for line in lines)
    assert any(
        line.startswith("ENTRYPOINT ") and f"{folder.removesuffix('/gpu').replace('/', '.')}.main" in line
        for line in lines
    )


def test_what_is_taken_out_of_the_images_is_imported_by_no_job() -> None:
    unused = {pattern.replace("/", ".") for pattern in UNUSED if "*" not in pattern}
    for path in (ROOT / "jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in named:
                assert not [gone for gone in unused if f"{name}.".startswith(f"{gone}.")], f"{path} imports {name}"


def test_what_no_job_imports_is_taken_out_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("scipy/stats/tests/test_a.py", "scipy/stats/a.py", "google/cloud/aiplatform_v1/a.py", "vertexai/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1234")
    assert remove(tmp_path) == 8
    assert remove(tmp_path) == 0
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py")}
    assert left == {"scipy/stats/a.py", "google/cloud/aiplatform_v1/a.py"}
