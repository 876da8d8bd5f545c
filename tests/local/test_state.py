"""State folders: what a dead owner left running is ended, a living neighbour is never touched, old folders go."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.functions import ROOT
from local.processes import group_is_alive, signal_group
from local.state import KEPT_RUNS, StateFolder, sweep

# Owns a folder, starts a child in a session of its own, says so, and waits.
OWNER = """
import sys, time
from pathlib import Path
from local.processes import Process
from local.state import StateFolder
state = StateFolder(Path(sys.argv[1]))
child = Process("child", [sys.executable, "-c", "import time; time.sleep(600)"], {}, state.path / "log", state.path)
child.start()
state.record([child])
print(child.pid, flush=True)
time.sleep(600)
"""


class Owner:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", OWNER, folder], stdout=subprocess.PIPE, cwd=ROOT)
        assert self.process.stdout is not None
        self.child_group = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[list[Owner]]:
    made = [Owner(tmp_path / f"2026010{number}T000000Z-{number}") for number in (1, 2)]
    yield made
    for owner in made:
        owner.kill()
        assert owner.process.stdout is not None
        owner.process.stdout.close()
        signal_group(owner.child_group, signal.SIGKILL)


def test_the_orphans_of_a_killed_owner_are_ended_and_a_neighbours_children_live_on(
    tmp_path: Path, owners: list[Owner]
) -> None:
    killed, neighbour = owners
    killed.kill()
    assert group_is_alive(killed.child_group)
    sweep(tmp_path)
    assert not group_is_alive(killed.child_group)
    assert group_is_alive(neighbour.child_group)
    sweep(tmp_path)  # safe to repeat


def test_a_recorded_process_id_that_another_process_has_now_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        folder = StateFolder(tmp_path / "20260101T000000Z-1")
        (folder.path / "process-groups.json").write_text(json.dumps({"child": [bystander.pid, "1"]}))
        folder.close()
        (folder.path / "process-groups.json").write_text(json.dumps({"child": [bystander.pid, "1"]}))
        sweep(tmp_path)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_newest_folders_stay_for_a_look_and_older_ones_go(tmp_path: Path) -> None:
    names = [f"20260101T00000{number}Z-1" for number in range(KEPT_RUNS + 3)]
    for name in names:
        StateFolder(tmp_path / "runs" / name).close()
    held = StateFolder(tmp_path / "runs" / "20250101T000000Z-1")  # older than all, but its owner lives
    new = StateFolder.new(tmp_path)
    left = {folder.name for folder in (tmp_path / "runs").iterdir()}
    assert left == {*names[3:], held.path.name, new.path.name}
    held.close()
    new.close()
