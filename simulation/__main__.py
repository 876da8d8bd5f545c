"""The command: many schedules and their table, or one of them again with its trace.

python -m simulation --schedules 100000 --seed 1
python -m simulation --replay 10000042
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from simulation.campaign import play
from simulation.faults import Fault, Forced
from simulation.schedule import run_schedule


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if any rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one schedule and print its trace")
    parser.add_argument(
        "--place", help="with --replay: where a fault is forced, as the table of single faults names it"
    )
    parser.add_argument("--occurrence", type=int, default=1, help="with --place: at which time that it is come to")
    parser.add_argument("--fault", choices=[fault.name for fault in Fault], help="with --place: which fault")
    given = parser.parse_args(arguments)
    if given.replay is not None:
        forced = Forced(given.place, given.occurrence, Fault[given.fault]) if given.place else None
        return _replay(given.replay, forced)
    began = time.monotonic()
    table = play(given.seed, given.schedules, given.processes)
    for seed, broken in table.failures:
        sys.stdout.write(f"seed {seed}: {'; '.join(broken)}\n    python -m simulation --replay {seed}\n")
    sys.stdout.write("\n".join(table.lines()) + "\n")
    sys.stdout.write(f"{given.schedules} schedules in {time.monotonic() - began:.0f} s, seed {given.seed}\n")
    sys.stdout.write(table.verdict + "\n")
    return 1 if table.whole.broken else 0


def _replay(seed: int, forced: Forced | None) -> int:
    result = run_schedule(seed, forced, trace=True)
    sys.stdout.write("\n".join(result.trace) + "\n")
    sys.stdout.write(f"faults: {', '.join(sorted(fault.value for fault in result.faults)) or 'none'}\n")
    for text in result.findings.broken:
        sys.stdout.write(f"BROKEN: {text}\n")
    return 1 if result.findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
