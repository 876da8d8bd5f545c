"""A prediction file to its row statuses: data rows, annotations, metrics, and the limits that span rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from local.labelbox.annotations import annotation_problems
from local.labelbox.metrics import is_metric, metric_key, metric_problems
from local.labelbox.ontology import Ontology

MOST_ANNOTATIONS = 5_000  # per data row and name: labelbox 7.17.0, ANNOTATION_PER_LABEL_LIMIT
MOST_METRICS = 20  # per data row: Labelbox's notebooks on custom metrics


@dataclass(frozen=True)
class Destination:
    """Where predictions go: the data rows it knows and its ontologies (a row needs one that fits)."""

    row_ids: Mapping[str, object]
    global_keys: Mapping[str, str]
    removed: frozenset[str]
    ontologies: tuple[Ontology, ...]
    takes_metrics: bool

    def data_row_id(self, named: Mapping[str, object]) -> str | None:
        """The id of the data row that {"id"} or {"globalKey"} names, or None."""
        identity = named.get("id")
        if identity is None:
            identity = self.global_keys.get(str(named.get("globalKey")))
        known = isinstance(identity, str) and identity in self.row_ids and identity not in self.removed
        return str(identity) if known else None


@dataclass(frozen=True)
class Judged:
    """One row's outcome. `key` is what makes the prediction or metric the same one when it is sent again."""

    status: dict[str, object]
    kind: str
    key: str
    data_row_id: str

    @property
    def good(self) -> bool:
        """Whether the row was taken."""
        return self.status["status"] == "SUCCESS"


@dataclass
class Judge:
    """Judges the rows of one import in order. `metrics` are the keys that each data row has from earlier imports."""

    destination: Destination
    import_id: str
    metrics: dict[str, set[str]] = field(default_factory=dict)
    _uuids: set[str] = field(default_factory=set)
    _annotations: Counter[tuple[str, str]] = field(default_factory=Counter)

    def rows(self, lines: Iterable[bytes]) -> Iterator[Judged]:
        """One outcome for each line that is not blank."""
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield self._judged(row, number)
            else:
                yield _failure({}, number, "InvalidJson", [f"line {number + 1} is no JSON object"])

    def _judged(self, row: Mapping[str, object], number: int) -> Judged:
        named = row.get("dataRow")
        if not isinstance(named, Mapping) or (named.get("id") is None) == (named.get("globalKey") is None):
            return _failure(row, number, "InvalidDataRow", ['exactly one of dataRow "id" and "globalKey" is required'])
        data_row_id = self.destination.data_row_id(named)
        if data_row_id is None:
            return _failure(row, number, "DataRowNotFound", [f"data row {dict(named)} is not part of the destination"])
        uuid = row.get("uuid")
        if uuid is not None and (not isinstance(uuid, str) or uuid in self._uuids):
            return _failure(row, number, "InvalidUuid", [f"uuid {uuid!r} is no text or stands twice in this import"])
        if uuid is not None:
            self._uuids.add(str(uuid))
        if is_metric(row):
            return self._judged_metric(row, number, data_row_id)
        return self._judged_annotation(row, number, data_row_id)

    def _judged_annotation(self, row: Mapping[str, object], number: int, data_row_id: str) -> Judged:
        problems = self._best(annotation_problems(row, ontology) for ontology in self.destination.ontologies)
        slot = (data_row_id, str(row.get("name") or row.get("schemaId")))
        if not problems and self._annotations[slot] >= MOST_ANNOTATIONS:
            problems = [f"data row {data_row_id} has more than {MOST_ANNOTATIONS} annotations for {slot[1]}"]
        if problems:
            return _failure(row, number, "InvalidAnnotation", problems)
        self._annotations[slot] += 1
        key = str(row.get("uuid") or f"{self.import_id}:{number}")
        return Judged(_status(row), "prediction", key, data_row_id)

    def _judged_metric(self, row: Mapping[str, object], number: int, data_row_id: str) -> Judged:
        if not self.destination.takes_metrics:
            return _failure(row, number, "InvalidMetric", ["a project takes no metrics, only a model run does"])
        problems = self._best(metric_problems(row, ontology) for ontology in self.destination.ontologies)
        key = metric_key(row, data_row_id)
        keys = self.metrics.setdefault(data_row_id, set())
        if not problems and key not in keys and len(keys) >= MOST_METRICS:
            problems = [f"data row {data_row_id} has more than {MOST_METRICS} metrics"]
        if problems:
            return _failure(row, number, "InvalidMetric", problems)
        keys.add(key)
        return Judged(_status(row), "metric", key, data_row_id)

    @staticmethod
    def _best(attempts: Iterable[list[str]]) -> list[str]:
        return min(attempts, key=len, default=["there is no ontology"])


def _status(row: Mapping[str, object]) -> dict[str, object]:
    return {"uuid": row.get("uuid"), "dataRow": row.get("dataRow"), "status": "SUCCESS"}


def _failure(row: Mapping[str, object], number: int, name: str, problems: list[str]) -> Judged:
    errors = [{"name": name, "message": problem} for problem in problems]
    return Judged({**_status(row), "status": "FAILURE", "errors": errors}, "", str(number), "")
