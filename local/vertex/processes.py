"""A job's process group: started under the runner, found again after a restart, and ended with all its children."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.vertex import runner

POLL_S = 0.02


@dataclass(frozen=True)
class Command:
    """What a job runs: the argument list and its whole environment (nothing is inherited)."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Exit:
    """How a process ended; `code` is None when it did not end by itself (a stop of the stand-in, a kill, a reboot)."""

    code: int | None


class JobProcess:
    """The process of one job, on record in its folder. One object a job; used by that job's thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def started(self) -> bool:
        """Say whether a runner was started here, now or before a restart."""
        return self._child is not None or self._record() is not None

    @property
    def work_folder(self) -> Path:
        """Return the job's working directory, removed when the job has ended."""
        return self.folder / "files"

    def start(self, command: Command, log: Path) -> None:
        """Start the command in a session of its own, with both outputs appended to `log`.

        Safe to repeat because the runner that comes second to a folder runs nothing.
        """
        self.work_folder.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-I", "-S", runner.__file__, str(self.folder), *command.arguments]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(command.environment),
                cwd=self.work_folder,
                start_new_session=True,
            )

    def exit(self) -> Exit | None:
        """Return how the process ended, None while it runs; whatever it left running is killed at its end."""
        code = self._exit_code()
        if code is None:
            if self._alive():
                return None
            code = self._exit_code()  # a runner writes it before it goes
        if (self.folder / "interrupted").exists():
            code = None
        self._signal(signal.SIGKILL)  # before the runner is reaped: a reaped pid may be somebody else's
        self._reap()
        return Exit(code)

    def interrupt(self, grace_s: float) -> None:
        """End the group because the stand-in stops, and leave a note that its exit code means nothing."""
        if self.started and self.exit() is None:
            (self.folder / "interrupted").touch()
            self.end(grace_s)

    def end(self, grace_s: float) -> None:
        """End the whole group: SIGTERM, and SIGKILL for what is left after `grace_s` seconds."""
        deadline = time.monotonic() + grace_s
        while self._child is not None and self._record() is None and self._child.poll() is None:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)  # before it is on record the runner is not yet deaf to SIGTERM, and would leave no trace
        self._signal(signal.SIGTERM)
        while self._alive() and self._exit_code() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._signal(signal.SIGKILL)
        self._reap()

    def remove_files(self) -> None:
        """Remove the job's working directory; its log and the record of its end stay."""
        shutil.rmtree(self.work_folder, ignore_errors=True)

    def _record(self) -> tuple[int, str] | None:
        try:
            record = json.loads((self.folder / "process.json").read_text())
        except OSError:
            return None
        return record["pid"], record["started"]

    def _exit_code(self) -> int | None:
        try:
            return int(json.loads((self.folder / "exit.json").read_text())["code"])
        except OSError:
            return None

    def _alive(self) -> bool:
        """Say whether the runner lives: as our child, or as the process on record when another stand-in started it."""
        record = self._record()
        if record is None:
            return self._child is not None and self._child.poll() is None
        pid, started = record
        if self._child is not None and self._child.pid == pid:
            return self._child.poll() is None
        return _running(pid, started)

    def _signal(self, number: int) -> None:
        """Signal the group on record, if its leader is surely still ours (a reaped pid may be somebody else's)."""
        record = self._record()
        pid = record[0] if record else (self._child.pid if self._child else 0)
        ours = self._child is not None and self._child.pid == pid and self._child.returncode is None
        if ours or (record and _running(*record)):
            try:
                os.killpg(pid, number)
            except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
                return

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait()


def _running(pid: int, started: str) -> bool:
    """Say whether the process that began at that moment still runs; a zombie that nobody reaps does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if started:  # there is a /proc here, and it does not know the process
            return False
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    return fields[0] not in "ZX" and fields[19] == started
