"""Cleaning: what may go of runs that ended long ago, found first and removed only after that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ops.deployment import Deployment
from ops.errors import Misuse
from ops.run_lookup import load_runs, run_ids
from ops.vertex_leftovers import Leftover
from orchestrator.identities import RunId, run_of_labels
from orchestrator.run import Run

# What Labelbox links to, and what a later run is compared with: small, and kept.
KEPT_OUTPUTS = ("report", "metrics")
_FOLDERS = ("data", "endings", "batch")
_DELETERS = 8
_AGE = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def read_age(text: str) -> timedelta:
    """`12h`, `30d`, `8w`; or Misuse."""
    match = _AGE.fullmatch(text)
    if not match:
        raise Misuse(f"{text!r} is no age", "write hours, days or weeks: 12h, 30d, 8w")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class OldRun:
    """A run whose data may go: the names of its objects."""

    run: RunId
    finished: datetime
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What would be removed, and what stays although it is old."""

    runs: tuple[OldRun, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    kept: tuple[Leftover, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects of the bucket would go."""
        return sum(len(run.objects) for run in self.runs)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not self.runs and not self.leftovers

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": [
                {"run": str(run.run), "finished": run.finished, "objects": list(run.objects)} for run in self.runs
            ],
            "vertex": [{"kind": item.kind, "name": item.name} for item in self.leftovers],
            "kept": [{"kind": item.kind, "name": item.name, "why": item.kept_for} for item in self.kept],
        }


def plan(deployment: Deployment, age: timedelta) -> Plan:
    """What belongs to runs that finished longer ago than `age`. Reads and lists only.

    Facts stay: they are the record of what happened. So do image bytes, which runs share. A version of a model with
    an alias (`default`, too), or deployed to an endpoint, stays, and so does its run's data.
    """
    limit = deployment.services.now() - age
    marked = {marker.run for marker in deployment.ledger.active()}
    old = {
        run.id: run
        for run in load_runs(deployment, run_ids(deployment))
        if run.finished_at and run.finished_at < limit and run.id not in marked
    }
    leftovers = deployment.leftovers.list(deployment.settings.deployment_name)
    of_old = [item for item in leftovers if run_of_labels(dict(item.labels)) in old]
    kept = tuple(item for item in of_old if item.kept_for)
    protected = {run_of_labels(dict(item.labels)) for item in kept}
    runs = (_old_run(deployment, run) for run_id, run in sorted(old.items()) if run_id not in protected)
    return Plan(
        runs=tuple(run for run in runs if run.objects),
        leftovers=tuple(
            item for item in of_old if not item.kept_for and run_of_labels(dict(item.labels)) not in protected
        ),
        kept=kept,
    )


def _old_run(deployment: Deployment, run: Run) -> OldRun:
    assert run.finished_at
    prefix = f"gs://{deployment.settings.bucket}/"
    kept = {
        value.removeprefix(prefix)
        for ended in run.ended_jobs().values()
        for name, value in ended.outputs.items()
        if name in KEPT_OUTPUTS
    }
    objects = tuple(name for name in _objects_of(deployment, run.id) if name not in kept)
    return OldRun(run.id, run.finished_at, objects)


def _objects_of(deployment: Deployment, run: RunId) -> Iterator[str]:
    for folder in _FOLDERS:
        for item in deployment.services.store.list(f"{folder}/{run.slug}/{run.number}/"):
            yield item.name


def carry_out(deployment: Deployment, planned: Plan) -> None:
    """Remove what the plan names. Safe to repeat: what is gone stays gone, and what failed is planned again."""
    names = [name for run in planned.runs for name in run.objects]
    with ThreadPoolExecutor(_DELETERS) as pool:
        for _ in pool.map(deployment.services.store.delete, names):
            pass
    for leftover in planned.leftovers:
        deployment.leftovers.delete(leftover)
