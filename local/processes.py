"""Child processes that leave nothing behind: each leads a session, is stopped as a group, and frees its port."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOG_TAIL_LINES = 30
POLL_S = 0.02
_FIRST_PORT, _LAST_PORT = 20_000, 32_000  # below the ports that systems take for outgoing connections
_handed_out: set[int] = set()


class StartError(Exception):
    """A child ended or stayed silent before it was ready; the text ends with the last lines of its log."""


def free_port() -> int:
    """A port that nobody listens on, never handed out twice by this process.

    It is drawn from below the ephemeral range: a port that the kernel chose could become the near end of somebody's
    outgoing connection before the child binds it.
    """
    for _ in range(2_000):
        port = random.randint(_FIRST_PORT, _LAST_PORT)
        if port not in _handed_out and port_is_free(port):
            _handed_out.add(port)
            return port
    raise StartError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def port_is_free(port: int) -> bool:
    """Whether a server could bind the port on the loopback address now (a connection in TIME_WAIT does not hinder)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def log_tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log file, or a note that there is none."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 64 * 1024))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:]) or "(empty log)"


def group_is_alive(group: int) -> bool:
    """Whether any process of the group still runs; a zombie that only waits for its parent does not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS answers this for a group of zombies only
        return False
    if not Path("/proc/self/stat").exists():
        return True
    return any(state != "Z" for state in _states_of_group(group))


def _states_of_group(group: int) -> Iterable[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[2]) == group:
            yield fields[0]


def signal_group(group: int, signal_number: int) -> None:
    """Send a signal to a whole group. Safe to repeat because a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal_number)


class Process:
    """One child process with its log.

    `env` is laid over this process's environment. The child leads a session of its own, so a Ctrl-C in the terminal
    reaches only the parent, which then stops each group in order. XDG_RUNTIME_DIR points into `run_dir`, because
    gunicorn writes a control socket there (and else under the user's home).
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str],
        log: Path,
        run_dir: Path,
        *,
        port: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self.port = port
        self._overlay = dict(env)
        self._run_dir = run_dir
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The leader's process id, which is its group's id, too; None before the first start."""
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child; its output is appended to the log. StartError when it cannot even be executed."""
        if self.alive:
            raise StartError(f"{self.name} runs already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            try:
                self._child = subprocess.Popen(
                    self.argv,
                    env=self._environment(),
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{self.name} cannot be started: {error}") from error

    def _environment(self) -> dict[str, str]:
        runtime = self._run_dir / "xdg" / self.name
        runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {**os.environ, **self._overlay, "XDG_RUNTIME_DIR": str(runtime.resolve())}
        # Uncached byte code would cost each child's start several seconds.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment

    def wait(self) -> int:
        """Wait for the child's end and return its exit code (-n after signal n)."""
        assert self._child, f"{self.name} was not started"
        while self._child.poll() is None:
            time.sleep(POLL_S)
        return int(self._child.returncode)

    def wait_ready(self, check: Callable[[], bool], deadline_s: float) -> None:
        """Return once `check` says yes; StartError when the child dies first or time is up.

        An error of the network, or an answer or file that cannot be read yet, means: not yet.
        """
        give_up_at = time.monotonic() + deadline_s
        while time.monotonic() < give_up_at:
            if not self.alive:
                code = self._child.returncode if self._child else None
                raise StartError(f"{self.name} ended with code {code} before it was ready{self._shown_log()}")
            with contextlib.suppress(OSError, HTTPException, ValueError):
                if check():
                    return
            time.sleep(POLL_S)
        raise StartError(f"{self.name} was not ready after {deadline_s:g} s{self._shown_log()}")

    def _shown_log(self) -> str:
        return f"; {self.log} ends with:\n{log_tail(self.log)}"

    def stop(self, timeout_s: float = 5) -> None:
        """SIGTERM to the group, SIGKILL after `timeout_s`; returns when the whole group is gone and the port is free.

        Safe to repeat because a child that is gone is left alone.
        """
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL to the whole group at once, as a machine that loses power would; waits as `stop` does."""
        self._end(signal.SIGKILL, 0)

    def _end(self, first_signal: int, timeout_s: float) -> None:
        child = self._child
        if child is None:
            return
        signal_group(child.pid, first_signal)
        if not self._wait_gone(child, timeout_s):
            signal_group(child.pid, signal.SIGKILL)
            if not self._wait_gone(child, 10):
                raise RuntimeError(f"{self.name} (process group {child.pid}) survived SIGKILL")
        self._child = None  # its id may be another process's from now on
        self._wait_port_free()

    @staticmethod
    def _wait_gone(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
        give_up_at = time.monotonic() + timeout_s
        while child.poll() is None or group_is_alive(child.pid):
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(POLL_S)
        return True

    def _wait_port_free(self) -> None:
        give_up_at = time.monotonic() + 10
        while self.port is not None and not port_is_free(self.port):
            if time.monotonic() >= give_up_at:
                raise RuntimeError(f"port {self.port} of {self.name} is still taken")
            time.sleep(POLL_S)


def stop_all(processes: Iterable[Process], timeout_s: float = 5) -> None:
    """Stop all at the same time; each one is tried even where another fails, then the first failure is raised."""
    with ThreadPoolExecutor(max_workers=16, thread_name_prefix="stop") as pool:
        endings = [pool.submit(process.stop, timeout_s) for process in processes]
    for ending in endings:
        ending.result()
