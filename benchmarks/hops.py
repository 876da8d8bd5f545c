"""From a job's end to the next job's create call: one run after the other through the real functions, all warm.

    .venv/bin/python -m benchmarks hops

The times are the Vertex stand-in's: when a job ended, and when the next was created. Between them lie the message of
the end, two pushes and two functions; the stand-ins' own latency is in the figure.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.figures import Line, percentile
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.labelbox_side import TrainingRequest
from local.state import StateFolder
from tests.end_to_end.quick_jobs import MODEL, QUICK, STAGES, model_run_id, write_export, write_jobs, write_pipelines

WARM, RUNS = 3, 12
GOAL_MS = 150.0
DEADLINE_S = 60.0
PAUSE_S = 0.1


def hops(cloud: EmbeddedCloud, model_run: str) -> list[float]:
    """Runs one model run to its end; milliseconds between its jobs."""
    TrainingRequest(MODEL, model_run, QUICK).send(cloud.origin, SERVICE_SECRET)
    give_up_at = time.monotonic() + DEADLINE_S
    while cloud.labelbox_control.model_run(model_run).status != "COMPLETE":
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{model_run} did not end")
        time.sleep(PAUSE_S)
    jobs = [job for job in cloud.vertex_jobs() if job["labels"]["lb_model_run"] == model_run]
    moments = [[datetime.fromisoformat(job[name]) for name in ("create_time", "end_time")] for job in jobs]
    times = sorted(moments)
    assert len(times) == len(STAGES)
    return [(after[0] - before[1]).total_seconds() * 1000 for before, after in pairwise(times)]


def measure() -> list[Line]:
    """The median and the worst of the hops."""
    runs = [model_run_id(number) for number in range(1, WARM + RUNS + 1)]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        options = CloudOptions(
            export=write_export(folder, runs),
            jobs_dirs=(write_jobs(folder),),
            environments_dir=folder / "envs",
            settings={"PIPELINES_DIR": str(write_pipelines(folder))},
        )
        with EmbeddedCloud(StateFolder(folder / "state"), options) as cloud:
            found = [hop for run in runs for hop in hops(cloud, run)][WARM * (len(STAGES) - 1) :]
    title = "a job's end to the next create"
    note = "stand-ins' latency included"
    return [
        Line(f"{title}: p50", percentile(found, 0.5), "ms", at_most=GOAL_MS, note=note),
        Line(f"{title}: worst of {len(found)}", max(found), "ms"),
    ]
