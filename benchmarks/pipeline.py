"""The whole text pipeline as `make run` does it, in a warm environment, and where its time goes.

.venv/bin/python -m benchmarks pipeline
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Line

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = "text_single_classification"
GOAL_S = 20.0
DEADLINE_S = 280.0
_MOMENT = re.compile(r"^\s*\+?\s*([\d.]+) ?s\s+(.+)$")


def run() -> tuple[float, list[str]]:
    """(seconds in all, what the command said)."""
    command = [sys.executable, "-m", "local", "run", "--pipeline", PIPELINE]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"make run ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return time.monotonic() - began, done.stdout.splitlines()


def measure() -> list[Line]:
    """In all, and the moments that the command prints, counted from the request."""
    run()  # installs the jobs' packages where they are not there yet
    took_s, said = run()
    moments = {" ".join(found[2].split()): float(found[1]) for line in said if (found := _MOMENT.match(line))}
    lines = [Line("make run, text pipeline, warm", took_s, "s", at_most=GOAL_S, detail={"said": said})]
    before = 0.0
    for what, at in moments.items():
        lines.append(Line(f"to: {what[:60]}", at - before, "s", note=f"{at:.1f} s after the request"))
        before = at
    return lines
