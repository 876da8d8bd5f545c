"""What is scaffolded is clean and works; a bad or taken name is refused in a sentence, and nothing is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.offer import Offer
from orchestrator.pipelines import read_pipelines
from scaffold.__main__ import ROOT, main


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which something was scaffolded: two pipelines and two jobs."""
    root = tmp_path_factory.mktemp("checkout")
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "jobs", "local"):
        shutil.copytree(ROOT / name, root / name, ignore=without_caches)
    for name in ("conftest.py", "__init__.py", "jobs/conftest.py"):
        (root / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, root / "tests" / name)
    (root / "samples").symlink_to(ROOT / "samples")
    shutil.copy(ROOT / "pyproject.toml", root)
    words = (
        ("new-pipeline", "my_texts"),
        ("new-pipeline", "my_entities", "--like", "ner"),
        ("new-job", "my_check"),
        ("new-job", "a_" + "long_" * 7 + "name"[:3], "--stage", "train"),
    )
    for given in words:
        assert main(["--root", str(root), *given]) == 0
    return root


def test_the_pipelines_are_offered(checkout: Path) -> None:
    known = read_pipelines(checkout / "functions" / "pipelines")
    assert [job.image for _, job in known["my_texts"].jobs()] == [  # type: ignore[union-attr]
        *("etl/text_classification", "train/my_texts", "inference/my_texts")
    ]
    shipped = known["ner"].model_dump() | {"model_type": "my_entities"}
    assert known["my_entities"].model_dump() == shipped


def test_its_tests_pass(checkout: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs/custom"]
    ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout
    assert "5 passed" in ended.stdout


def test_its_files_are_clean(checkout: Path) -> None:
    made = [
        *checkout.glob("jobs/*/my_*"),
        *checkout.glob("jobs/*/a_long_*"),
        checkout / "tests" / "jobs" / "custom",
    ]
    assert len(made) == 5
    for rule in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *rule, "--no-cache", *made]
        ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout


def test_the_lines_for_a_new_job_fit_into_a_pipeline(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(checkout), "new-job", "fits", "--stage", "inference"]) == 0
    lines = capsys.readouterr().out.partition("comes after the ETL:\n")[2]
    folder = checkout / "functions" / "pipelines" / "custom"
    text = (folder / "my_texts.yaml").read_text(encoding="utf-8").rstrip() + "\n" + lines
    (folder / "my_texts.yaml").write_text(text, encoding="utf-8")
    jobs = [f"{stage.name}/{job.name}" for stage, job in read_pipelines(folder)["my_texts"].jobs()]
    assert jobs == ["etl/export", "train/fit", "inference/predict", "inference/fits"]


REFUSED = {
    "a capital letter": (("new-pipeline", "My"), "'My' cannot name a pipeline: it must be lowercase letters"),
    "a hyphen": (("new-job", "my-job"), "'my-job' cannot name a job"),
    "a path": (("new-job", "../out"), "'../out' cannot name a job"),
    "a word of Python's": (("new-job", "class"), "'class' cannot name a job: the word already means something"),
    "too long": (("new-pipeline", "x" * 41), "at most 40 characters"),
    "a shipped pipeline's name": (("new-pipeline", "ner"), "There is a pipeline ner already"),
    "an own pipeline's name": (("new-pipeline", "my_texts"), "There is a pipeline my_texts already"),
    "nothing to be like": (("new-pipeline", "other", "--like", "no_such"), "There is no pipeline 'no_such' to copy"),
    "a shipped job's name": (("new-job", "text_classification", "--stage", "etl"), "exists already"),
    "a bad stage": (("new-job", "other", "--stage", "jobkit"), "'jobkit' cannot name a stage"),
    "a folder without pipelines": (("add-pipeline", "tests"), "holds no pipelines/NAME.yaml"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(
    checkout: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, sentence = REFUSED[case]
    monkeypatch.chdir(checkout)
    before = sorted(checkout.rglob("*"))
    assert main(["--root", str(checkout), *given]) == 1
    said = capsys.readouterr()
    assert said.out == "" and sentence in said.err and said.err.count("\n") == 1
    assert sorted(checkout.rglob("*")) == before


def test_a_folder_is_added_by_adding_files_only(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in checkout.rglob("*.*") if path.is_file()}
    example = ROOT / "examples" / "numpy_texts"
    assert main(["--root", str(checkout), "add-pipeline", str(example)]) == 0
    assert "make run PIPELINE=numpy_texts" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    folder = checkout / "jobs" / "train" / "numpy_texts"
    assert {path.name for path in folder.iterdir()} == {"main.py", "requirements.txt", "Dockerfile"}
    assert "numpy_texts" in read_pipelines(checkout / "functions" / "pipelines")
    assert main(["--root", str(checkout), "add-pipeline", str(example)]) == 0  # again: nothing to do
    (folder / "main.py").write_text("changed", encoding="utf-8")
    assert main(["--root", str(checkout), "add-pipeline", str(example)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_pipeline_without_a_sample_runs_on_one_that_reads_the_same_data(checkout: Path) -> None:
    offer = Offer(checkout / "functions")
    assert offer.sample("my_texts").parent.name == "text_single_classification"
    assert offer.sample("my_entities").parent.name == "ner"
