"""Forgetting a data row: every copy of it that the deployment made, found first and removed only after that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.deployment import Deployment
from ops.errors import NotFound, OpsError
from ops.row_traces import LINE_FILES, Traces, cleaned, is_readable
from ops.run_lookup import load_runs, run_ids
from ops.vertex_leftovers import Leftover
from orchestrator.identities import RunId, run_of_labels
from orchestrator.run import Run

MANIFEST = "manifest.jsonl"
_FOUND_BY = (MANIFEST, "dataset_report.json", "report.html")
_FOLDERS = ("data", "batch")
ELSEWHERE = (
    "Labelbox keeps the data row, its labels and predictions: delete it there, or the next run reads it again.",
    "Objects that were removed can be restored as long as the bucket's soft delete keeps them.",
    "Logs name data rows by their ids where a row could not be read; they go with the log bucket's retention.",
)


@dataclass(frozen=True)
class Change:
    """An object that is written anew without the row, or removed."""

    name: str
    gone: str
    removed: bool


@dataclass(frozen=True)
class ForgetPlan:
    """Everything to do, in the order in which it is done; and what cannot be done."""

    data_row: str
    runs: tuple[RunId, ...]
    traces: Traces
    changes: tuple[Change, ...]
    datasets: tuple[Leftover, ...]
    out_of_reach: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data_row": self.data_row,
            "runs": [str(run) for run in self.runs],
            "objects": [{"name": item.name, "removed": item.removed, "gone": item.gone} for item in self.changes],
            "vertex": [{"kind": item.kind, "name": item.name} for item in self.datasets],
            "out_of_reach": list(self.out_of_reach),
        }


class Forgetting:
    """Looks for one data row, by its id or global key, through all runs of a deployment."""

    def __init__(self, deployment: Deployment, data_row: str) -> None:
        self._store = deployment.services.store
        self._deployment, self._row = deployment, data_row
        self._shared: dict[str, set[str]] = {}  # image -> other data rows that show it

    def plan(self) -> ForgetPlan:
        """What would be done. Reads only. NotFound where the row is nowhere; OpsError while a run of it goes on."""
        traces, holders = Traces(frozenset({self._row})), list[Run]()
        for run in load_runs(self._deployment, run_ids(self._deployment)):
            found = self._traces_in(run.id)
            if found is not None:
                holders.append(run)
                traces = Traces(traces.names | found.names, traces.contents | found.contents)
        kept = [*self._kept_outcomes(traces)]
        if not holders and not kept:
            raise NotFound(f"No run has a data row {self._row}", "give its data row id or its global key")
        if going := [str(run.id) for run in holders if run.finished is None and not run.accepted.abandoned]:
            raise OpsError(f"{', '.join(going)} is under way with this data row", "cancel it, or wait for its end")
        runs = tuple(sorted(run.id for run in holders))
        images, shared = self._images(traces)
        changes = [*kept, *images, *(change for run in runs for change in self._changes(run, traces))]
        leftovers = self._deployment.leftovers.list(self._deployment.settings.deployment_name)
        of_runs = [item for item in leftovers if run_of_labels(dict(item.labels)) in runs]
        return ForgetPlan(
            self._row,
            runs,
            traces,
            # The manifests last: the row is found by them, so that an interrupted command can be repeated.
            tuple(sorted(changes, key=lambda change: (change.name.endswith(_FOUND_BY), change.name))),
            tuple(item for item in of_runs if item.kind == "data set"),
            (*shared, *self._models(runs, of_runs), *ELSEWHERE),
        )

    def carry_out(self, planned: ForgetPlan) -> None:
        """Do what the plan says. Safe to repeat: what is gone stays gone, and manifests come last."""
        for item in planned.datasets:
            self._deployment.leftovers.delete(item)
        for change in planned.changes:
            if change.removed:
                self._store.delete(change.name)
            elif (content := self._store.read(change.name)) is not None:
                found = cleaned(change.name, content, planned.traces)
                if found and found.content is not None:
                    self._store.delete(change.name)
                    self._store.create(change.name, found.content)

    def _objects(self, run: RunId) -> Iterator[str]:
        for folder in _FOLDERS:
            yield from (item.name for item in self._store.list(f"{folder}/{run.slug}/{run.number}/"))

    def _traces_in(self, run: RunId) -> Traces | None:
        """What the row is known by in a run: from its manifests, and by the ids in its reports, which outlast
        the manifests of a cleaned run."""
        names: set[str] = set()
        contents: set[str] = set()
        for name in self._objects(run):
            if not name.endswith(_FOUND_BY) or (data := self._store.read(name)) is None:
                continue
            if not name.endswith(MANIFEST):
                names |= {self._row} if cleaned(name, data, Traces(frozenset({self._row}))) else set()
                continue
            for row in map(json.loads, filter(None, data.split(b"\n"))):
                idents = {row["data_row_id"], row.get("global_key")} - {None, ""}
                if self._row in idents:
                    names |= idents
                    contents.add(row["content"])
                elif row["content"].startswith("gs://"):
                    self._shared.setdefault(row["content"], set()).add(row["data_row_id"])
        return Traces(frozenset(names), frozenset(filter(None, contents))) if names else None

    def _changes(self, run: RunId, traces: Traces) -> Iterator[Change]:
        for name in self._objects(run):
            if is_readable(name) and (content := self._store.read(name)) is not None:
                found = cleaned(name, content, traces)
                if found:
                    yield Change(name, found.gone, found.content is None)

    def _kept_outcomes(self, traces: Traces) -> Iterator[Change]:
        """What runs leave for later comparisons."""
        for item in self._store.list("reports/"):
            if item.name.endswith(LINE_FILES) and (content := self._store.read(item.name)) is not None:
                found = cleaned(item.name, content, Traces(traces.names))
                if found:
                    yield Change(item.name, found.gone, removed=False)

    def _images(self, traces: Traces) -> tuple[list[Change], list[str]]:
        """The row's image bytes go, unless another data row shows the very same."""
        prefix = f"gs://{self._deployment.settings.bucket}/"
        own = [content.removeprefix(prefix) for content in traces.contents if content.startswith(prefix)]
        gone, stay = [], []
        for name in own:
            others = sorted(self._shared.get(prefix + name, ()))
            if others:
                stay.append(f"{name} stays: data row {', '.join(others[:5])} shows the same picture.")
            elif self._store.read(name) is not None:
                gone.append(Change(name, "the picture", removed=True))
        return gone, stay

    def _models(self, runs: tuple[RunId, ...], of_runs: list[Leftover]) -> Iterator[str]:
        """Models may have learned from the row; nobody can take it out of them."""
        for item in of_runs:
            if item.kind != "data set":
                yield f"{item.kind} {item.name} may have learned from it: delete it, or train anew without the row."
        for run in runs:
            unread = sorted({name.rpartition("/")[0] + "/" for name in self._objects(run) if not is_readable(name)})
            if unread:
                yield f"models and caches of {run} may hold what was learned from it: {', '.join(unread)}"
