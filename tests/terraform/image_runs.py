"""A sample run in the embedded cloud, and its jobs once more, each in its image, beside the same stand-ins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.aiplatform_v1.services.job_service.transports import JobServiceGrpcTransport
from google.cloud.storage import Client
from rich.console import Console

from local import deployment
from local.cloud import CloudOptions, EmbeddedCloud
from local.job_environments import prepare
from local.samples import sample_export
from local.state import StateFolder
from orchestrator.pipelines import CustomJob, read_pipelines
from tests.end_to_end.cloud_runs import CloudRun
from tests.terraform.containers import Engine

# What a file may say of itself that is another at each launch: where it lies, and when.
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00| UTC)?")


# The report names the Python that ran; the image's own is its own.
_PYTHON = re.compile(rb'python</th><td class="text">[0-9.]+')
RUN_DEADLINE_S = 600.0


@dataclass(frozen=True)
class Launched:
    """A custom job as the functions launched it."""

    folder: str
    number: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    def argument(self, name: str) -> str:
        """Value of `--name=value`."""
        (found,) = (word for word in self.arguments if word.startswith(f"--{name}="))
        return found.partition("=")[2]


class ProcessRun:
    """A run that has ended, in a cloud that still serves."""

    def __init__(self, cloud: EmbeddedCloud, model_type: str) -> None:
        self.cloud, self.pipeline = cloud, read_pipelines()[model_type]
        self.storage = Client(
            project=deployment.PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": cloud.storage.host},
        )

    def custom_jobs(self) -> list[Launched]:
        """The run's custom jobs, in the order in which they ran."""
        folders = {
            job.image.replace("/", "-").replace("_", "-"): job.image
            for _, job in self.pipeline.jobs()
            if isinstance(job, CustomJob)
        }
        host = self.cloud.vertex.url.removeprefix("http://")
        with grpc.insecure_channel(host) as channel:
            client = JobServiceClient(transport=JobServiceGrpcTransport(channel=channel))
            jobs = sorted(
                client.list_custom_jobs(parent=f"projects/{deployment.PROJECT}/locations/{deployment.REGION}"),
                key=lambda job: job.create_time,
            )
        found = []
        for job in jobs:
            container = job.job_spec.worker_pool_specs[0].container_spec
            name = container.image_uri.rpartition("/")[2].split("@")[0].split(":")[0]
            environment = {item.name: item.value for item in container.env}
            found.append(Launched(folders[name], job.name.rpartition("/")[2], tuple(container.args), environment))
        return found

    def files(self, uri: str, ending: str) -> dict[str, bytes]:
        """Contents of all files below a gs:// folder, by what follows it; its address, that of the job's ending,
        times and the version of Python are taken out."""
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        found: dict[str, bytes] = {}
        for blob in self.storage.list_blobs(bucket, prefix=prefix):
            if "/checkpoints/" in blob.name:
                continue  # kept while a training runs, as often as its clock says
            content = (
                blob.download_as_bytes().replace(uri.rstrip("/").encode(), b"HERE").replace(ending.encode(), b"END")
            )
            found[blob.name.removeprefix(prefix)] = _TIME.sub(b"THEN", _PYTHON.sub(b"PYTHON", content))
        return found


@contextmanager
def ran_as_processes(model_type: str, folder: Path) -> Iterator[ProcessRun]:
    """A sample run of a pipeline whose jobs were processes."""
    options, state = CloudOptions(), StateFolder(folder / "state")
    prepare(read_pipelines()[model_type], options.environments_dir, state, Console(quiet=True))
    sample_export(model_type)  # drawn before the cloud looks for what it serves
    with EmbeddedCloud(state, options) as cloud:
        run = CloudRun(cloud, model_type)
        run.start()
        assert run.finish(RUN_DEADLINE_S).outcome == "COMPLETE"
        found = ProcessRun(cloud, model_type)
        try:
            yield found
        finally:
            found.storage.close()


def replayed(engine: Engine, image: str, job: Launched, run: ProcessRun) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files that a job left as a process, and those that the same job leaves in its image."""
    output, ending = job.argument("output-uri"), job.argument("ending-uri")
    again, last = (f"gs://{deployment.BUCKET}/replayed/{job.number}/{name}/" for name in ("data", "ending"))
    arguments = [word.replace(output, again).replace(ending, last) for word in job.arguments]
    environment = {
        **job.environment,
        "CLOUD_ML_JOB_ID": job.number,
        "CLOUD_ML_PROJECT_ID": deployment.PROJECT,
        "STORAGE_EMULATOR_HOST": run.cloud.storage.host,
        "PUBSUB_EMULATOR_HOST": run.cloud.pubsub.host,
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "2",
    }
    engine.start(image, *arguments, environment=environment)
    result = json.loads(run.files(last, last)[f"{job.number}/result.json"])
    assert result["outputs"], f"{job.folder} promised nothing"
    return run.files(output, ending), run.files(again, last)


def first_difference(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """What stands around the first byte that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    return one[max(0, at - 60) : at + 60], other[max(0, at - 60) : at + 60]
