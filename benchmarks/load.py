"""Runs posted at once through the real HTTP functions, with jobs that end at once: is one lost, and how long it takes.

    PYTHONPATH=functions:. .venv/bin/python benchmarks/load.py [RUNS] [CLIENTS]

The embedded cloud on this machine, so the figures are those of its processor: posts a second, p50 and p99 of the
answer, time until the last run ended, and each function's peak memory. Exits 1 if a run is lost or doubled.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.labelbox_side import RequestRefused, TrainingRequest
from local.processes import Process
from local.state import StateFolder
from tests.end_to_end.quick_jobs import (
    MODEL,
    QUICK,
    STAGES,
    model_run_id,
    write_export,
    write_jobs,
    write_pipelines,
)

RUNS, CLIENTS = 500, 50
DEADLINE_S = 1800.0
MANY = "1000000"


def post(cloud: EmbeddedCloud, model_run: str) -> tuple[float, int]:
    """Seconds until the request was taken, and how often it had to be sent."""
    request = TrainingRequest(MODEL, model_run, QUICK)
    began = time.monotonic()
    for times in range(1, 100):
        try:
            request.send(cloud.origin, SERVICE_SECRET)
        except (RequestRefused, OSError):
            time.sleep(0.5)
            continue
        return time.monotonic() - began, times
    raise RuntimeError(f"{model_run} was never taken")


def peak_memory_mb(process: Process) -> float:
    """The largest peak of the processes of a function's group (its server and its worker)."""
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            group = int((status.parent / "stat").read_text().rpartition(")")[2].split()[2])
            if group == process.pid:
                lines = status.read_text().splitlines()
                peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        except OSError:
            continue  # it ended
    return max(peaks) / 1024


def wait_for_all(cloud: EmbeddedCloud, model_runs: list[str]) -> Counter[str]:
    """What Labelbox shows of each run once none is under way, or when time is up."""
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        state = cloud.labelbox_control.state()["model_runs"]
        shown = Counter(str(state[run]["status"]) for run in model_runs)
        print(f"  {dict(shown)}", flush=True)
        if shown["COMPLETE"] + shown["FAILED"] == len(model_runs) or time.monotonic() > give_up_at:
            return shown
        time.sleep(5)


def main() -> int:
    """Post, wait, count, print."""
    numbers = [int(word) for word in sys.argv[1:3]]
    runs, clients = (*numbers, *(RUNS, CLIENTS)[len(numbers) :])
    model_runs = [model_run_id(number) for number in range(1, runs + 1)]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        settings = {"PIPELINES_DIR": str(write_pipelines(folder)), "MAX_ACTIVE_RUNS": MANY, "MAX_RUNS_PER_DAY": MANY}
        options = CloudOptions(
            export=write_export(folder, model_runs),
            jobs_dir=write_jobs(folder),
            environments_dir=folder / "envs",
            settings=settings,
        )
        with EmbeddedCloud(StateFolder(folder / "state"), options) as cloud:
            began = time.monotonic()
            with ThreadPoolExecutor(clients) as pool:
                answers = list(pool.map(lambda run: post(cloud, run), model_runs))
            posted_s = time.monotonic() - began
            shown = wait_for_all(cloud, model_runs)
            ended_s = time.monotonic() - began
            attempts = Counter(job["labels"]["lb_attempt"] for job in cloud.vertex_jobs())
            memory = {name: peak_memory_mb(function.process) for name, function in cloud.functions.items()}
    seconds = sorted(answer for answer, _ in answers)
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    doubled = sum(count - 1 for count in attempts.values())
    lost = runs - shown["COMPLETE"]
    print(f"{runs} runs, {clients} clients: {runs / posted_s:.1f} posts a second; ", end="")
    print(f"answer p50 {statistics.median(seconds):.2f} s, p99 {p99:.2f} s; ", end="")
    print(f"sent again: {sum(times - 1 for _, times in answers)}")
    print(f"all ended after {ended_s:.0f} s; jobs {attempts.total()} of {runs * len(STAGES)}")
    print("peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in memory.items()))
    print(f"lost: {lost}  doubled: {doubled}")
    return 1 if lost or doubled or len(attempts) != runs * len(STAGES) else 0


if __name__ == "__main__":
    sys.exit(main())
