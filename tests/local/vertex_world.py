"""What the Vertex tests stand on: small jobs in a folder, the stand-in in this process or as a child, real clients."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.cloud import storage
from google.cloud.aiplatform_v1.services import dataset_service, job_service, model_service, pipeline_service

from local.processes import free_port
from local.vertex.cloud import Configuration
from local.vertex.server import VertexServer

ROOT = Path(__file__).resolve().parents[2]
PARENT = "projects/local-project/locations/us-central1"
IMAGE = "us-central1-docker.pkg.dev/local-project/jobs/etl-small-job:latest"
ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_PARTIALLY_SUCCEEDED"}
ENDED |= {"PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED"}

SMALL_JOB = """
import json, os, pathlib, subprocess, sys, time
arguments = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
seen = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ), "executable": sys.executable}
if "tell" in arguments:
    path = pathlib.Path(arguments["tell"])
    path.with_suffix(".tmp").write_text(json.dumps({**seen, "pid": os.getpid()}))
    path.with_suffix(".tmp").rename(path)
print("one line on stdout", flush=True)
print("one line on stderr", file=sys.stderr, flush=True)
if "child" in arguments:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(arguments["child"]).write_text(str(child.pid))
while "until" in arguments and not os.path.exists(arguments["until"]):
    time.sleep(0.01)
with open("left-behind", "w") as file:
    file.write("x")
sys.exit(int(arguments.get("exit", "0")))
"""
STORAGE_BY_HTTP = """
import os, urllib.parse, urllib.request
HOST = os.environ["STORAGE_EMULATOR_HOST"]
def split(uri):
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, urllib.parse.quote(name, safe="")
def read(uri):
    bucket, name = split(uri)
    return urllib.request.urlopen(f"{HOST}/storage/v1/b/{bucket}/o/{name}?alt=media").read().decode()
def write(uri, text):
    bucket, name = split(uri)
    url = f"{HOST}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    urllib.request.urlopen(urllib.request.Request(url, data=text.encode(), method="POST")).read()
"""
TRAINER = """
import collections, json, os, sys
from train.image_classification.small_storage import read, write
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
lines = [json.loads(line) for line in read(options["training-file"]).splitlines()]
ending = options["ending-uri"] + os.environ["CLOUD_ML_JOB_ID"] + "/"
one = lambda line: [line["classificationAnnotation"]] if "classificationAnnotation" in line else []
boxes = lambda line: line.get("boundingBoxAnnotations", [])
annotations = lambda line: line.get("classificationAnnotations") or boxes(line) or one(line)
labels = collections.Counter(annotation["displayName"] for line in lines for annotation in annotations(line))
if "broken" in labels:
    error = {"version": 1, "sentence": "The label broken is broken.", "kind": "bad_data"}
    write(ending + "error.json", json.dumps(error))
    sys.exit(1)
splits = collections.Counter(line["dataItemResourceLabels"]["aiplatform.googleapis.com/ml_use"] for line in lines)
model = {"labels": sorted(labels), "options": options, "splits": splits, "boxes": [boxes(line) for line in lines]}
write(options["output-uri"] + "model.json", json.dumps(model))
result = {"version": 1, "outputs": {"model": options["output-uri"]}, "counts": {}, "metrics": {"accuracy": 0.5}}
if "silent" not in labels:
    write(ending + "result.json", json.dumps(result))
"""
PREDICTOR = """
import json, sys
from train.image_classification.small_storage import read, write
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
labels = json.loads(read(options["model"] + "model.json"))["labels"]
good, bad = [], []
for line in read(options["instances"]).splitlines():
    instance = json.loads(line)
    if "undecodable" in instance["content"]:
        bad.append(json.dumps({"instance": instance, "error": {"code": 3, "message": "cannot decode"}}))
        continue
    names = labels[: int(options["max-predictions"])]
    ids, threshold = [str(index) for index, _ in enumerate(names)], options["confidence-threshold"]
    confidences = [0.5] * len(names)
    prediction = {"ids": ids, "displayNames": names, "confidences": confidences, "threshold": threshold}
    good.append(json.dumps({"instance": instance, "prediction": prediction}))
