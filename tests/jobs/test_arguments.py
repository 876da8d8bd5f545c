"""Every job answers --help and --version from its command line alone."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from jobkit import __version__
from jobkit.argument_meanings import MEANINGS

ROOT = Path(__file__).resolve().parents[2]
# The detector's jobs load torch, which takes seconds; they read their command line as the others do.
JOBS = sorted(
    ".".join(path.relative_to(ROOT / "jobs").with_suffix("").parts)
    for path in (ROOT / "jobs").glob("*/*/main.py")
    if path.parent.name not in ("bounding_boxes", "box_prediction")
)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(("word", "said"), [("--version", __version__), ("--help", "--ending-uri")])
def test_a_job_says_its_version_and_its_arguments(
    job: str, word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"{job}").main
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("job", JOBS)
def test_help_says_what_every_argument_of_a_job_means(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"{job}").main
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split("options:")[1].split())
    names = set(re.findall(r" --([a-z-]+) [A-Z]", printed))
    assert names
    for name in names:
        assert f"--{name} {name.upper()} {MEANINGS[name]}" in printed


def test_the_version_is_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
