"""What the coordinator costs: its import in a fresh process, and its answers to posts over HTTP.

    .venv/bin/python -m benchmarks coordinator

The posts go to the real function on the embedded cloud, at a fixed rate whatever the answers take; each run is durable
before its answer. The functions of the stages are stopped meanwhile, and their messages wait at the topic: the
coordinator is measured, not the training. Storage is benchmarks/object_server.py.
"""

from __future__ import annotations

import http
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Line, percentile
from benchmarks.object_server import ObjectServer
from benchmarks.processor import processor_ms
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.deployment import PROJECT, Topics, topic_id
from local.state import StateFolder
from orchestrator.signature import sign
from tests.end_to_end.quick_jobs import model_run_id, request_body, write_export, write_jobs, write_pipelines

ROOT = Path(__file__).resolve().parent.parent
RUNS = 5
CPU_LIMIT_S, MEMORY_LIMIT_MB = 0.8, 90.0
POSTS_PER_S, CLIENTS, TRIES = 100, 32, 20
P50_MS, P99_MS, SLOW_P95_MS = 15.0, 60.0, 200.0
CHILD = """
import json, sys, time
import main
hwm = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = [name for name in ("google.cloud.aiplatform", "google.cloud.aiplatform_v1", "labelbox") if name in sys.modules]
print(json.dumps({"cpu_s": time.process_time(), "memory_mb": int(hwm.split()[1]) / 1024, "heavy": heavy}))
"""
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "REGION": "us-central1",
    "DEPLOYMENT_NAME": "d",
    "BUCKET": "b",
    "JOB_SERVICE_ACCOUNT": "s",
    "IMAGE_REPOSITORY": "i",
    "LABELBOX_API_KEY": "k",
    "SERVICE_SECRET": "s",
}


def imported() -> list[Line]:
    """Seconds of processor and memory of a fresh process that imports the coordinator: medians after a warm-up run."""
    environment = {**os.environ, **ENVIRONMENT}
    readings = []
    for _ in range(RUNS + 1):
        command = [sys.executable, "-c", CHILD]
        done = subprocess.run(
            command, cwd=ROOT / "functions", env=environment, capture_output=True, text=True, check=True
        )
        readings.append(json.loads(done.stdout.splitlines()[-1]))
    cpu_s = statistics.median(item["cpu_s"] for item in readings[1:])
    memory_mb = statistics.median(item["memory_mb"] for item in readings[1:])
    heavy = readings[0]["heavy"]
    return [
        Line("import of the coordinator", cpu_s, "s CPU", at_most=CPU_LIMIT_S),
        Line("its memory", memory_mb, "MB", at_most=MEMORY_LIMIT_MB),
        Line("of aiplatform and labelbox it imports", len(heavy), "", at_most=0, note=", ".join(heavy)),
    ]


class Poster:
    """Sends signed requests, each thread over a connection of its own, and notes how long each answer took."""

    def __init__(self, origin: str) -> None:
        self._host = origin.removeprefix("http://")
        self._local = threading.local()
        self.sent_again = 0  # after a 503: the machine was too busy to make a run durable in time

    def post(self, number: int, due: float) -> float:
        """Seconds from when the request was due to its answer."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._host)
        time.sleep(max(0.0, due - time.monotonic()))
        body = request_body(model_run_id(number))
        headers = {"x-hub-signature": sign(body, SERVICE_SECRET), "Content-Type": "application/json"}
        for _ in range(TRIES):
            self._local.connection.request("POST", "/model_run", body, headers)
            answer = self._local.connection.getresponse()
            said = answer.read()
            if answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                break
            self.sent_again += 1
        assert answer.status in (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED), (answer.status, said)
        return time.monotonic() - due

    def at_rate(self, numbers: range, per_s: float) -> list[float]:
        """Latencies of posts that are due at a fixed rate."""
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(lambda n: self.post(n, began + (n - numbers[0]) / per_s), numbers))

    def by_clients(self, numbers: range) -> list[float]:
        """Latencies of posts by clients that send the next when the last is answered."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(lambda n: self.post(n, time.monotonic()), numbers))


def only_coordinator(cloud: EmbeddedCloud) -> None:
    """Stop the other functions and let the first stage's messages wait for somebody who pulls them."""
    for name in cloud.functions:
        if name != "coordinator":
            cloud.kill(name)
    topics = Topics(cloud.pubsub.host)
    subscription = f"projects/{PROJECT}/subscriptions/{topic_id('etl')}-push"
    topics.subscriber.modify_push_config(request={"subscription": subscription, "push_config": {}}, timeout=10)
    topics.close()


def answered() -> list[Line]:
    """Latencies at 100 posts a second, and with a Labelbox that takes 100 ms."""
    warm, rated, slow = range(1, 101), range(101, 1101), range(1101, 1421)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        many = {"MAX_ACTIVE_RUNS": "1000000", "MAX_RUNS_PER_DAY": "1000000"}
        options = CloudOptions(
            export=write_export(folder, [model_run_id(number) for number in range(1, slow.stop)]),
            jobs_dirs=(write_jobs(folder),),
            environments_dir=folder / "envs",
            settings={"PIPELINES_DIR": str(write_pipelines(folder)), **many},
            reconcile_period_s=3600.0,
            storage=ObjectServer,
        )
        with EmbeddedCloud(StateFolder(folder / "state"), options) as cloud:
            only_coordinator(cloud)
            poster = Poster(cloud.origin)
            poster.by_clients(warm)
            with processor_ms(cloud.processes()) as spent:
                fast = poster.at_rate(rated, POSTS_PER_S)
            cloud.labelbox_control.change({"latency_s": 0.1})
            late = poster.by_clients(slow)
    found = {share: percentile(fast, share) * 1000 for share in (0.5, 0.95, 0.99)}
    each = {name: round(ms / len(rated), 2) for name, ms in spent.items()}
    again = f"{poster.sent_again} of {slow.stop - 1} posts were sent again after a 503"
    title = f"POST /model_run at {POSTS_PER_S} a second"
    return [
        Line(
            f"{title}: p50",
            found[0.5],
            "ms",
            at_most=P50_MS,
            note=f"{sum(each.values()):.1f} ms of processor a post, of it {each['coordinator']:.1f} the function's",
            detail={"p95_ms": found[0.95], "processor_ms_a_post": each},
        ),
        Line(f"{title}: p99", found[0.99], "ms", at_most=P99_MS),
        Line(
            f"Labelbox at 100 ms, {CLIENTS} clients: p95",
            percentile(late, 0.95) * 1000,
            "ms",
            at_most=SLOW_P95_MS,
            note=again,
        ),
    ]


def measure() -> list[Line]:
    """Import, then posts."""
    return [*imported(), *answered()]
