"""A new pipeline: a whole one of texts with jobs of its own, or a copy of another's file under a new model type."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.pipelines import read_pipelines
from scaffold.files import Plan, Refused, checked_name, filled

_MODEL_TYPE = re.compile(r"^model_type: .*$", re.MULTILINE)


def new_pipeline(root: Path, name: str, like: str = "") -> Plan:
    """The files of the pipeline; Refused for a bad or taken name, and for a pipeline to copy that is not there."""
    checked_name(name, "pipeline")
    known = read_pipelines(root / "functions" / "pipelines")
    if name in known:
        raise Refused(f"There is a pipeline {name} already; choose another name.")
    if like:
        if like not in known:
            raise Refused(f"There is no pipeline {like!r} to copy; there are {', '.join(sorted(known))}.")
        return _copied(root, name, like)
    return _whole(root, name)


def _definition(root: Path, name: str) -> Path:
    return root / "functions" / "pipelines" / "custom" / f"{name}.yaml"


def _test(root: Path, name: str) -> Path:
    return root / "tests" / "jobs" / "custom" / f"test_{name}.py"


def _copied(root: Path, name: str, like: str) -> Plan:
    folder = root / "functions" / "pipelines"
    source = next(path for path in (folder / f"{like}.yaml", folder / "custom" / f"{like}.yaml") if path.exists())
    text = _MODEL_TYPE.sub(f"model_type: {name}", source.read_text(encoding="utf-8"), count=1)
    files = {_definition(root, name): text, _test(root, name): filled("copied_pipeline_test.py.txt", name=name)}
    return Plan(files, _next_steps(name, f"It is {like} under another name: change its parameters, jobs or stages."))


def _whole(root: Path, name: str) -> Plan:
    train, inference = root / "jobs" / "train" / name, root / "jobs" / "inference" / name
    files = {
        _definition(root, name): filled("pipeline.yaml.txt", name=name),
        train / "main.py": filled("train_main.py.txt", name=name),
        train / "model.py": filled("model.py.txt", name=name),
        train / "requirements.txt": filled("requirements.txt"),
        train / "Dockerfile": filled("Dockerfile.txt", name=name, stage="train", more=""),
        inference / "main.py": filled("inference_main.py.txt", name=name),
        inference / "requirements.txt": filled("requirements.txt"),
        inference / "Dockerfile": filled(
            "Dockerfile.txt", name=name, stage="inference", more=f"COPY jobs/train/{name} /app/train/{name}\n"
        ),
        _test(root, name): filled("pipeline_test.py.txt", name=name),
    }
    return Plan(files, _next_steps(name, f"Its model is jobs/train/{name}/model.py: put your own there."))


def _next_steps(name: str, hint: str) -> list[str]:
    return [
        hint,
        f"  make run PIPELINE={name}                       # now, on this machine",
        f"  make test ARGS=tests/jobs/custom/test_{name}.py",
        "  gcloud builds submit ... && terraform apply     # in the cloud: docs/custom-pipelines.md",
    ]
