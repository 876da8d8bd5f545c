"""`python -m local run`, `run-all` and `up`: the whole system on this machine, without an account."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from local.commands import RunOptions

ROOT = Path(__file__).resolve().parent.parent
# The functions' own package, read here for its pipelines, its ledger and its signature.
sys.path.insert(0, str(ROOT / "functions"))

DEFAULT_PIPELINE = "text_single_classification"
PLAIN_WIDTH = 200  # of a log file: long paths stay whole
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--pipeline", default=DEFAULT_PIPELINE, help="a model type, or a folder as in examples/")
    shared.add_argument("--export", type=Path, help="your own Labelbox export (NDJSON, export v2 rows)")
    shared.add_argument("--duplicate", action="store_true", help="push every message twice")
    shared.add_argument("--refuse-predictions", action="store_true", help="Labelbox refuses predictions on model runs")
    shared.add_argument(
        "--google-pubsub", action="store_true", help="Google's own Pub/Sub emulator (needs gcloud, Java)"
    )
    shared.add_argument("--local-dir", type=Path, default=ROOT / ".local", help="where state and summary.json go")
    shared.add_argument("--port", type=int, default=0, help="of the page in the browser; a free one by default")
    commands = whole.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", parents=[shared], help="one sample model run from the request to COMPLETE")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="the model run's config")
    run.add_argument("--timeout-s", type=float, default=1800.0, help="give up after so long")
    run.add_argument("--keep", action="store_true", help="after the run, keep the page until Ctrl-C")
    up = commands.add_parser("up", parents=[shared], help="keep everything running, with a page in the browser")
    up.add_argument("--open", action="store_true", help="open the page in the browser")
    every = commands.add_parser("run-all", help="a sample run of every model type, one after the other, and a table")
    every.add_argument("--pipelines", default="", help="only these model types, comma separated")
    every.add_argument("--timeout-s", type=float, default=1800.0, help="give up a run after so long")
    every.add_argument("--local-dir", type=Path, default=ROOT / ".local", help="where state and summary.json go")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """0 only when the run ended COMPLETE; 130 after Ctrl-C; 1 on a failed run, 2 on a wrong command line."""
    whole = parser()
    given = whole.parse_args(arguments)
    _loopback_without_proxy()
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)

    from rich.console import Console

    from local import commands
    from local.labelbox_side import NoModelRun, RequestRefused
    from local.processes import StartError
    from local.pubsub.google_emulator import EmulatorMissingError

    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    if given.command == "run-all":
        return _run_all(whole, given, console)
    try:
        options = _options(given)
    except ValueError as error:
        whole.error(str(error))
    try:
        if given.command == "run":
            return commands.run(options, console)
        commands.up(options, console)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return commands.EXIT_COMPLETE if given.command == "up" else commands.EXIT_INTERRUPTED
    except (StartError, RequestRefused, NoModelRun, EmulatorMissingError) as error:
        console.print(str(error), style="red", highlight=False, markup=False)
    return commands.EXIT_FAILED


def _run_all(whole: argparse.ArgumentParser, given: argparse.Namespace, console: Console) -> int:
    from local.commands import EXIT_INTERRUPTED
    from local.offer import Offer
    from local.run_all import run_all, run_one

    known = sorted(Offer().pipelines)
    chosen = [name for name in given.pipelines.split(",") if name] or known
    if unknown := sorted(set(chosen) - set(known)):
        whole.error(f"there is no pipeline {', '.join(unknown)}; there are {', '.join(known)}")
    local_dir: Path = given.local_dir.absolute()
    try:
        return run_all(chosen, console, lambda name: run_one(name, local_dir, given.timeout_s))
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return EXIT_INTERRUPTED


def _options(given: argparse.Namespace) -> RunOptions:
    from local.commands import RunOptions, parse_setting
    from local.offer import Offer

    offer, pipeline = Offer.named(given.pipeline)
    sample = given.export or offer.sample(pipeline)
    if given.command == "up" and not given.export:
        for name in offer.pipelines:
            offer.sample(name)  # all samples must be there before Labelbox's stand-in reads them
    if not sample.is_file():
        raise ValueError(f"there is no export {sample}; give one with --export")
    return RunOptions(
        pipeline=pipeline,
        offer=offer,
        export=given.export.absolute() if given.export else None,
        config=dict(parse_setting(text) for text in getattr(given, "set", [])),
        duplicate=given.duplicate,
        refuse_predictions=given.refuse_predictions,
        google_pubsub=given.google_pubsub,
        timeout_s=getattr(given, "timeout_s", 0.0),
        port=given.port,
        keeps=getattr(given, "keep", False),
        opens=getattr(given, "open", False),
        local_dir=given.local_dir.absolute(),
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal interrupts; the ones after it must not interrupt the stopping."""
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _loopback_without_proxy() -> None:
    """A proxy of the person's shell must not be asked for what runs on this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join([*hosts, "127.0.0.1", "localhost"])


if __name__ == "__main__":
    sys.exit(main())
