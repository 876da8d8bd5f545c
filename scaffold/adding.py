"""A pipeline of another folder (`pipelines/*.yaml`, `jobs/STAGE/NAME/`), copied to where this checkout deploys from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import BadDefinition
from orchestrator.pipelines import read_pipelines
from scaffold.files import Plan, Refused


def added_pipeline(root: Path, folder: Path) -> Plan:
    """The files to copy. Those that are there with the same text already are left out, so this is safe to repeat."""
    try:
        names = sorted(read_pipelines(folder / "pipelines"))
        taken = sorted(set(names) & set(_others(root, names)))
    except BadDefinition as error:
        raise Refused(str(error)) from error
    if not names:
        raise Refused(f"{folder} holds no pipelines/NAME.yaml; examples/ has folders that do.")
    if taken:
        raise Refused(f"There is a pipeline {', '.join(taken)} already, as shipped; rename the new one.")
    files = {path: text for path, text in _copies(root, folder) if not _is_same(path, text)}
    runs = [f"  make run PIPELINE={name}" for name in names]
    return Plan(files, [f"Deployed with the next build and apply: {', '.join(names)}.", *runs])


def _others(root: Path, names: list[str]) -> Iterator[str]:
    """Of these names, those that shipped files have."""
    return (name for name in names if (root / "functions" / "pipelines" / f"{name}.yaml").exists())


def _copies(root: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted((folder / "pipelines").glob("*.yaml")):
        yield root / "functions" / "pipelines" / "custom" / path.name, path.read_text(encoding="utf-8")
    for path in sorted((folder / "jobs").glob("*/*/**/*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield root / "jobs" / path.relative_to(folder / "jobs"), path.read_text(encoding="utf-8")


def _is_same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
