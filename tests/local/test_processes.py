"""A child process leaves nothing behind: no member of its group, no taken port, no file outside its folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.processes import Process, StartError, free_port, group_is_alive, port_is_free, stop_all

LISTEN = "import socket; s = socket.create_server(('127.0.0.1', PORT)); print('listening', flush=True)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
# The grandchild holds the port and hears no SIGTERM, as a gunicorn worker with a hung request.
ORPHANING = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {inner!r}]); "
    "print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Makes processes that run a Python snippet, and ends them after the test."""
    made: list[Process] = []

    def make(snippet: str, port: int | None = None, env: dict[str, str] | None = None) -> Process:
        name = f"child-{len(made)}"
        log = tmp_path / f"{name}.log"
        made.append(Process(name, [sys.executable, "-c", snippet], env or {}, log, tmp_path, port=port))
        return made[-1]

    yield make
    stop_all(made, timeout_s=0.1)


def said(process: Process, text: str) -> Callable[[], bool]:
    return lambda: text in process.log.read_text()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_whole_group_is_gone_and_the_port_free_again(child: Callable[..., Process], end: str) -> None:
    port = free_port()
    inner = f"{DEAF}; {LISTEN.replace('PORT', str(port))}; {SLEEP}"
    process = child(ORPHANING.format(inner=inner), port)
    process.start()
    process.wait_ready(said(process, "listening"), 20)
    group = process.pid
    assert group is not None
    assert not port_is_free(port)
    process.stop(timeout_s=0.3) if end == "stop" else process.kill()
    assert not group_is_alive(group)
    assert port_is_free(port)
    assert not process.alive


def test_a_group_whose_leader_died_is_stopped_all_the_same(child: Callable[..., Process]) -> None:
    port = free_port()
    process = child(ORPHANING.format(inner=f"{LISTEN.replace('PORT', str(port))}; {SLEEP}"), port)
    process.start()
    process.wait_ready(said(process, "listening"), 20)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)  # the leader only
    process.stop()
    assert port_is_free(port)


def test_sigterm_comes_first_and_is_enough_for_a_child_that_listens(child: Callable[..., Process]) -> None:
    snippet = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0))); "
        "print('up', flush=True); time.sleep(600)"
    )
    process = child(snippet)
    process.start()
    process.wait_ready(said(process, "up"), 20)
    began = time.monotonic()
    process.stop(timeout_s=30)
    assert time.monotonic() - began < 10
    assert "bye" in process.log.read_text()


def test_a_child_has_a_session_and_folders_of_its_own(
    child: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("FROM_PARENT", "yes")
    names = ["XDG_RUNTIME_DIR", "PYTHONDONTWRITEBYTECODE", "FROM_PARENT", "OWN"]
    snippet = f"import json, os; print(json.dumps([os.getsid(0) == os.getpid(), *map(os.environ.get, {names})]))"
    process = child(snippet, env={"OWN": "value"})
    process.start()
    assert process.wait() == 0
    own_session, runtime_dir, no_byte_code, from_parent, own = json.loads(process.log.read_text())
    assert own_session
    assert Path(runtime_dir).is_relative_to(tmp_path.resolve())
    assert Path(runtime_dir).is_dir()
    assert (no_byte_code, from_parent, own) == (None, "yes", "value")


@pytest.mark.parametrize(
    ("snippet", "deadline_s", "said_so"),
    [
        ("import sys; print('the reason'); sys.exit(3)", 20, ["ended with code 3", "the reason"]),
        (f"print('still loading', flush=True); {SLEEP}", 0.5, ["was not ready after 0.5 s"]),
    ],
)
def test_a_start_that_fails_tells_why_with_the_logs_tail(
    child: Callable[..., Process], snippet: str, deadline_s: float, said_so: list[str]
) -> None:
    process = child(snippet)
    process.start()
    with pytest.raises(StartError) as refusal:
        process.wait_ready(lambda: False, deadline_s)
    for text in said_so:
        assert text in str(refusal.value)


def test_a_command_that_does_not_exist_is_a_start_that_failed(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be started"):
        Process("none", [tmp_path / "missing"], {}, tmp_path / "log", tmp_path).start()


def test_a_check_that_meets_a_closed_port_means_not_yet(child: Callable[..., Process]) -> None:
    port = free_port()
    process = child(f"{LISTEN.replace('PORT', str(port))}; {SLEEP}", port)
    process.start()

    def answers() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True

    process.wait_ready(answers, 20)


def test_stopping_is_safe_to_repeat_and_a_stopped_child_starts_again(child: Callable[..., Process]) -> None:
    port = free_port()
    process = child(f"{LISTEN.replace('PORT', str(port))}; {SLEEP}", port)
    process.stop()  # before it was ever started
    for _ in range(2):
        process.start()
        process.wait_ready(lambda: not port_is_free(port), 20)
        with pytest.raises(StartError, match="runs already"):
            process.start()
        process.stop()
        process.stop()
        assert port_is_free(port)


def test_ports_are_free_and_never_handed_out_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    assert all(port_is_free(port) for port in ports)
    with socket.create_server(("127.0.0.1", ports[0])):
        assert not port_is_free(ports[0])
