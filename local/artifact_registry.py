"""`python -m local.artifact_registry`: stands in for Artifact Registry's answer to "which bytes does this tag name?".

An image stands for its folder below jobs/; its digest is that of the folder's files and of what all jobs share, so it
changes when they do. Nothing can be pulled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOPBACK = "127.0.0.1"
_MANIFEST = re.compile(r"/v2/[\w.-]+/[\w.-]+/(?P<image>[\w-]+)/manifests/[\w][\w.-]*")


def folder_of(image: str, jobs_dirs: Sequence[Path]) -> Path | None:
    """The folder whose image has this name: its path with hyphens for slashes and underscores."""
    for jobs in jobs_dirs:
        for dockerfile in (*jobs.glob("*/*/Dockerfile"), *jobs.glob("*/*/gpu/Dockerfile")):
            folder = dockerfile.parent
            if folder.relative_to(jobs).as_posix().replace("/", "-").replace("_", "-") == image:
                return folder
    return None


def digest_of(folder: Path) -> str:
    """A digest of what the image of this folder would hold: with CUDA, its job's own folder above it."""
    job = folder.parent if folder.name == "gpu" else folder
    jobs = job.parent.parent
    total = hashlib.sha256(folder.name.encode())
    for path in sorted([*job.rglob("*"), *(jobs / "jobkit").rglob("*")]):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(path.relative_to(jobs).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{total.hexdigest()}"


class RegistryServer(ThreadingHTTPServer):
    """Serves from construction on; `port` is the one it got."""

    daemon_threads = True

    def __init__(self, jobs_dirs: Sequence[Path], port: int = 0) -> None:
        self.jobs_dirs = tuple(jobs_dirs)
        super().__init__((LOOPBACK, port), _Handler)
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RegistryServer

    def do_HEAD(self) -> None:
        match = _MANIFEST.fullmatch(self.path)
        folder = folder_of(match["image"], self.server.jobs_dirs) if match else None
        self.send_response(200 if folder else 404)
        if folder:
            self.send_header("Docker-Content-Digest", digest_of(folder))
            self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """A line a request would drown the log."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; 0 after SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.artifact_registry", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on the loopback address; 0 takes a free one")
    parser.add_argument("--state-dir", type=Path, help="taken for likeness with the other stand-ins; it keeps no state")
    parser.add_argument("--ready-file", type=Path, help='written as {"port": N} once the server answers')
    parser.add_argument("--jobs-dir", type=Path, action="append", required=True, help="where images are built from")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = RegistryServer(given.jobs_dir, given.port)
    if given.ready_file:
        partial = given.ready_file.with_suffix(".partial")
        partial.write_text(json.dumps({"port": server.port}))
        partial.rename(given.ready_file)
    stop.wait()
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
