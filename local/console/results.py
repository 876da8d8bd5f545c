"""What a finished run left in the bucket: each data row with its label and its prediction, judged."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from local.console.annotations import Annotations, of_predictions
from local.console.data_rows import SPLITS, DataRow, of_manifest_row
from local.console.data_sets import DataSet
from local.console.paging import Page, page_of
from local.console.verdicts import confident, rule, verdict
from orchestrator.facts import Ended
from orchestrator.run import Run
from orchestrator.storage import ObjectStore

PAGE_SIZE = 24
USUAL_CUT = 0.5
_KEPT = 2  # runs whose results are held; those of 100,000 rows are 100 MB
_READ = frozenset(("predictions", "metrics", "report", "manifest", "dataset_report"))


@dataclass(frozen=True)
class Judged:
    """A data row, what was predicted for it, and whether that is right."""

    row: DataRow
    predicted: Annotations
    verdict: str


class Results:
    """The predictions of one run. Lines are parsed again when shown; only their judgement is held parsed."""

    def __init__(
        self, rows: list[bytes] | DataSet, predicted: dict[str, list[bytes]], names: Mapping[str, str]
    ) -> None:
        self._rows, self._predicted, self._names = rows, predicted, names
        self.cut = USUAL_CUT
        self.judgements: list[tuple[str, str]] = []
        self.rule = ""
        self.classes: list[str] = []

    def judge(self, cut: float) -> None:
        """Judge every row, once."""
        self.cut = cut
        classes: set[str] = set()
        richest = Annotations()
        for row in self._every_row():
            predicted = self._prediction(row.id)
            self.judgements.append((row.split, verdict(row.label, predicted, cut)))
            classes.update((row.label.names if row.label else []) + predicted.names)
            if predicted.boxes or predicted.entities:
                richest = predicted
        self.classes = sorted(classes)
        self.rule = rule(richest, cut)

    def _every_row(self) -> Iterable[DataRow]:
        if isinstance(self._rows, DataSet):
            return self._rows.rows()
        return (of_manifest_row(json.loads(line)) for line in self._rows)

    def _prediction(self, data_row_id: str) -> Annotations:
        return of_predictions(self._predicted.get(data_row_id, ()), self._names)

    def counts(self, split: str = "") -> Counter[str]:
        """Rows by verdict, of all splits or of one."""
        return Counter(judged for of, judged in self.judgements if split in ("", of))

    @property
    def splits(self) -> list[tuple[str, int]]:
        """Rows by split, in the order of the splits."""
        counts = Counter(split for split, _ in self.judgements)
        return [(split, counts[split]) for split in SPLITS if counts[split]]

    def page(self, number: str | None, split: str, judged: str) -> Page[Judged]:
        """One page of the rows of a split and a verdict; an empty one means any."""
        places = [
            place for place, (of, found) in enumerate(self.judgements) if split in ("", of) and judged in ("", found)
        ]
        chosen = page_of(places, number, PAGE_SIZE)
        items = tuple(self._judged(place) for place in chosen.items)
        return Page(items, chosen.number, chosen.count, chosen.total, chosen.size)

    def _judged(self, place: int) -> Judged:
        rows = self._rows
        row = rows.row(place) if isinstance(rows, DataSet) else of_manifest_row(json.loads(rows[place]))
        return Judged(row, confident(self._prediction(row.id), self.cut), self.judgements[place][1])


class ResultReader:
    """Reads results out of the bucket; those of the last runs that were looked at are held, for they never change."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store, self._prefix = store, f"gs://{bucket}/"
        self._held: OrderedDict[str, Results | None] = OrderedDict()
        self._lock = Lock()

    def of(self, run: Run, data_set: DataSet | None) -> Results | None:
        """The results of a run that has ended; None if it left no predictions that can be read line by line."""
        name = str(run.id)
        with self._lock:
            if name not in self._held:
                self._held[name] = self._read(run, data_set)
                if len(self._held) > _KEPT:
                    self._held.popitem(last=False)
            self._held.move_to_end(name)
            return self._held[name]

    def can_show(self, run: Run, data_set: DataSet | None) -> bool:
        """Whether there is something to read, as far as the run's outputs say."""
        files = files_of(run)
        is_file = self._is_ours(files.get("predictions", ""))
        return is_file and (data_set is not None or self._is_ours(files.get("manifest", "")))

    def _is_ours(self, uri: str) -> bool:
        return uri.startswith(self._prefix) and not uri.endswith("/")

    def report(self, run: Run) -> bytes | None:
        """The report's HTML, or None if there is none."""
        return self._bytes(files_of(run).get("report", ""))

    def image(self, name: str) -> bytes | None:
        """An image that some run stored under its content's hash."""
        return self._store.read(f"images/{name}")

    def _read(self, run: Run, data_set: DataSet | None) -> Results | None:
        files = files_of(run)
        predicted = self._lines(files.get("predictions", ""))
        manifest = self._lines(files.get("manifest", ""))
        if predicted is None or (manifest is None and data_set is None):
            return None
        rows = manifest if manifest is not None else data_set
        assert rows is not None
        names = data_set.overview.names if data_set else {}
        results = Results(rows, _by_data_row(predicted), {**names, **self._class_names(files)})
        results.judge(self._cut(files))
        return results

    def _class_names(self, files: Mapping[str, str]) -> dict[str, str]:
        """Names of schema ids as the run's own report on its data has them."""
        report = self._json(files.get("dataset_report", ""))
        return {
            str(entry["feature_schema_id"]): str(entry["display_name"])
            for entry in report.get("classes", ())
            if entry.get("feature_schema_id") and entry.get("display_name")
        }

    def _cut(self, files: Mapping[str, str]) -> float:
        """The confidence at which the run counted its boxes."""
        figures = self._json(files.get("metrics", "")).get("splits", {})
        return float(figures.get("test", {}).get("confidence", USUAL_CUT))

    def _json(self, uri: str) -> dict[str, Any]:
        content = self._bytes(uri)
        found = json.loads(content) if content else {}
        return found if isinstance(found, dict) else {}

    def _lines(self, uri: str) -> list[bytes] | None:
        content = self._bytes(uri)
        return None if content is None else [line for line in content.split(b"\n") if line.strip()]

    def _bytes(self, uri: str) -> bytes | None:
        """An object of this deployment's bucket; a folder, another bucket and nothing are all None."""
        return self._store.read(uri.removeprefix(self._prefix)) if self._is_ours(uri) else None


def files_of(run: Run) -> dict[str, str]:
    """The files that a run's jobs left, by the outputs' names; a later job's wins, and a file wins over a folder."""
    ends: dict[tuple[str, str], Ended] = run.ended_jobs()
    found: dict[str, str] = {}
    for stage, job in () if run.accepted.abandoned else run.pipeline.jobs():
        ended = ends.get((stage.name, job.name))
        for name, uri in (ended.outputs if ended else {}).items():
            if name in _READ and (name not in found or not uri.endswith("/")):
                found[name] = uri
    return found


def _by_data_row(lines: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Predictions by data row; metric rows, which stand in the same file, are left out."""
    found: dict[str, list[bytes]] = {}
    for line in lines:
        row = json.loads(line)
        if "metricName" not in row:
            found.setdefault(str((row.get("dataRow") or {}).get("id", "")), []).append(line)
    return found
