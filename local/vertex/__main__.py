"""`python -m local.vertex`: serves the stand-in until SIGTERM or SIGINT, which also ends the processes of its jobs."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from local.environments import DEFAULT_ROOT
from local.vertex.cloud import Configuration
from local.vertex.server import VertexServer

EMULATOR_HOSTS = ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(prog="python -m local.vertex", description=sys.modules[__name__].__doc__)
    result.add_argument("--port", type=int, default=0, help="gRPC port; 0 chooses a free one")
    result.add_argument("--control-port", type=int, default=0, help="HTTP control port; 0 chooses a free one")
    result.add_argument("--state-dir", type=Path, required=True, help="jobs, logs and settings; a restart goes on here")
    result.add_argument("--ready-file", type=Path, help="written with the ports once both are served")
    result.add_argument("--project", default="local-project")
    result.add_argument("--region", default="us-central1")
    result.add_argument("--jobs-dir", type=Path, action="append", help="where images are built from; may be repeated")
    result.add_argument(
        "--environments-dir",
        "--envs-dir",
        type=Path,
        default=DEFAULT_ROOT,
        help="where the images' environments are kept",
    )
    result.add_argument("--job-env", action="append", default=[], metavar="KEY=VALUE", help="given to every job")
    result.add_argument("--slots", type=int, default=2, help="how many jobs run at once")
    result.add_argument(
        "--job-events-topic", "--events-topic", help="projects/P/topics/T that gets the log line of a custom job's end"
    )
    return result


def configuration(arguments: Sequence[str] | None = None) -> tuple[Configuration, argparse.Namespace]:
    """Return what the command line asks for."""
    options = parser().parse_args(arguments)
    pairs = [pair.partition("=") for pair in options.job_env]
    wrong = [key for key, equals, _ in pairs if not key or not equals]
    if wrong:
        parser().error(f"--job-env takes KEY=VALUE: {', '.join(wrong)}")
    return (
        Configuration(
            state_dir=options.state_dir,
            project=options.project,
            region=options.region,
            jobs_dirs=tuple(options.jobs_dir or (Path("jobs"),)),
            environments_dir=options.environments_dir,
            job_environment={**_emulator_hosts(), **{key: value for key, _, value in pairs}},
            slots=options.slots,
            job_events_topic=options.job_events_topic,
        ),
        options,
    )


def _emulator_hosts() -> dict[str, str]:
    """Return where this process itself finds storage and Pub/Sub: its jobs find them there, too."""
    return {name: os.environ[name] for name in EMULATOR_HOSTS if name in os.environ}


def main() -> int:
    """Serve until a signal."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings, options = configuration()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = VertexServer(settings, options.port, options.control_port)
    server.start()
    if options.ready_file:
        unfinished = options.ready_file.with_suffix(".tmp")
        unfinished.write_text(json.dumps({"port": server.port, "control_port": server.control_port}))
        unfinished.replace(options.ready_file)
    stopped.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
