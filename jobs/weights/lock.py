"""The lock of baked weights: for each model its repository, revision and files with their SHA-256.

The lock ships empty, because nobody here could see a hub: a hash that was not computed from a file is worth nothing.
`make lock-weights` fills it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERSION = 1
LOCK = Path(__file__).with_name("lock.json")
HOW = "run `make lock-weights` where the hub can be reached, and commit jobs/weights/lock.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*")


class LockError(Exception):
    """The lock, or what is asked of it, is wrong. Its text names every problem and what to do next."""


@dataclass(frozen=True)
class Wanted:
    """A line of a models.txt: the folder's name below /models, the repository on the hub, and a revision to lock."""

    name: str
    repository: str
    revision: str = "main"


@dataclass(frozen=True)
class LockedFile:
    """One file of a model."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class LockedModel:
    """A model at one commit. `licence` is what the hub said when it was locked; check it before you ship the model."""

    repository: str
    revision: str
    licence: str
    files: Mapping[str, LockedFile]


def read_wanted(file: Path) -> list[Wanted]:
    """The models that a models.txt asks for, one a line: NAME REPOSITORY [REVISION]; `#` begins a comment."""
    found, problems = list[Wanted](), list[str]()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or not _NAME.fullmatch(words[0]) or not _REPOSITORY.fullmatch(words[1]):
            problems.append(f"{file}:{number}: not NAME REPOSITORY [REVISION]: {line.strip()}")
        else:
            found.append(Wanted(*words))
    if problems:
        raise LockError("\n".join(problems))
    return found


def read_lock(file: Path = LOCK) -> dict[str, LockedModel]:
    """Every locked model by its name; LockError for a file that this code cannot trust."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise LockError(f"{file} has version {content['version']}, and this code reads {VERSION}")
        models = {name: _model(entry) for name, entry in content["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockError(f"{file} is no lock of weights ({error!r}); {HOW}") from error
    problems = [problem for name, model in models.items() for problem in _problems(name, model)]
    if problems:
        raise LockError(f"{file}:\n" + "\n".join(problems))
    return models


def _model(entry: Mapping[str, Any]) -> LockedModel:
    files = {name: LockedFile(str(item["sha256"]), int(item["size_bytes"])) for name, item in entry["files"].items()}
    return LockedModel(str(entry["repository"]), str(entry["revision"]), str(entry["licence"]), files)


def _problems(name: str, model: LockedModel) -> Iterable[str]:
    if not _NAME.fullmatch(name) or not _REPOSITORY.fullmatch(model.repository):
        yield f"{name}: neither a name nor a repository may look like this: {model.repository}"
    if not _REVISION.fullmatch(model.revision):
        yield f"{name}: {model.revision!r} is no commit; a branch or tag can move"
    if not model.files:
        yield f"{name}: has no files"
    for file, locked in model.files.items():
        if not _FILE.fullmatch(file) or ".." in file:
            yield f"{name}: {file!r} is no name of a file below the model's folder"
        if not _SHA256.fullmatch(locked.sha256) or locked.size_bytes < 0:
            yield f"{name}: {file} has no SHA-256 or no size"


def chosen(wanted: Iterable[Wanted], locked: Mapping[str, LockedModel]) -> dict[str, LockedModel]:
    """The locked models that are asked for; LockError that names every one that is not locked, or locked as another."""
    found, problems = dict[str, LockedModel](), list[str]()
    for item in wanted:
        model = locked.get(item.name)
        if model is None:
            problems.append(f"{item.name} ({item.repository}) is not in jobs/weights/lock.json")
        elif model.repository != item.repository:
            problems.append(f"{item.name} is locked as {model.repository}, and {item.repository} is asked for")
        else:
            found[item.name] = model
    if problems:
        raise LockError("\n".join([*problems, f"Nothing is fetched that is not locked: {HOW}."]))
    return found


def write_lock(models: Mapping[str, LockedModel], file: Path = LOCK) -> None:
    """Write the lock, sorted, so that a change shows as a small difference."""
    content = {"version": VERSION, "models": {name: asdict(models[name]) for name in sorted(models)}}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
