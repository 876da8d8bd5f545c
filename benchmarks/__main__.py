"""Runs the measurements and prints one table.

    make bench                                  every subject, table and benchmarks/results.json
    .venv/bin/python -m benchmarks texts boxes  some of them, nothing written
    .venv/bin/python -m benchmarks --list

Each subject runs in a process of its own, so that the memory of one is not that of another. What takes part in a
comparison is measured in the same run. Exits 1 when a subject could not be measured; a goal that is missed is a line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import number
from benchmarks.subjects import SUBJECTS, measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_name("results.json")
MARK = "FIGURES "
DEADLINE_S = 600.0


def in_its_process(subject: str) -> tuple[list[dict[str, Any]], str]:
    """(the subject's lines, why there are none)."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT / 'jobs'}:{ROOT}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks", "--in-process", subject]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            return [], f"not done within {DEADLINE_S:.0f} s"
        finally:
            process.terminate()  # it stops its own servers; nothing happens to one that has ended
    found = [line.removeprefix(MARK) for line in said.splitlines() if line.startswith(MARK)]
    if process.returncode or not found:
        return [], f"its process ended with {process.returncode}"
    lines: list[dict[str, Any]] = json.loads(found[-1])
    return lines, ""


def row(line: dict[str, Any]) -> str:
    """One line of the table."""
    goal = "-"
    if line["at_least"] is not None:
        goal = f">= {number(line['at_least'])}"
    elif line["at_most"] is not None:
        goal = f"<= {number(line['at_most'])}"
    met = {True: "yes", False: "NO", None: "-"}[line["met"]]
    theirs = f"{number(line['theirs'])} ({line['against']})" if line["theirs"] is not None else line["note"] or "-"
    ratio = f"{line['ratio']:.2f}" if line["ratio"] is not None else "-"
    return f"| {line['what']} | {number(line['ours'])} {line['unit']} | {theirs} | {ratio} | {goal} | {met} |"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("subjects", nargs="*", help="all when none is named")
    parser.add_argument("--list", action="store_true", help="the subjects, with a line each")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULTS.name}")
    parser.add_argument("--in-process", metavar="SUBJECT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process that was started is stopped
    if given.list:
        print("\n".join(f"{name:12} {what}" for name, (_, what) in SUBJECTS.items()))
        return 0
    if given.in_process:
        print(MARK + json.dumps([line.to_json() for line in measure(given.in_process)]), flush=True)
        return 0
    unknown = set(given.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    began, load = time.monotonic(), os.getloadavg()[0]
    found: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    for subject in given.subjects or SUBJECTS:
        print(f"measuring {subject} ...", file=sys.stderr, flush=True)
        found[subject], problem = in_its_process(subject)
        if problem:
            failed[subject] = problem
    print("\n| what | ours | limit or peer, same run | ratio | goal | met |\n|---|---|---|---|---|---|")
    print("\n".join(row(line) for lines in found.values() for line in lines))
    for subject, problem in failed.items():
        print(f"| {subject} | not measured: {problem} | - | - | - | NO |")
    took_s = time.monotonic() - began
    print(f"\n{took_s:.0f} s; load of the machine before: {load:.1f} on {os.cpu_count()} processors")
    if given.write:
        about = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_s": round(took_s),
            "load_before": round(load, 1),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "not_measured": failed,
        }
        RESULTS.write_text(json.dumps({**about, "subjects": found}, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
