"""`python -m local.labelbox`: serve samples or an export of one's own as Labelbox would, until SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from local.labelbox.corpus import BadCorpus, load, own_export, sample
from local.labelbox.server import LOOPBACK, LabelboxServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; 0 after SIGTERM or Ctrl-C, 2 when the arguments or the data are no good."""
    given = _parser().parse_args(arguments)
    if not given.api_key:
        print("an API key is needed: --api-key or LABELBOX_API_KEY", file=sys.stderr)
        return 2
    sources = [sample(Path(folder)) for folder in given.sample] + [own_export(Path(file)) for file in given.export]
    if not sources:
        print("nothing to serve: give --sample DIR or --export FILE", file=sys.stderr)
        return 2
    try:
        server = LabelboxServer(load(sources, given.project), given.state_dir, given.api_key, given.port)
    except (BadCorpus, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    if given.ready_file:
        _write_ready(given.ready_file, {"port": server.server_address[1]})
    print(f"Labelbox stand-in: http://{LOOPBACK}:{server.server_address[1]}/graphql", flush=True)
    stop.wait()
    server.close()
    return 0


def _write_ready(path: Path, content: dict[str, object]) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(content))
    partial.rename(path)  # whoever sees the file sees all of it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.labelbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on the loopback address; 0 takes a free one")
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="where statuses, predictions and configs are kept"
    )
    parser.add_argument("--ready-file", type=Path, help='written as {"port": N} once the server answers')
    parser.add_argument(
        "--sample", action="append", default=[], help="folder with export.ndjson, ontology.json, files/"
    )
    parser.add_argument("--export", action="append", default=[], help="an export of your own (NDJSON, export v2 rows)")
    parser.add_argument("--project", action="append", default=[], help="id of a project that takes pre-labels")
    parser.add_argument("--api-key", default=os.environ.get("LABELBOX_API_KEY", ""), help="the only key that is let in")
    return parser


if __name__ == "__main__":
    sys.exit(main())
