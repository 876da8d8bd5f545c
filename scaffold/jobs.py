"""A new job: a folder below jobs/ with its image and its test, and the lines that put it into a pipeline."""

from __future__ import annotations

import re
from pathlib import Path

from scaffold.files import Plan, Refused, checked_name, filled

_STAGE = re.compile(r"[a-z][a-z0-9_]{0,19}")  # as a pipeline file takes a stage's name


def new_job(root: Path, name: str, stage: str) -> Plan:
    """The files of the job; Refused for a bad name or stage (the folder: etl, train, inference or one of your own)."""
    checked_name(name, "job")
    checked_name(stage, "stage")
    if not _STAGE.fullmatch(stage):
        raise Refused(f"{stage!r} cannot name a stage: at most 20 characters.")
    imports = sorted(
        (
            f"from {stage}.{name}.main import main",
            "from jobkit.manifest import ManifestRow",
            "from jobkit.storage import Storage",
        )
    )
    folder = root / "jobs" / stage / name
    files = {
        folder / "main.py": filled("job_main.py.txt", name=name, stage=stage),
        folder / "requirements.txt": filled("requirements.txt"),
        folder / "Dockerfile": filled("Dockerfile.txt", name=name, stage=stage, more=""),
        root / "tests" / "jobs" / "custom" / f"test_{stage}_{name}.py": filled(
            "job_test.py.txt", name=name, stage=stage, imports="\n".join(imports)
        ),
    }
    lines = filled("job_lines.yaml.txt", name=name, stage=stage, job=name[:20].rstrip("_")).splitlines()
    return Plan(
        files,
        [
            f"What it does is `measure` in jobs/{stage}/{name}/main.py. Its test:",
            f"  make test ARGS=tests/jobs/custom/test_{stage}_{name}.py",
            "Put it into a pipeline file, among the jobs of a stage that comes after the ETL:",
            *lines,
        ],
    )
