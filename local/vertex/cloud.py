"""All of the stand-in's parts, put together: what it is started with, and how it starts and stops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.cloud import aiplatform_v1

from local.environments import DEFAULT_ROOT
from local.vertex import rules
from local.vertex.automl import TrainingPipelines
from local.vertex.batch import BatchPredictionJobs
from local.vertex.bucket import Buckets
from local.vertex.custom_jobs import CustomJobs
from local.vertex.datasets import Datasets
from local.vertex.endpoints import Endpoints
from local.vertex.events import LogSink
from local.vertex.filters import job_fields
from local.vertex.images import JobImages
from local.vertex.job_requests import JobRequests
from local.vertex.kinds import JOB_STATES, PIPELINE_STATES
from local.vertex.lifecycle import Lifecycle
from local.vertex.models import Models
from local.vertex.names import BATCH_PREDICTION_JOBS, CUSTOM_JOBS, TRAINING_PIPELINES, Place
from local.vertex.operations import Operations
from local.vertex.settings import SettingsFile
from local.vertex.store import Store
from local.vertex.workshop import Workshop

IMPORT_WAIT_S = 0.5  # whoever stops the stand-in may kill it after 5 s, and its jobs would live on


@dataclass(frozen=True)
class Configuration:
    """What the stand-in is started with. `job_events_topic` is a full topic name; None publishes nothing."""

    state_dir: Path
    project: str = "local-project"
    region: str = "us-central1"
    jobs_dirs: Sequence[Path] = (Path("jobs"),)
    environments_dir: Path = DEFAULT_ROOT
    job_environment: Mapping[str, str] = field(default_factory=dict)
    slots: int = 2
    job_events_topic: str | None = None


class Cloud:
    """The parts, connected. `start` takes up what a restart interrupted."""

    def __init__(self, configuration: Configuration) -> None:
        state_dir = configuration.state_dir.absolute()
        state_dir.mkdir(parents=True, exist_ok=True)
        place = Place(configuration.project, configuration.region)
        images = JobImages([path.absolute() for path in configuration.jobs_dirs])
        self.store = Store(state_dir / "vertex.sqlite")
        self.settings = SettingsFile(state_dir / "settings.json")
        self.workshop = Workshop(
            images, configuration.environments_dir, state_dir, configuration.project, configuration.job_environment
        )
        self._buckets = Buckets(configuration.project)
        self._sink = LogSink(configuration.project, configuration.job_events_topic)
        self.life = Lifecycle(self.workshop, self.settings, self._sink, configuration.slots)
        self.operations = Operations(self.store, self.settings)
        self.models = Models(place, self.store, self.settings, self.operations)
        self.endpoints = Endpoints(place, self.store, self.settings, self.operations, self.models)
        self.datasets = Datasets(place, self.store, self.settings, self.operations, self._buckets)
        self._add_jobs(place)

    def _add_jobs(self, place: Place) -> None:
        kind = CustomJobs(self.store, self.workshop, place.project)
        pipelines = TrainingPipelines(place, self.store, self.workshop, self._buckets, self.datasets, self.models)
        batch = BatchPredictionJobs(place, self.store, self.settings, self.workshop, self._buckets, self.models)
        common = (place, self.settings, self.operations, self.life)
        self.custom_jobs = JobRequests(
            *common,
            kind,
            CUSTOM_JOBS,
            job_fields(JOB_STATES),
            rules.custom_job,
            lambda jobs, token: aiplatform_v1.ListCustomJobsResponse(custom_jobs=jobs, next_page_token=token),
        )
        self.training_pipelines = JobRequests(
            *common,
            pipelines,
            TRAINING_PIPELINES,
            job_fields(PIPELINE_STATES, "training_task_definition"),
            pipelines.checked,
            lambda found, token: aiplatform_v1.ListTrainingPipelinesResponse(
                training_pipelines=found, next_page_token=token
            ),
        )
        self.batch_prediction_jobs = JobRequests(
            *common,
            batch,
            BATCH_PREDICTION_JOBS,
            job_fields(JOB_STATES, "model"),
            batch.checked,
            lambda jobs, token: aiplatform_v1.ListBatchPredictionJobsResponse(
                batch_prediction_jobs=jobs, next_page_token=token
            ),
        )

    def start(self) -> None:
        """Take up jobs and imports of before a restart."""
        self.datasets.imports.resume()
        for requests in (self.custom_jobs, self.training_pipelines, self.batch_prediction_jobs):
            self.life.resume(requests.kind)

    def stop(self) -> None:
        """End the processes of running jobs, and close everything."""
        self.life.stop()
        self.datasets.imports.wait(IMPORT_WAIT_S)
        self._sink.close()
        self._buckets.close()
        self.store.close()
