"""Processor time of processes that run beside this one, by what the kernel counts for their groups."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local.processes import Process

THIS = "this process"
_MS_A_TICK = 1000 / os.sysconf("SC_CLK_TCK")


@contextmanager
def processor_ms(processes: Iterable[Process]) -> Iterator[dict[str, float]]:
    """Filled when the block ends: milliseconds that each process's group used, its ended children included (a job's
    are the Vertex stand-in's), and this process's own."""
    groups = {process.name: process.pid for process in processes if process.pid is not None}
    before, began = _by_group(), time.process_time()
    spent: dict[str, float] = {}
    yield spent
    after = _by_group()
    for name, group in groups.items():
        spent[name] = (after.get(group, 0) - before.get(group, 0)) * _MS_A_TICK
    spent[THIS] = (time.process_time() - began) * 1000


def _by_group() -> dict[int, int]:
    """Ticks by process group."""
    found: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        group = int(fields[2])
        found[group] = found.get(group, 0) + sum(int(field) for field in fields[11:15])
    return found
