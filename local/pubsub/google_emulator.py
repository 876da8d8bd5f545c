"""Google's own Pub/Sub emulator, where gcloud brought it: an optional second target, in the small server's place.

It keeps nothing over a restart, sends no token, and its push body has no deliveryAttempt and no orderingKey.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import grpc
from google.pubsub_v1.types import pubsub

_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
_USUAL_ROOTS = (
    "~/google-cloud-sdk",
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    "/usr/local/share/google-cloud-sdk",
    "/opt/homebrew/share/google-cloud-sdk",
)
_START_S = 30.0
_END_S = 5.0


class EmulatorMissingError(Exception):
    """Java or the emulator's jar is not on this machine."""


class EmulatorFailedError(Exception):
    """The emulator ended, or did not answer in time."""


class GoogleEmulator:
    """A running emulator on 127.0.0.1:`port`; a context manager that ends it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    def stop(self) -> None:
        """Ends the process group: SIGTERM, and SIGKILL after 5 s. Safe to repeat."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self) -> "GoogleEmulator":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def find_emulator() -> tuple[str, Path]:
    """Paths of java and of the newest emulator jar beside a gcloud installation; raises EmulatorMissingError."""
    java = shutil.which("java")
    if java is None:
        raise EmulatorMissingError("Google's Pub/Sub emulator needs Java, and there is no `java` on the PATH.")
    for root in _roots():
        jars = sorted(root.glob(_JAR))
        if jars:
            return java, jars[-1]
    raise EmulatorMissingError(
        "Google's Pub/Sub emulator is not installed: `gcloud components install pubsub-emulator`, "
        "or the package google-cloud-cli-pubsub-emulator."
    )


def start(port: int, log: Path | None = None) -> GoogleEmulator:
    """A serving emulator. Raises EmulatorMissingError where it is not installed, EmulatorFailedError when it ends."""
    java, jar = find_emulator()
    command = [java, "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"]
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    emulator = GoogleEmulator(port, process)
    try:
        _wait_until_serving(emulator)
    except BaseException:
        emulator.stop()
        raise
    return emulator


def _roots() -> Iterator[Path]:
    """Folders that may be a gcloud installation, the one in use first."""
    if named := os.environ.get("CLOUDSDK_ROOT_DIR"):
        yield Path(named)
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parent.parent
    for usual in _USUAL_ROOTS:
        yield Path(usual).expanduser()


def _wait_until_serving(emulator: GoogleEmulator) -> None:
    """Asks a real call until it is answered: a bound port is not yet a server."""
    deadline = time.monotonic() + _START_S
    request = pubsub.ListTopicsRequest.serialize(pubsub.ListTopicsRequest(project="projects/ready"))
    while time.monotonic() < deadline:
        if emulator.process.poll() is not None:
            raise EmulatorFailedError(f"Google's Pub/Sub emulator ended with code {emulator.process.returncode}.")
        with grpc.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
            call = channel.unary_unary("/google.pubsub.v1.Publisher/ListTopics")
            try:
                call(request, timeout=1)
            except grpc.RpcError:
                time.sleep(0.1)
            else:
                return
    raise EmulatorFailedError(f"Google's Pub/Sub emulator did not answer on port {emulator.port} in {_START_S:.0f} s.")