write(options["output-uri"] + "predictions_00001.jsonl", "".join(line + "\\n" for line in good))
if bad:
    write(options["output-uri"] + "errors_00001.jsonl", "".join(line + "\\n" for line in bad))
"""


def wait_until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of the condition; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"not true within {timeout_s} s")


def make_jobs(folder: Path) -> Path:
    """A jobs folder with one small job and a trainer that trains nothing, both without requirements."""
    files = {
        "etl/small_job/main.py": SMALL_JOB,
        "train/image_classification/main.py": TRAINER,
        "train/image_classification/predict.py": PREDICTOR,
        "train/image_classification/small_storage.py": STORAGE_BY_HTTP,
        "train/bounding_boxes/main.py": TRAINER,
        "train/bounding_boxes/predict.py": PREDICTOR.replace('"confidences"', '"bboxes": [], "confidences"'),
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for name in ("etl.small_job", "train.image_classification", "train.bounding_boxes"):
        job = folder / name.replace(".", "/")
        entrypoint = f'FROM python:3.11-slim\nENTRYPOINT ["python", "-m", \\\n    "{name}.main"]\n'
        (job / "Dockerfile").write_text(entrypoint)
        (job / "requirements.txt").write_text("# nothing\n")
    return folder


class Clients:
    """The real clients over an insecure channel, as the functions make them."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.jobs = job_service.JobServiceClient(
            transport=job_service.transports.JobServiceGrpcTransport(channel=self.channel)
        )
        self.pipelines = pipeline_service.PipelineServiceClient(
            transport=pipeline_service.transports.PipelineServiceGrpcTransport(channel=self.channel)
        )
        self.datasets = dataset_service.DatasetServiceClient(
            transport=dataset_service.transports.DatasetServiceGrpcTransport(channel=self.channel)
        )
        self.models = model_service.ModelServiceClient(
            transport=model_service.transports.ModelServiceGrpcTransport(channel=self.channel)
        )

    def create(self, *arguments: str, **fields: Any) -> Any:
        return self.jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*arguments, **fields), timeout=20)

    def state(self, name: str) -> str:
        return str(self.get(name).state.name)

    def get(self, name: str) -> Any:
        if "/trainingPipelines/" in name:
            return self.pipelines.get_training_pipeline(name=name, timeout=20)
        if "/batchPredictionJobs/" in name:
            return self.jobs.get_batch_prediction_job(name=name, timeout=20)
        return self.jobs.get_custom_job(name=name, timeout=20)

    def ended(self, name: str) -> Any:
        """The resource once it has ended."""
        wait_until(lambda: self.state(name) in ENDED)
        return self.get(name)

    def reach(self, name: str, state: str) -> Any:
        wait_until(lambda: self.state(name) == state)
        return self.get(name)


def custom_job(*arguments: str, **fields: Any) -> dict[str, Any]:
    """A request for the small job that every rule accepts; `fields` go over its top level."""
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {"image_uri": IMAGE, "args": list(arguments)},
    }
    return {"display_name": "small", "job_spec": {"worker_pool_specs": [pool]}, **fields}


class Control:
    """The control port, by HTTP."""

    def __init__(self, port: int) -> None:
        self._origin = f"http://127.0.0.1:{port}"

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._ask("/jobs")["jobs"])

    def settings(self) -> dict[str, Any]:
        return dict(self._ask("/settings"))

    def set(self, **changes: Any) -> dict[str, Any]:
        return dict(self._ask("/settings", json.dumps(changes).encode()))

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"{self._origin}{path}", data=body, timeout=10) as answer:
            return json.load(answer)


