"""One measured line of the table, and how time and memory are taken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """What was measured beside what it is held to.

    at_least, at_most   the goal
    against, theirs     a limit or a peer, measured in the same run: its name and its figure
    detail              what explains the figure, for results.json
    """

    what: str
    ours: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    against: str = ""
    theirs: float | None = None
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """None for a line without a goal."""
        if self.at_least is None and self.at_most is None:
            return None
        enough = self.at_least is None or self.ours >= self.at_least
        return enough and (self.at_most is None or self.ours <= self.at_most)

    @property
    def ratio(self) -> float | None:
        """Ours to theirs."""
        return self.ours / self.theirs if self.theirs else None

    def to_json(self) -> dict[str, Any]:
        """With what follows from the figures."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


@dataclass
class Took:
    """Seconds between start and end: on the clock, and of processor of this process and of those that it started."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    children_s: float = 0.0


@contextmanager
def timed() -> Iterator[Took]:
    """Fills the times in when the block ends."""
    took = Took()
    children = children_s()
    wall, cpu = time.perf_counter(), time.process_time()
    yield took
    took.wall_s, took.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    took.children_s = children_s() - children


def children_s() -> float:
    """Seconds of processor that the running processes which this one started have used so far."""
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text(encoding="ascii").split():
            numbers = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(numbers[11]) + int(numbers[12])  # in user mode and in the kernel
    return ticks / os.sysconf("SC_CLK_TCK")


def best(tries: int, work: Callable[[], object]) -> Took:
    """The quickest of some tries by processor time: the others were disturbed."""
    found = []
    for _ in range(tries):
        with timed() as took:
            work()
        found.append(took)
    return min(found, key=lambda one: one.cpu_s)


def peak_mb() -> float:
    """The largest memory of this process so far (VmHWM; ru_maxrss would start at its parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
