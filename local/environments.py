"""Python environments for local jobs: one per set of requirements, as each image would have its own.

`python -m local.environments REQUIREMENTS [REQUIREMENTS ...]` prepares several at once and prints their interpreters.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

DEFAULT_ROOT = Path(".local/envs")
LOG_TAIL_LINES = 15


class EnvironmentFailed(RuntimeError):
    """An environment could not be made; the text names the requirements, pip's log and its last lines."""


def ensure(requirements: Path, root: Path = DEFAULT_ROOT) -> Path:
    """Return the interpreter of an environment that holds what `requirements` names, making it when there is none yet.

    The environment lies in `root/<hash>`, where the hash is of the requirements' whole text (files that it includes by
    `-r` or `-c` too) and of this Python. Safe to repeat and to call side by side, also from several processes, because
    a file lock admits one maker, and a half-made environment never gets the final name. Only `bin/python` is promised
    to work: console scripts keep the path of the folder they were made in. Raises EnvironmentFailed.
    """
    lines = resolved_lines(requirements)
    key = environment_key(lines)
    root = root.absolute()
    python = root / key / "bin" / "python"
    if python.exists():
        return python
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{key}.lock"):
        if not python.exists():
            _make(requirements, lines, root / key)
    return python


def resolved_lines(requirements: Path) -> tuple[str, ...]:
    """Return the requirement lines of a file with its `-r` and `-c` files put in place, without comments.

    Lines that differ only in comments or blank space give the same environment. Raises EnvironmentFailed for a file
    that is not there or includes itself.
    """
    return tuple(_lines(requirements, ()))


def environment_key(lines: Sequence[str]) -> str:
    """Return the folder name for these lines under this Python and this kind of machine."""
    parts = (platform.python_implementation(), platform.python_version(), sys.platform, platform.machine(), *lines)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _lines(path: Path, above: tuple[Path, ...]) -> Iterator[str]:
    path = path.absolute().resolve()
    if path in above:
        raise EnvironmentFailed(f"{path} includes itself")
    try:
        text = path.read_text()
    except OSError as error:
        raise EnvironmentFailed(f"cannot read the requirements {path}: {error.strerror}") from error
    for line in text.replace("\\\n", " ").split("\n"):
        words = "" if line.lstrip().startswith("#") else line.split(" #")[0].strip()
        option, _, included = words.replace("=", " ", 1).partition(" ")
        if option in ("-r", "--requirement"):
            yield from _lines(path.parent / included.strip(), (*above, path))
        elif option in ("-c", "--constraint"):
            for constraint in _lines(path.parent / included.strip(), (*above, path)):
                yield f"{option} {constraint}"
        elif words:
            yield words


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; it falls with the process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(requirements: Path, lines: Sequence[str], target: Path) -> None:
    """Make the environment beside `target` and rename it when whole. The caller holds the lock."""
    unfinished = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(unfinished)
    if lines:
        _install(requirements, unfinished, target.with_name(f"{target.name}.log"))
    unfinished.rename(target)


def _install(requirements: Path, folder: Path, log: Path) -> None:
    """Install into `folder` with this interpreter's pip, which saves installing pip itself each time."""
    command = [
        sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check",
        "install", "--no-input", "--progress-bar=off", "--requirement", str(requirements),
    ]  # fmt: skip
    with log.open("wb") as output:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_pip_environment()
        )
    if ended.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise EnvironmentFailed(f"pip could not install {requirements} (whole log: {log}):\n{tail}")


def _pip_environment() -> dict[str, str]:
    """Return this process's environment less what would leak into the new one.

    Uncached byte code would cost each job seconds at its start, so the switch that forbids it goes as well.
    """
    leaking = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in leaking}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the environments of the command line, at most three at a time; return 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m local.environments", description=ensure.__doc__)
    parser.add_argument("requirements", nargs="+", type=Path)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    options = parser.parse_args(arguments)
    failed = False
    with ThreadPoolExecutor(max_workers=3) as pool:
        waiting = [(path, pool.submit(ensure, path, options.root)) for path in options.requirements]
        for path, future in waiting:
            try:
                print(f"{path}: {future.result()}", flush=True)
            except EnvironmentFailed as error:
                failed = True
                print(f"{path}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
