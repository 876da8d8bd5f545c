"""`python -m local run-all`: a sample run of every model type, one after the other, and one table of how they ended.

Each run is a `python -m local run` of its own, so that none finds anything of another's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local.summary import FILE_NAME

EXIT_COMPLETE, EXIT_FAILED = 0, 1
COMPLETE = "COMPLETE"
# The figure that says most of a model, by kind of data: the first of these that a run has.
HEADLINES = ("map_50", "micro_f1", "accuracy", "f1")
BASELINE = "majority_baseline"


@dataclass(frozen=True)
class Ended:
    """How one run ended. `metric` is empty, and `value` None, where none was measured; `jobs` were launched."""

    pipeline: str
    status: str
    seconds: float
    metric: str = ""
    value: float | None = None
    baseline: float | None = None
    jobs: int = 0
    predictions: int = 0
    sentence: str = ""

    @property
    def complete(self) -> bool:
        """Whether the run did what it was asked for."""
        return self.status == COMPLETE


def ended(pipeline: str, summary: Mapping[str, Any] | None) -> Ended:
    """What a run's summary says; a run that left none could not even begin."""
    if summary is None or summary.get("pipeline") != pipeline:
        return Ended(pipeline, "NOT STARTED", 0.0, sentence="its output above says why")
    metrics = summary["metrics"]
    metric = next((name for name in HEADLINES if name in metrics), "")
    if metric == "micro_f1" and metrics[metric] == metrics.get("accuracy"):
        metric = "accuracy"  # with one class a row both are the same figure, and this is the better known name
    return Ended(
        pipeline,
        summary["status"],
        summary["seconds"],
        metric,
        metrics.get(metric),
        metrics.get(BASELINE),
        sum(len(stage["jobs"]) for stage in summary["stages"]),
        summary["predictions"],
        summary["sentence"],
    )


def table(runs: Sequence[Ended]) -> Table:
    """One line a run."""
    shown = Table(title=f"{sum(run.complete for run in runs)} of {len(runs)} model types COMPLETE")
    for name in ("pipeline", "state", "seconds", "metric on test rows", "", "majority baseline", "jobs", "predictions"):
        numbers = name in ("seconds", "", "majority baseline", "jobs", "predictions")
        shown.add_column(name, justify="right" if numbers else "left", no_wrap=True)
    for run in runs:
        state = f"[green]{run.status}[/]" if run.complete else f"[red]{run.status}[/]"
        shown.add_row(
            run.pipeline,
            state,
            f"{run.seconds:.0f}",
            run.metric,
            _figure(run.value),
            _figure(run.baseline),
            str(run.jobs),
            str(run.predictions),
        )
    return shown


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def run_one(pipeline: str, local_dir: Path, timeout_s: float) -> Mapping[str, Any] | None:
    """Runs a pipeline on its sample, its output on ours; its summary, or None where it left none."""
    (local_dir / FILE_NAME).unlink(missing_ok=True)
    words = ["--pipeline", pipeline, "--local-dir", str(local_dir), "--timeout-s", str(timeout_s)]
    child = subprocess.Popen([sys.executable, "-m", "local", "run", *words], start_new_session=True)
    try:
        child.wait()
    except BaseException:  # Ctrl-C: the run stops its cloud, whatever the person presses meanwhile
        os.kill(child.pid, signal.SIGINT)
        child.wait()
        raise
    try:
        found: dict[str, Any] = json.loads((local_dir / FILE_NAME).read_text())
    except (OSError, ValueError):
        return None
    return found


Runner = Callable[[str], Mapping[str, Any] | None]


def run_all(pipelines: Sequence[str], console: Console, run: Runner) -> int:
    """Runs them all, also after one that failed, and prints the table; 0 only when each is COMPLETE."""
    runs: list[Ended] = []
    try:
        for number, name in enumerate(pipelines, start=1):
            console.rule(f"{name} ({number} of {len(pipelines)})")
            runs.append(ended(name, run(name)))
    finally:
        if runs:
            console.print(table(runs))
        for one in runs:
            if not one.complete and one.sentence:
                console.print(f"{one.pipeline}: {one.sentence}", style="red", highlight=False, markup=False)
    return EXIT_COMPLETE if all(one.complete for one in runs) else EXIT_FAILED
