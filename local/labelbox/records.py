"""Labelbox's objects as Records, with the fields that labelbox 7.17.0 asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local.labelbox.corpus import ModelRun
from local.labelbox.errors import BadInput
from local.labelbox.execution import Arguments, Record
from local.labelbox.exports import Exports
from local.labelbox.ontology import Ontology
from local.labelbox.store import Store

ONLY_USER = "cl00000000000000000user01"
LONG_AGO = "2026-01-01T00:00:00.000Z"  # created and updated of what stands in a file and has no time of its own
LARGEST_PAGE = 100


def model_run_record(run: ModelRun, config: dict[str, object] | None) -> Record:
    """A model run."""
    fields: dict[str, object] = {
        "id": run.id,
        "name": run.name,
        "modelId": run.model_id,
        "modelAppId": None,
        "createdBy": ONLY_USER,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "trainingMetadata": config,
    }
    return Record("ModelRun", fields)


def ontology_record(ontology: Ontology, media_type: str) -> Record:
    """An ontology."""
    fields: dict[str, object] = {
        "id": ontology.id,
        "name": ontology.name,
        "description": None,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "normalized": ontology.normalized,
        "objectSchemaCount": ontology.tool_count,
        "classificationSchemaCount": ontology.classification_count,
        "mediaType": media_type or None,
    }
    return Record("Ontology", fields)


def user_record(created_tasks: Callable[[Arguments], object]) -> Record:
    """The user that every API key belongs to."""
    fields: dict[str, object] = {
        "id": ONLY_USER,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "lastLoginAt": None,
        "email": "local@example.com",
        "name": "local",
        "nickname": "local",
        "picture": None,
        "isViewer": False,
        "isExternalUser": False,
        "createdTasks": created_tasks,
    }
    return Record("User", fields)


def project_record(identity: str) -> Record:
    """A project; only its id matters here."""
    fields: dict[str, object] = {
        "id": identity,
        "name": identity,
        "description": "",
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "setupComplete": LONG_AGO,
        "modelSetupComplete": None,
        "lastActivityTime": None,
        "autoAuditNumberOfLabels": 1,
        "autoAuditPercentage": 0,
        "dataRowCount": 0,
        "uploadType": None,
        "editorTaskType": None,
        "allowedMediaType": None,
        "isBenchmarkEnabled": False,
        "isConsensusEnabled": False,
    }
    return Record("Project", fields)


class DataRows:
    """The data rows of a model run, page by page."""

    def __init__(self, store: Store, exports: Exports) -> None:
        self._store = store
        self._exports = exports
        self._kept: tuple[object, dict[str, str], frozenset[str]] = (None, {}, frozenset())

    def page(self, run: ModelRun, after: object, first: object) -> Record:
        """At most `first` rows after the cursor; the last page's endCursor is null."""
        size = LARGEST_PAGE if first is None else first
        if not isinstance(size, int) or not 1 <= size <= LARGEST_PAGE:
            raise BadInput(f'Argument "first" must be between 1 and {LARGEST_PAGE}.')
        if after is not None and not (isinstance(after, str) and after.isdigit()):
            raise BadInput('Argument "after" is no cursor of this list.')
        splits, removed = self._changes(run.id)
        nodes: list[Record] = []
        cursor = None
        for position, row in run.rows(int(str(after)) if after is not None else 0):
            if str(_object(row["data_row"])["id"]) in removed:
                continue
            if len(nodes) == size:
                cursor = str(position)
                break
            nodes.append(self._node(run, row, splits))
        return Record("AnnotationGroups", {"nodes": nodes, "pageInfo": Record("PageInfo", {"endCursor": cursor})})

    def _changes(self, run_id: str) -> tuple[dict[str, str], frozenset[str]]:
        """Assigned splits and removed rows; kept between the pages of a list, as they may be as many as the rows."""
        state = (run_id, self._store.row_changes(run_id))
        kept, splits, removed = self._kept
        if kept != state:
            splits, removed = self._store.splits(run_id), self._store.removed(run_id)
            self._kept = (state, splits, removed)
        return splits, removed

    def _node(self, run: ModelRun, row: Mapping[str, object], splits: Mapping[str, str]) -> Record:
        data_row = _object(row["data_row"])
        body = _object(_object(_object(_object(row["experiments"])[run.model_id])["runs"])[run.id])
        labels = body.get("labels")
        label_id = labels[0].get("id") if isinstance(labels, list) and labels else None
        identity = str(data_row["id"])
        node: dict[str, object] = {
            "id": body.get("run_data_row_id") or f"{run.id}.{identity}",
            "labelId": label_id,
            "modelRunId": run.id,
            "dataSplit": splits.get(identity) or str(body.get("split") or "UNASSIGNED").upper(),
            "dataRow": self._data_row(run, row, data_row),
        }
        return Record("AnnotationGroup", node)

    def _data_row(self, run: ModelRun, row: Mapping[str, object], data_row: Mapping[str, object]) -> Record:
        fields: dict[str, object] = {
            "id": data_row["id"],
            "externalId": data_row.get("external_id"),
            "globalKey": data_row.get("global_key"),
            "rowData": self._exports.row_data(run, str(data_row.get("row_data") or "")),
            "mediaAttributes": row.get("media_attributes") or {},
            "customMetadata": [],
            "metadataFields": [],
            "createdAt": LONG_AGO,
            "updatedAt": LONG_AGO,
        }
        return Record("DataRow", fields)


def _object(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
