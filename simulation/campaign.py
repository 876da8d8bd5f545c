"""Many schedules over several processes. The split changes nothing: each schedule depends on its own seed alone."""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from simulation.schedule import run_schedule
from simulation.table import Table

# Seeds of one campaign, so that two campaigns with different seeds share no schedule.
_CAMPAIGN = 10_000_000
_CHUNK = 500
_COLLECT_EVERY = 20


def play(seed: int, schedules: int, processes: int) -> Table:
    """The table of a campaign."""
    first = seed * _CAMPAIGN
    chunks = [(start, min(_CHUNK, first + schedules - start)) for start in range(first, first + schedules, _CHUNK)]
    table = Table()
    if processes <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            table.merge(_play_chunk(chunk))
        return table
    # Fresh interpreters: the parent may hold threads (gRPC's, in tests), which a fork does not survive.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for part in pool.map(_play_chunk, chunks):
            table.merge(part)
    return table


def _play_chunk(chunk: tuple[int, int]) -> Table:
    table = Table()
    start, count = chunk
    enabled = gc.isenabled()
    # Each schedule's world is one web of cycles: collecting now and then is cheaper than looking all the time, and
    # cheaper again where the modules, which stay, are not looked at.
    gc.disable()
    gc.freeze()
    try:
        for number, seed in enumerate(range(start, start + count), start=1):
            table.count(run_schedule(seed))
            if number % _COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
    return table
