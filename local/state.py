"""Where one embedded cloud keeps its files: a folder under `.local/runs/`, swept when its owner is gone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from local.processes import Process, group_is_alive, signal_group

KEPT_RUNS = 5  # folders of ended runs that stay for a look; older ones go with the next start
_OWNER = "owner.lock"
_GROUPS = "process-groups.json"
_ORPHAN_GRACE_S = 5.0


class StateFolder:
    """The folder of one run, owned by this process until `close`.

    The lock on it falls when its owner ends, however that ends; so the next start can tell an orphan from a neighbour.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "logs").mkdir(exist_ok=True)
        self._owner: IO[str] | None = (self.path / _OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)  # at most a neighbour's sweep looks at it for a moment

    @classmethod
    def new(cls, local_dir: Path) -> StateFolder:
        """A fresh folder under `local_dir`/runs; ends what dead owners left running, and forgets the oldest runs."""
        runs = local_dir / "runs"
        sweep(runs)
        return cls(runs / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}")

    def record(self, processes: Iterable[Process]) -> None:
        """Write down which process groups run for this folder. Safe to repeat: the newest list counts."""
        groups = {process.name: [process.pid, start_mark(process.pid)] for process in processes if process.pid}
        unfinished = self.path / f"{_GROUPS}.tmp"
        unfinished.write_text(json.dumps(groups))
        unfinished.replace(self.path / _GROUPS)

    def close(self) -> None:
        """Nothing runs for this folder any more. Safe to repeat."""
        (self.path / _GROUPS).unlink(missing_ok=True)
        if self._owner:
            self._owner.close()
            self._owner = None


def start_mark(pid: int) -> str:
    """When a process started, in the kernel's ticks, to tell a reused id; empty where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def sweep(runs: Path) -> None:
    """End what runs for folders whose owner is gone, and remove all but the newest of them.

    Safe to repeat and to call side by side: a folder whose owner lives is locked, and never touched.
    """
    ended = [folder for folder in sorted(runs.glob("*-*")) if folder.is_dir() and _is_orphan(folder)]
    for folder in ended:
        _end_groups(folder)
    for folder in ended[: -KEPT_RUNS or None]:
        shutil.rmtree(folder, ignore_errors=True)


def _is_orphan(folder: Path) -> bool:
    try:
        with (folder / _OWNER).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        # Its owner may be between making the folder and the lock.
        return time.time() - folder.stat().st_mtime > 60
    except OSError:
        return False
    return True


def _end_groups(folder: Path) -> None:
    try:
        recorded: dict[str, list[object]] = json.loads((folder / _GROUPS).read_text())
    except (OSError, ValueError):
        return
    groups = [
        int(str(group))
        for group, mark in recorded.values()
        if start_mark(int(str(group))) == mark and group_is_alive(int(str(group)))
    ]
    # SIGTERM first: the Vertex stand-in ends its jobs with itself.
    for group in groups:
        signal_group(group, signal.SIGTERM)
    give_up_at = time.monotonic() + _ORPHAN_GRACE_S
    while any(group_is_alive(group) for group in groups) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    for group in groups:
        signal_group(group, signal.SIGKILL)
    (folder / _GROUPS).unlink(missing_ok=True)