class World:
    """One running stand-in with its clients and its control."""

    def __init__(self, folder: Path, port: int, control_port: int) -> None:
        self.folder = folder
        self.host = f"127.0.0.1:{port}"
        self.clients = Clients(port)
        self.control = Control(control_port)

    def log(self, name: str) -> str:
        return (self.folder / "state" / "logs" / f"{name.rsplit('/', 1)[-1]}.log").read_text()


@contextmanager
def world(folder: Path, **configuration: Any) -> Iterator[World]:
    """The stand-in in this process, with its state in `folder/state`."""
    jobs = make_jobs(folder / "jobs")
    settings = {"jobs_dirs": [jobs], "environments_dir": folder / "envs", **configuration}
    settings["job_environment"] = {
        "STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST", ""),
        **configuration.get("job_environment", {}),
    }
    server = VertexServer(Configuration(state_dir=folder / "state", **settings))
    server.start()
    opened = World(folder, server.port, server.control_port)
    try:
        yield opened
    finally:
        opened.clients.channel.close()
        server.stop()


class VertexProcess:
    """`python -m local.vertex` as a child; may be killed and started again on its port and state."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.port, self.control_port = free_port(), free_port()
        self.flags = flags
        make_jobs(folder / "jobs")
        self.start()

    def start(self) -> None:
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        with (self.folder / "vertex.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "local.vertex", f"--port={self.port}", f"--ready-file={ready}"),
                    *(f"--control-port={self.control_port}", f"--state-dir={self.folder / 'state'}"),
                    *(f"--jobs-dir={self.folder / 'jobs'}", f"--envs-dir={self.folder / 'envs'}", *self.flags),
                ],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, (self.folder / "vertex.log").read_text()
        self.world = World(self.folder, self.port, self.control_port)

    def kill(self) -> None:
        self.world.clients.channel.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> float:
        """Ends it as `make run` does; seconds until it was gone."""
        started = time.monotonic()
        self.world.clients.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        return time.monotonic() - started


@contextmanager
def vertex_process(folder: Path, *flags: str) -> Iterator[VertexProcess]:
    process = VertexProcess(folder, *flags)
    try:
        yield process
    finally:
        process.stop()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


class Bucket:
    """A user's bucket on a real storage server."""

    def __init__(self, host: str, name: str) -> None:
        self._client = storage.Client(project="local-project", client_options={"api_endpoint": host})
        self.name = name
        self._bucket = self._client.create_bucket(name, retry=None)

    def write(self, path: str, content: str | bytes) -> str:
        self._bucket.blob(path).upload_from_string(content)
        return f"gs://{self.name}/{path}"

    def write_lines(self, path: str, lines: list[dict[str, Any]]) -> str:
        return self.write(path, "".join(json.dumps(line) + "\n" for line in lines))

    def lines(self, uri: str) -> list[dict[str, Any]]:
        text = self._client.bucket(uri.split("/")[2]).blob(uri.split("/", 3)[3]).download_as_text()
        return [json.loads(line) for line in text.splitlines()]

    def under(self, prefix_uri: str) -> list[str]:
        bucket, _, prefix = prefix_uri.removeprefix("gs://").partition("/")
        return [f"gs://{bucket}/{blob.name}" for blob in self._client.list_blobs(bucket, prefix=prefix)]

    def buckets(self) -> list[str]:
        return [bucket.name for bucket in self._client.list_buckets()]

    def close(self) -> None:
        self._client.close()


def png(seed: int, width: int = 8, height: int = 8) -> bytes:
    """A real PNG of one colour; another seed gives other bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\x00" + bytes((seed % 256, seed // 256 % 256, 7)) * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * height))
        + chunk(b"IEND", b"")
    )


def job_env(job: dict[str, Any]) -> dict[str, Any]:
    """The container of a request made by `custom_job`."""
    container: dict[str, Any] = job["job_spec"]["worker_pool_specs"][0]["container_spec"]
    return container
