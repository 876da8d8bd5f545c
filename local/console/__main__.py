"""`python -m local.console`: serves the page until SIGTERM, for a cloud whose addresses are in a folder's up.json."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from local.labelbox.corpus import own_export, sample
from local.processes import LOOPBACK

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "functions"))


class _Quiet(WSGIRequestHandler):
    """A page asks every second: only errors are worth a line of the log."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if str(code).startswith("5"):
            super().log_request(code, size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; 0 after SIGTERM or Ctrl-C."""
    given = _parser().parse_args(arguments)
    from local.address import Address
    from local.console.app import create_app
    from local.console.data_sets import DataSets
    from local.console.desk import Desk
    from local.console.results import ResultReader
    from local.labelbox_side import LabelboxControl
    from ops.target import Target

    address = Address.read(given.state_dir)
    deployment = Target(local=True, local_dir=given.state_dir).open()
    sources = [own_export(given.export)] if given.export else [sample(folder) for folder in given.sample]
    desk = Desk(
        deployment,
        LabelboxControl(address.labelbox_url, address.labelbox_api_key),
        DataSets(sources, dict(text.split("=", 1) for text in given.trains)),
        ResultReader(deployment.services.store, deployment.settings.bucket),
    )
    server = make_server(LOOPBACK, given.port, create_app(desk, given.port), threaded=True, request_handler=_Quiet)
    for number in (signal.SIGTERM, signal.SIGINT):
        # A thread of its own: shutdown waits for the loop that this one runs.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    partial = given.ready_file.with_suffix(".partial")
    partial.write_text(json.dumps({"port": server.port}))
    partial.rename(given.ready_file)
    server.serve_forever()
    server.server_close()
    deployment.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.console", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on the loopback address")
    parser.add_argument("--state-dir", type=Path, required=True, help="the folder with the cloud's up.json")
    parser.add_argument("--ready-file", type=Path, required=True, help='written as {"port": N} once the page serves')
    parser.add_argument("--export", type=Path, help="one's own export, in place of the samples")
    parser.add_argument("--sample", type=Path, action="append", default=[], help="a sample's folder")
    parser.add_argument(
        "--trains", action="append", default=[], metavar="TYPE=MODEL_RUN", help="which model run suits a type"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
