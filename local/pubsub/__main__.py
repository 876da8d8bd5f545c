"""The command: `python -m local.pubsub --port N --state-dir DIR --ready-file PATH`."""

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from local.pubsub.database import StateRefused
from local.pubsub.server import PubSubServer


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean end, 1 when the port or the state cannot be used."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stdout, level=options.log_level.upper(), format="%(asctime)s %(levelname)s pubsub: %(message)s"
    )
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        server = PubSubServer(options.port, options.state_dir, options.duplicate)
    except (StateRefused, RuntimeError, OSError) as error:
        logging.critical("cannot start on port %d: %s", options.port, error)
        return 1
    server.start()
    if options.ready_file:
        _write_ready(options.ready_file, server.port)
    logging.info("serving on 127.0.0.1:%d, state under %s", server.port, options.state_dir)
    ending.wait()
    server.stop()
    logging.info("stopped")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.pubsub", description="A small Pub/Sub server with push.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0 = any free one)")
    parser.add_argument("--state-dir", type=Path, required=True, help="folder of the state; a restart goes on from it")
    parser.add_argument("--ready-file", type=Path, help='written as {"port": N} once the server serves')
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--duplicate", action="store_true", help="push every message twice to each push subscription")
    return parser


def _write_ready(path: Path, port: int) -> None:
    """Written whole or not at all, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({"port": port}) + "\n")
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
