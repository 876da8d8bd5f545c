"""What a person sees: the run's jobs as they go, and at the end the figures, the files and what Labelbox was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.run_view import LAUNCHING, RUNNING, WAITING, JobView, RunView

STATE_WIDTH, DETAIL_WIDTH = 19, 44  # fixed, so that the table does not jump about
_STYLES = {
    WAITING: "dim",
    LAUNCHING: "yellow",
    RUNNING: "cyan",
    "SUCCEEDED": "green",
    "PARTIALLY_SUCCEEDED": "yellow",
    "COMPLETE": "bold green",
}


class Progress:
    """Shows a run while it goes: a live table on a terminal, else a line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._shown: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Progress:
        self._context: AbstractContextManager[object] = self._live or nullcontext()
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)

    def show(self, view: RunView, elapsed_s: float, details: Mapping[str, str]) -> None:
        """Show a moment of the run; `details` has the newest log line of running jobs by job id."""
        if self._live:
            self._live.update(jobs_table(view, elapsed_s, details))
            return
        for job in view.jobs:
            if self._shown.get((job.stage, job.name), WAITING) != job.state:
                self._shown[job.stage, job.name] = job.state
                self._console.print(_line(job, elapsed_s), highlight=False)


def _line(job: JobView, elapsed_s: float) -> str:
    took = f"  ({job.seconds:.1f} s)" if job.ended and job.seconds is not None else ""
    again = f"  attempt {job.attempts}" if job.attempts > 1 else ""
    return f"{elapsed_s:6.1f} s  {job.stage + '/' + job.name:<24} {job.kind:<18} {job.state}{again}{took}"


def jobs_table(view: RunView, elapsed_s: float, details: Mapping[str, str]) -> Table:
    """The jobs in order, each with its state and its time."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("stage", "job", "kind"):
        table.add_column(name, no_wrap=True)
    table.add_column("state", min_width=STATE_WIDTH, no_wrap=True)
    table.add_column(f"{elapsed_s:.0f} s", justify="right", min_width=7, no_wrap=True)
    table.add_column("", min_width=DETAIL_WIDTH, max_width=DETAIL_WIDTH, overflow="ellipsis", no_wrap=True)
    for job in view.jobs:
        state = f"{job.state} (attempt {job.attempts})" if job.attempts > 1 else job.state
        elapsed = "" if job.seconds is None else f"{job.seconds:.1f} s"
        detail = "" if job.ended else details.get(job.job_id, "")
        table.add_row(
            job.stage,
            job.name,
            job.kind,
            Text(state, style=_STYLES.get(job.state, "red")),
            elapsed,
            Text(detail, style="dim"),
        )
    return table


def metrics_table(metrics: Mapping[str, float], caption: str = "") -> Table:
    """The figures of the test split."""
    table = Table(title="metrics of the test split", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        table.add_row(name, f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}")
    return table


def files_table(files: Iterable[tuple[str, Path]]) -> Table:
    """Where what the run made lies on this machine."""
    table = Table(title="files", title_justify="left", show_header=False, box=None)
    table.add_column("what", no_wrap=True)
    table.add_column("where", overflow="fold")
    for name, path in files:
        table.add_row(name, near(path))
    return table


def labelbox_table(statuses: Iterable[str], metadata: Mapping[str, str], error: str) -> Table:
    """What Labelbox was told, in order, and the metadata that stands beside the model run now."""
    table = Table(title="told to Labelbox", title_justify="left", show_header=False, box=None)
    table.add_column("what", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_row("statuses", " > ".join(statuses) or "none")
    if error:
        table.add_row("error", Text(error, style="red"))
    for name, value in sorted(metadata.items()):
        if value:
            table.add_row(name, value)
    return table


def near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
