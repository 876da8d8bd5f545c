"""Watching a run until it ends: a live table on a terminal, else a line for each change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.live import Live
from rich.table import Table

from ops.deployment import Deployment
from ops.errors import OpsError
from ops.run_view import JobRow, job_rows
from ops.screen import Screen, duration, state_text, table
from orchestrator.identities import RunId
from orchestrator.run import Run

COMPLETE = "COMPLETE"


def watch(deployment: Deployment, screen: Screen, run_id: RunId, every_s: float, limit_s: float) -> Run:
    """Show a run until it has finished, and return it; OpsError when `limit_s` seconds were not enough."""
    services = deployment.services
    give_up_at = services.now() + timedelta(seconds=limit_s)
    with _shown(screen) as show:
        while True:
            run, now = deployment.ledger.load(run_id), services.now()
            assert run is not None, "an accepted run stays"
            show.moment(run, list(job_rows(deployment, run, now)), now)
            if run.finished:
                return run
            if now >= give_up_at:
                raise OpsError(f"{run_id} has not ended within {duration(limit_s)}", f"python -m ops show {run_id}")
            services.sleep(every_s)


class Lines:
    """A line for each state of each attempt that was not shown before."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._shown = screen, set[tuple[str, str, int, str]]()

    def moment(self, run: Run, rows: list[JobRow], now: datetime) -> None:
        """Show what is new."""
        for row in rows:
            key = (row.stage, row.job, row.attempt, row.state)
            if row.attempt and key not in self._shown:
                self._shown.add(key)
                took = f" ({duration(row.seconds)})" if row.state not in ("RUNNING", "launching") else ""
                more = f"  {row.sentence}" if row.sentence else ""
                content = {"at": now, "run": str(run.id), "stage": row.stage, "job": row.job}
                self._screen.line(
                    {**content, "attempt": row.attempt, "state": row.state},
                    f"{now:%H:%M:%S}  {row.stage}/{row.job}/{row.attempt}  {row.state}{took}{more}",
                )


class LiveTable:
    """One table that changes."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def moment(self, run: Run, rows: list[JobRow], now: datetime) -> None:
        """Show the run as it is."""
        age = duration((now - run.accepted_at).total_seconds())
        self._live.update(jobs_table(f"{run.id}  {age}", rows))


def jobs_table(title: str, rows: list[JobRow]) -> Table:
    """The attempts of a run's jobs."""
    return table(
        title,
        ("job", "attempt", "kind", "state", "time", "Vertex job"),
        (
            (
                f"{row.stage}/{row.job}",
                str(row.attempt or ""),
                row.kind,
                state_text(row.state),
                duration(row.seconds),
                row.number,
            )
            for row in rows
        ),
        right=frozenset({"attempt", "time"}),
    )


@contextmanager
def _shown(screen: Screen) -> Iterator[Lines | LiveTable]:
    if screen.as_json or not screen.out.is_terminal:
        yield Lines(screen)
        return
    with Live(console=screen.out, refresh_per_second=4) as live:
        yield LiveTable(live)
