"""The engine loses no run and doubles no job: thousands of schedules, and every fault alone at every place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.__main__ import main
from simulation.campaign import play
from simulation.deployment import SETTINGS
from simulation.faults import CHANCES, Fault, Forced
from simulation.pubsub import LONGEST_BACKOFF_S, MOST_DELIVERIES, SHORTEST_BACKOFF_S
from simulation.schedule import places, run_schedule
from simulation.single_faults import BASES, single_faults
from simulation.table import EVERY, NO_FAULT

ROOT = Path(__file__).resolve().parents[2]


def test_5000_schedules_end_every_run_once() -> None:
    table = play(seed=20, schedules=5000, processes=2)
    assert not table.failures, "\n".join(
        f"python -m simulation --replay {seed}: {text}" for seed, text in table.failures
    )
    assert table.verdict == "duplicate jobs: 0  stuck runs: 0  broken invariants: 0"
    assert table.whole.schedules == 5000
    # The schedules are rough enough to mean something: every fault happened, doubles were made and put away.
    assert table.rows.keys() == {fault.value for fault in Fault} | {NO_FAULT, EVERY}
    assert table.whole.doubles > 0 and table.whole.repairs > 0


@pytest.mark.parametrize("base", BASES)
def test_every_single_fault_at_every_place_is_survived(base: int) -> None:
    broken = []
    played = 0
    for forced in single_faults(base):
        result = run_schedule(base, forced)
        played += forced.fault in result.faults or forced.fault is Fault.OWN_412
        for text in result.findings.broken:
            place = f'--place "{forced.place}" --occurrence {forced.occurrence} --fault {forced.fault.name}'
            broken.append(f"python -m simulation --replay {base} {place}: {text}")
    assert not broken, "\n".join(broken[:20])
    assert played > 800


def test_the_table_of_single_faults_holds_every_crash_point_of_the_engine() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "functions" / "orchestrator").glob("*.py"))
    named = set(re.findall(r'reached\("([a-z-]+)"\)', source))
    assert len(named) > 10
    come_to = {place for base in BASES for place in places(base)}
    cancelled = {"cancel-requested"}  # nobody cancels in a schedule without faults; CANCEL brings it
    assert {f"at {point}" for point in named - cancelled} <= come_to
    faults = {forced.fault for base in BASES for forced in single_faults(base)}
    assert faults == set(Fault) and faults > CHANCES.keys()


def test_dead_letters_come_in_terraforms_numbers() -> None:
    locals_ = (ROOT / "terraform" / "locals.tf").read_text(encoding="utf-8")
    (block,) = re.findall(r"\n  delivery = \{\n(.*?)\n  \}", locals_, flags=re.DOTALL)
    assert {name: float(value) for name, value in re.findall(r"(\w+)\s*= (\d+)", block)} == {
        "minimum_backoff_s": SHORTEST_BACKOFF_S,
        "maximum_backoff_s": LONGEST_BACKOFF_S,
        "attempts": MOST_DELIVERIES,
    }
    (block,) = re.findall(r"(function_timeout_s .*?)\n  \}", locals_, flags=re.DOTALL)
    chain = {name: float(value) for name, value in re.findall(r"(\w+)\s*= (\d+)", block)}
    assert chain == {name: getattr(SETTINGS, name) for name in chain} and chain.keys() >= {"claim_hold_s"}


@pytest.mark.parametrize("seed", [20_000_003, 20_000_017, 20_000_101])
def test_a_seed_gives_the_same_schedule_in_every_process(seed: int) -> None:
    traces = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT}"}
        command = [sys.executable, "-m", "simulation", "--replay", str(seed)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        traces.add(done.stdout)
    assert len(traces) == 1 and len(traces.pop()) > 2000


def test_the_split_over_processes_changes_no_figure() -> None:
    one, two = play(seed=21, schedules=700, processes=1), play(seed=21, schedules=700, processes=2)
    assert one.rows == two.rows


def test_the_command_prints_a_row_per_fault_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "300", "--seed", "22", "--processes", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["fault", "schedules", "launches"]
    assert {fault.value for fault in Fault} <= {line.partition("  ")[0] for line in lines}
    assert lines[-1] == "duplicate jobs: 0  stuck runs: 0  broken invariants: 0"


def test_a_failing_seed_is_printed_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.reconcile.told_last", lambda *_: True)
    monkeypatch.setattr("orchestrator.reconcile._sweep", lambda *_: None)
    monkeypatch.setattr("orchestrator.launching.settle", lambda *_: None)
    monkeypatch.setattr("orchestrator.observing.settle", lambda *_: None)
    assert main(["--schedules", "400", "--seed", "23", "--processes", "1"]) == 1
    out = capsys.readouterr().out
    found = re.search(r"^seed (\d+): .*\n +python -m simulation --replay (\d+)$", out, re.MULTILINE)
    assert found and found[1] == found[2]
    assert main(["--replay", found[2]]) == 1
    trace = capsys.readouterr().out
    assert "POST" in trace and "***" in trace and "BROKEN: " in trace


def test_a_forced_fault_can_be_replayed_by_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    forced = Forced("at created", 1, Fault.CRASH)
    assert run_schedule(BASES[0], forced).faults == {Fault.CRASH}
    assert main(["--replay", str(BASES[0]), "--place", forced.place, "--fault", "CRASH"]) == 0
    assert "*** handler dies (at created)" in capsys.readouterr().out
