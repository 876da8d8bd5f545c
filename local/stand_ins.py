"""The stand-ins as processes: our own modules, and Google's Pub/Sub emulator where one wants it instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc
from google.pubsub_v1 import types

from local.functions import ROOT
from local.processes import LOOPBACK, Process, free_port
from local.pubsub import google_emulator
from local.state import StateFolder

READY_DEADLINE_S = 60.0


class StandIn:
    """One `python -m local.<name>`: it has a port, a folder of its own, and says by a file that it serves."""

    def __init__(
        self, name: str, state: StateFolder, flags: Iterable[str | Path], environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.port = free_port()
        self.host = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.host}"
        folder = state.path / name.replace("_", "-")
        folder.mkdir(exist_ok=True)
        self._ready_file = folder / "ready.json"
        self.process = Process(
            name.replace("_", "-"),
            [
                *(sys.executable, "-m", f"local.{name}", "--port", str(self.port)),
                *("--state-dir", folder, "--ready-file", self._ready_file, *flags),
            ],
            {"PYTHONPATH": str(ROOT), **environment},
            state.path / "logs" / f"{folder.name}.log",
            state.path,
            port=self.port,
        )

    def start(self) -> None:
        """Start it without waiting for it."""
        self._ready_file.unlink(missing_ok=True)
        self.process.start()

    def wait_ready(self) -> None:
        """Return once it serves."""
        self.process.wait_ready(self._ready_file.exists, READY_DEADLINE_S)


class GooglePubSub:
    """Google's own Pub/Sub emulator behind the face of a stand-in."""

    def __init__(self, state: StateFolder) -> None:
        java, jar = google_emulator.find_emulator()
        self.name = "pubsub"
        self.port = free_port()
        self.host = f"{LOOPBACK}:{self.port}"
        self.process = Process(
            "google-pubsub",
            [java, "-jar", jar, f"--host={LOOPBACK}", f"--port={self.port}"],
            {},
            state.path / "logs" / "google-pubsub.log",
            state.path,
            port=self.port,
        )

    def start(self) -> None:
        """Start it without waiting for it."""
        self.process.start()

    def wait_ready(self) -> None:
        """Return once it answers a call: a bound port is not yet a server."""
        self.process.wait_ready(self._answers, READY_DEADLINE_S)

    def _answers(self) -> bool:
        request = types.ListTopicsRequest(project="projects/ready")
        with grpc.insecure_channel(self.host) as channel:
            try:
                channel.unary_unary("/google.pubsub.v1.Publisher/ListTopics")(
                    types.ListTopicsRequest.serialize(request), timeout=1
                )
            except grpc.RpcError:
                return False
        return True
