"""Runs posted at once through the real HTTP functions, with jobs that end at once: is one lost, and how long it takes.

    PYTHONPATH=functions:. .venv/bin/python benchmarks/load.py [RUNS] [CLIENTS] [--json]

The real functions on the embedded cloud of this machine, so the figures are those of its processor: posts a second, p50
and p99 of the answer, time until the last run ended, each function's peak memory, and the processor time that each
process takes for a run. A post that is refused (503) is sent again. Storage is benchmarks/object_server.py, and the
tick of reconcile comes every 30 s instead of 3. Exits 1 if a run is lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.object_server import ObjectServer
from benchmarks.processor import processor_ms
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
RECONCILE_PERIOD_S = 30.0
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
    """What Labelbox shows of each run once none is under way, or when time is up. Progress goes to stderr."""
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        state = cloud.labelbox_control.state()["model_runs"]
        shown = Counter(str(state[run]["status"]) for run in model_runs)
        print(f"  {dict(shown)}", file=sys.stderr, flush=True)
        if shown["COMPLETE"] + shown["FAILED"] == len(model_runs) or time.monotonic() > give_up_at:
            return shown
        time.sleep(5)


def measure(runs: int = RUNS, clients: int = CLIENTS) -> dict[str, Any]:
    """The figures of one load: `lost`, `doubled` and `jobs_missing` must be 0."""
    model_runs = [model_run_id(number) for number in range(1, runs + 1)]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        settings = {"PIPELINES_DIR": str(write_pipelines(folder)), "MAX_ACTIVE_RUNS": MANY, "MAX_RUNS_PER_DAY": MANY}
        options = CloudOptions(
            export=write_export(folder, model_runs),
            jobs_dirs=(write_jobs(folder),),
            environments_dir=folder / "envs",
            settings=settings,
            reconcile_period_s=RECONCILE_PERIOD_S,
            storage=ObjectServer,
        )
        with EmbeddedCloud(StateFolder(folder / "state"), options) as cloud, processor_ms(cloud.processes()) as spent:
            began = time.monotonic()
            with ThreadPoolExecutor(clients) as pool:
                answers = list(pool.map(lambda run: post(cloud, run), model_runs))
            posted_s = time.monotonic() - began
            print(f"  {runs} posts taken in {posted_s:.0f} s", file=sys.stderr, flush=True)
            shown = wait_for_all(cloud, model_runs)
            ended_s = time.monotonic() - began
            attempts = Counter(job["labels"]["lb_attempt"] for job in cloud.vertex_jobs())
            memory = {name: round(peak_memory_mb(item.process)) for name, item in cloud.functions.items()}
    seconds = sorted(answer for answer, _ in answers)
    return {
        "runs": runs,
        "clients": clients,
        "posts_per_second": round(runs / posted_s, 1),
        "answer_p50_s": round(statistics.median(seconds), 3),
        "answer_p99_s": round(seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))], 3),
        "sent_again": sum(times - 1 for _, times in answers),
        "all_ended_s": round(ended_s, 1),
        "jobs": attempts.total(),
        "jobs_missing": runs * len(STAGES) - len(attempts),
        "lost": runs - shown["COMPLETE"],
        "doubled": sum(count - 1 for count in attempts.values()),
        "peak_memory_mb": memory,
        "processor_ms_a_run": {name: round(ms / runs, 1) for name, ms in spent.items()},
    }


def main() -> int:
    """Post, wait, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("clients", nargs="?", type=int, default=CLIENTS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of words")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process that was started is stopped
    found = measure(given.runs, given.clients)
    if given.json:
        print(json.dumps(found))
    else:
        print(f"{found['runs']} runs, {found['clients']} clients: {found['posts_per_second']} posts a second; ", end="")
        print(f"answer p50 {found['answer_p50_s']:.2f} s, p99 {found['answer_p99_s']:.2f} s; ", end="")
        print(f"sent again: {found['sent_again']}")
        print(f"all ended after {found['all_ended_s']:.0f} s; jobs {found['jobs']} of {given.runs * len(STAGES)}")
        print("peak memory: " + ", ".join(f"{name} {size} MB" for name, size in found["peak_memory_mb"].items()))
        by_process = found["processor_ms_a_run"].items()
        print("ms of processor a run: " + ", ".join(f"{name} {ms}" for name, ms in by_process if ms))
        print(f"lost: {found['lost']}  doubled: {found['doubled']}")
    return 1 if found["lost"] or found["doubled"] or found["jobs_missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
