"""docs/custom-pipelines.md: its commands make what it says, its diffs apply, and what comes of them works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli import cli
from orchestrator.pipelines import CustomJob, read_pipelines
from scaffold.__main__ import ROOT, main

PAGE = (ROOT / "docs" / "custom-pipelines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(console|diff|yaml)\n(.*?)```", PAGE, re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which a person did what the page says, from the top to the bottom."""
    root = tmp_path_factory.mktemp("walkthrough")
    for name in ("functions", "jobs", "local"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "__init__.py", "jobs/conftest.py"):
        (root / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, root / "tests" / name)
    (root / "samples").symlink_to(ROOT / "samples")
    shutil.copy(ROOT / "pyproject.toml", root)
    for kind, text in BLOCKS:
        if kind == "console":
            carry_out(root, text)
        elif kind == "diff":
            command = ["git", "apply", "--unidiff-zero", "--recount", "-p1", "-"]
            ended = subprocess.run(command, cwd=root, input=text, capture_output=True, text=True)
            assert ended.returncode == 0, ended.stderr + text
    return root


def carry_out(root: Path, block: str) -> None:
    """Run a `make` command of the page as make does, and compare the files that it made."""
    first, *shown = block.splitlines()
    target, *words = shlex.split(first.removeprefix("$ make "))
    given = dict(word.split("=", 1) for word in words)
    if target == "add-pipeline":
        arguments = [str(ROOT / given["FROM"])]
    else:
        arguments = [given["NAME"], *(["--stage", given["STAGE"]] if "STAGE" in given else [])]
    assert target in TARGETS
    assert main(["--root", str(root), target, *arguments]) == 0
    assert shown and all((root / line.removeprefix("made ")).is_file() for line in shown)


def test_what_comes_of_it_is_what_the_functions_take(followed: Path) -> None:
    pipeline = read_pipelines(followed / "functions" / "pipelines")["tickets"]
    assert (pipeline.parameters["smoothing"].default, pipeline.parameters["upload_min_confidence"].default) == (
        0.3,
        0.2,
    )
    jobs = {f"{stage.name}/{job.name}": job for stage, job in pipeline.jobs()}
    assert list(jobs) == ["etl/export", "train/fit", "inference/predict", "inference/long_texts"]
    export = jobs["etl/export"]
    assert isinstance(export, CustomJob) and export.args["several-labels"] == "first"


def test_its_tests_pass_with_the_new_metric(followed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs/custom"]
    ended = subprocess.run(command, cwd=followed, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout
    assert "unsure_share" in (followed / "tests" / "jobs" / "custom" / "test_tickets.py").read_text(encoding="utf-8")


def test_the_stage_that_it_shows_is_the_example_s() -> None:
    (shown,) = [text for kind, text in BLOCKS if kind == "yaml"]
    example = ROOT / "examples" / "texts_to_endpoint" / "pipelines" / "texts_to_endpoint.yaml"
    assert shown in example.read_text(encoding="utf-8")


def test_every_command_that_it_names_exists() -> None:
    assert set(re.findall(r"\bmake ([a-z-]+) ", PAGE)) <= TARGETS
    assert set(re.findall(r"python -m ops ([a-z]+)", PAGE)) <= set(cli.commands)
    outputs = (ROOT / "terraform" / "outputs.tf").read_text(encoding="utf-8")
    assert all(f'output "{name}"' in outputs for name in re.findall(r"output -raw (\w+)", PAGE))
