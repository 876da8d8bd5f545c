"""Everything a handler may touch, in one bundle: the ports, the clock, the settings."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.errors import Unavailable
from orchestrator.images import ArtifactRegistry, Images, ImagesAsNamed
from orchestrator.labelbox import Labelbox, LabelboxApi
from orchestrator.ledger import FactMemory, Ledger
from orchestrator.messages import Publisher, PubSub, StageRequested
from orchestrator.pipelines import SHIPPED, Pipeline, read_pipelines
from orchestrator.secret_store import FixedSecret, RotatingSecret, Secret, SecretManagerReader
from orchestrator.settings import Settings
from orchestrator.storage import Bucket, ObjectStore
from orchestrator.vertex import Jobs, VertexJobs


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _nowhere(_point: str) -> None:
    return


@dataclass(frozen=True)
class Services:
    """The ports and the clock. `reached` is told each named crash point, so that a simulation can die there."""

    settings: Settings
    pipelines: Mapping[str, Pipeline]
    store: ObjectStore
    publisher: Publisher
    jobs: Jobs
    labelbox: Labelbox
    signing_secret: Secret
    images: Images = field(default_factory=ImagesAsNamed)
    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], None] = time.sleep
    reached: Callable[[str], None] = _nowhere
    new_writer: Callable[[], str] = field(default=lambda: uuid.uuid4().hex)
    new_run_key: Callable[[], str] = field(default=lambda: secrets.token_hex(6))
    memory: FactMemory = field(default_factory=FactMemory)

    @classmethod
    def from_settings(cls, settings: Settings) -> Services:
        """The real thing: Google's clients and Labelbox's API. Nothing is imported or connected until first used."""
        deadline_s = settings.call_deadline_s
        endpoint = settings.secret_manager_endpoint

        def secret(value: str, secret_id: str) -> Secret:
            if value:
                return FixedSecret(value)
            reader = SecretManagerReader(settings.google_cloud_project, secret_id, endpoint, deadline_s)
            return RotatingSecret(reader)

        key = secret(settings.labelbox_api_key, settings.labelbox_api_key_secret)
        return cls(
            settings=settings,
            pipelines=read_pipelines(Path(settings.pipelines_dir) if settings.pipelines_dir else SHIPPED),
            store=Bucket(settings.bucket, deadline_s),
            publisher=PubSub(settings.topic, deadline_s),
            jobs=VertexJobs(settings),
            labelbox=LabelboxApi(settings.labelbox_endpoint, key, settings.labelbox_timeout_s),
            signing_secret=secret(settings.service_secret, settings.service_secret_secret),
            images=ArtifactRegistry(settings.artifact_registry_endpoint, deadline_s),
        )

    def begin(self) -> Handling:
        """Start handling one request."""
        return Handling(self, Ledger(self.store, self.new_writer(), self.memory), self.now())


@dataclass(frozen=True)
class Handling:
    """One request being handled: its own writer in the ledger, and the time after which it must not act any more.

    A serverless instance is frozen when a request times out and thawed by the next one, so a handler can find itself
    going on hours later.
    """

    services: Services
    ledger: Ledger
    began: datetime

    def check_time(self) -> None:
        """Raise Unavailable if this handler has outlived its request."""
        if self.services.now() - self.began > timedelta(seconds=self.services.settings.function_timeout_s):
            raise Unavailable("This handler outlived its request")

    def publish_stage(self, message: StageRequested, topic: str) -> None:
        """Ask for a stage to go on. Safe to repeat: the stage decides from facts."""
        self.check_time()
        self.services.reached("before-publish")
        self.services.publisher.publish(topic, message.encode())
        self.services.reached("published")
