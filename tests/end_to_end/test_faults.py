"""Concurrent runs while everything around them breaks: each ends COMPLETE, with one job per attempt, and is told.

FAULT_RUNS=20 FAULT_ROUNDS=3 FAULT_SEED=7 in the environment makes it larger, rougher, or another; `make chaos` does.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import deployment
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.deployment import FUNCTIONS
from local.labelbox_side import ModelRunState, RequestRefused, TrainingRequest
from local.processes import LOOPBACK
from local.run_view import RunReader, RunView
from local.state import StateFolder
from orchestrator.identities import RunId
from orchestrator.pipelines import read_pipelines
from tests.end_to_end.quick_jobs import (
    MODEL,
    QUICK,
    STAGES,
    model_run_id,
    write_export,
    write_jobs,
    write_pipelines,
)

RUNS = int(os.environ.get("FAULT_RUNS", "6"))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))  # how often each function is killed
SEED = int(os.environ.get("FAULT_SEED", "1"))
OUTAGE_S = float(os.environ.get("FAULT_OUTAGE_S", "3"))  # how long something is away: the fault itself
END_DEADLINE_S = 60.0 + 10.0 * RUNS + 60.0 * ROUNDS
IN_ORDER = ("EXPORTING_DATA", "TRAINING_MODEL", "COMPLETE")


class BreakingCloud:
    """A cloud of quick runs, and the ways to break it."""

    def __init__(self, folder: Path) -> None:
        self.model_runs = [model_run_id(number) for number in range(1, RUNS + 1)]
        pipelines = write_pipelines(folder)
        options = CloudOptions(
            export=write_export(folder, self.model_runs),
            jobs_dirs=(write_jobs(folder),),
            environments_dir=folder / "envs",
            settings={
                "PIPELINES_DIR": str(pipelines),
                "MAX_ACTIVE_RUNS": "1000",
                # A killed handler's claim is taken over after this; it stays the longest time of the chain.
                "CLAIM_HOLD_S": "11",
                "QUOTA_BACKOFF_S": "2",
            },
        )
        self.cloud = EmbeddedCloud(StateFolder(folder / "state"), options)
        self.pipeline = read_pipelines(pipelines)[QUICK]
        self._readers: dict[str, RunReader] = {}

    def post(self, model_run: str) -> str:
        """Press the button, and again while nothing answers: the coordinator may be dead just now."""
        request = TrainingRequest(MODEL, model_run, QUICK)
        give_up_at = time.monotonic() + 30
        while True:
            try:
                return str(request.send(self.cloud.origin, SERVICE_SECRET)["runId"])
            except (OSError, RequestRefused):  # a 503 is such a refusal: the bucket is away
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.1)

    def look(self, run_id: str) -> RunView:
        if run_id not in self._readers:
            run = RunId.parse(run_id)
            assert run is not None
            self._readers[run_id] = RunReader(self.cloud.storage.host, deployment.BUCKET, run, self.pipeline)
        return self._readers[run_id].look()

    def told(self, model_run: str) -> ModelRunState:
        return self.cloud.labelbox_control.model_run(model_run)

    def change_vertex(self, **settings: object) -> None:
        """Vertex refuses the next creates (`create_refusals`: 429) or everything (`unavailable`: 503)."""
        url = f"http://{LOOPBACK}:{self.cloud.vertex_control_port}/settings"
        body = json.dumps(settings).encode()
        urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=10).close()

    def restart_pubsub(self) -> None:
        self.cloud.pubsub.process.kill()
        self.cloud.pubsub.start()
        self.cloud.pubsub.wait_ready()

    def stop_storage(self) -> None:
        self.cloud.storage.stop()
        time.sleep(OUTAGE_S)
        self.cloud.storage.launch()
        self.cloud.storage.wait_ready()

    def stop_vertex(self) -> None:
        self.change_vertex(unavailable=True)
        time.sleep(OUTAGE_S)
        self.change_vertex(unavailable=False, create_refusals=3)

    def kill_functions(self, chance: random.Random) -> None:
        """Each function is killed and starts again, at random moments and in a random order, as often as asked."""
        for _ in range(ROUNDS):
            for function in chance.sample(FUNCTIONS, len(FUNCTIONS)):
                time.sleep(chance.uniform(0.0, 0.5))
                self.cloud.restart(function)

    def take_services_away(self, chance: random.Random) -> None:
        """Pub/Sub is killed and starts again; the bucket and Vertex are away for a while. Meanwhile functions die."""
        outages: list[Callable[[], None]] = [self.restart_pubsub, self.stop_storage, self.stop_vertex]
        for outage in chance.sample(outages, len(outages)):
            time.sleep(chance.uniform(0.0, 1.0) * ROUNDS)
            outage()

    def last_jobs(self) -> list[str]:
        """Jobs of the last stage."""
        attempts = (str(job["labels"]["lb_attempt"]) for job in self.cloud.vertex_jobs())
        return [attempt for attempt in attempts if attempt.startswith(f"{STAGES[-1]}-")]

    def silence_labelbox_at_the_end(self, run_ids: Iterable[str], eventually: Callable[..., object]) -> None:
        """Labelbox goes down before the first run completes, and comes back a while after one has."""
        eventually(self.last_jobs, "a run comes to its last job", END_DEADLINE_S)
        self.cloud.labelbox_control.change({"down": True})
        eventually(lambda: [run for run in run_ids if self.look(run).outcome], "a run ends", END_DEADLINE_S)
        time.sleep(OUTAGE_S)
        self.cloud.labelbox_control.change({"down": False})


def test_runs_end_complete_and_once_while_everything_around_them_breaks(
    tmp_path: Path, eventually: Callable[..., object]
) -> None:
    breaking = BreakingCloud(tmp_path)
    chance = random.Random(SEED)
    with breaking.cloud, ThreadPoolExecutor(RUNS + 2) as pool:
        breaking.change_vertex(create_refusals=3)
        breakages = [
            pool.submit(breaking.kill_functions, random.Random(chance.random())),
            pool.submit(breaking.take_services_away, random.Random(chance.random())),
        ]
        run_ids = dict(zip(breaking.model_runs, pool.map(breaking.post, breaking.model_runs), strict=True))
        silence = pool.submit(breaking.silence_labelbox_at_the_end, run_ids.values(), eventually)
        for breakage in (*breakages, silence):
            breakage.result()
        eventually(
            lambda: all(breaking.told(run).status == "COMPLETE" for run in run_ids),
            f"all runs told COMPLETE (FAULT_SEED={SEED})",
            END_DEADLINE_S,
        )
        assert_each_run_once(breaking, run_ids)


def assert_each_run_once(breaking: BreakingCloud, run_ids: dict[str, str]) -> None:
    """One run of each model run, one attempt of each job, one Vertex job of each attempt; told in order."""
    assert run_ids == {run: f"{run}.1" for run in run_ids}
    jobs = breaking.cloud.vertex_jobs()
    by_attempt = Counter(job["labels"]["lb_attempt"] for job in jobs)
    assert set(by_attempt.values()) == {1}, by_attempt
    assert {job["state"] for job in jobs} == {"JOB_STATE_SUCCEEDED"}
    assert Counter(job["labels"]["lb_model_run"] for job in jobs) == dict.fromkeys(run_ids, len(STAGES))
    for run, run_id in run_ids.items():
        view = breaking.look(run_id)
        assert (view.outcome, view.sentence) == ("COMPLETE", "")
        assert [(job.stage, job.state, job.attempts) for job in view.jobs] == [(s, "SUCCEEDED", 1) for s in STAGES]
        told = [status for status, _ in itertools.groupby(breaking.told(run).statuses)]
        assert told == [status for status in IN_ORDER if status in told] and told[-1] == "COMPLETE", told
        assert breaking.told(run).error_message == ""
