"""Prediction imports: into a model run or, as pre-labels, into a project; the files sent and the status of each row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

from local.labelbox.corpus import Corpus, ModelRun
from local.labelbox.errors import Conflict, NotFound, Refused
from local.labelbox.links import Links
from local.labelbox.predictions import Destination, Judge, Judged
from local.labelbox.store import Store, now_text
from local.labelbox.switches import SwitchBoard

REFUSAL = "9 FAILED_PRECONDITION: MEA prediction import has been deprecated"
MODEL_RUN, PROJECT = "model_run", "project"
FILES = ("input", "statuses", "errors")
_BATCH = 5_000
_PROGRESS = {2: ("RUNNING", "0%"), 1: ("RUNNING", "50%"), 0: ("FINISHED", "100%")}


class Imports:
    """Takes prediction files. Rows are judged when the import is made; with slow_imports that shows only later."""

    def __init__(self, corpus: Corpus, store: Store, board: SwitchBoard, links: Links, folder: Path) -> None:
        self._corpus = corpus
        self._store = store
        self._board = board
        self._links = links
        self._folder = folder

    def into_run(self, run: ModelRun, name: str, content: bytes) -> dict[str, object]:
        """Import predictions and metrics into a model run; Refused under the switch refuse_predictions."""
        if self._board.now().refuse_predictions:
            raise Refused(REFUSAL)
        removed = self._store.removed(run.id)
        ontologies = (self._corpus.ontology(run),)
        return self._make(
            MODEL_RUN, run.id, name, content, Destination(run.row_ids, run.global_keys, removed, ontologies, True)
        )

    def into_project(self, project: str, name: str, content: bytes) -> dict[str, object]:
        """Import pre-labels into a project: any data row and ontology of the corpus will do."""
        runs = self._corpus.runs.values()
        row_ids: dict[str, object] = {identity: None for run in runs for identity in run.row_ids}
        global_keys = {key: identity for run in runs for key, identity in run.global_keys.items()}
        ontologies = tuple(self._corpus.ontologies.values())
        return self._make(
            PROJECT, project, name, content, Destination(row_ids, global_keys, frozenset(), ontologies, False)
        )

    def look(self, kind: str, parent: str, name: str) -> dict[str, object]:
        """An import as a client sees it now; a look moves a slow one on."""
        with self._store.transaction():
            found = next((entry for entry in self._store.imports(kind, parent) if entry["name"] == name), None)
            if found is None:
                raise NotFound("AnnotationImport", name)
            left = max(0, int(str(found["looks_left"])) - 1)
            body = {key: value for key, value in found.items() if key not in ("id", "name")}
            self._store.update_import(str(found["id"]), {**body, "looks_left": left})
        return self._shown({**found, "looks_left": left}, parent)

    def summaries(self, kind: str, parent: str) -> list[dict[str, object]]:
        """Every import of a run or project for a person to read."""
        return [
            {**{key: entry[key] for key in ("id", "name", "at", "rows", "failures")}, "state": _state(entry)[0]}
            for entry in self._store.imports(kind, parent)
        ]

    def file(self, import_id: str, which: str) -> Path:
        """The file of an import: input, statuses or errors."""
        path = self._folder / import_id / f"{which}.ndjson"
        if which not in FILES or not path.is_file():
            raise NotFound("File", f"{import_id}/{which}")
        return path

    def received(self, run_id: str) -> Iterator[Path]:
        """The files that were sent for a model run, oldest first."""
        for entry in self._store.imports(MODEL_RUN, run_id):
            yield self.file(str(entry["id"]), "input")

    def _make(self, kind: str, parent: str, name: str, content: bytes, destination: Destination) -> dict[str, object]:
        identity = str(uuid4())
        slow = 2 if self._board.now().slow_imports else 0
        failed = self._board.take_one("failed_imports")
        body: dict[str, object] = {"at": now_text(), "looks_left": slow, "rows": 0, "failures": 0, "failed": failed}
        folder = self._folder / identity
        with self._store.transaction():
            if not self._store.add_import(identity, kind, parent, name, body):
                raise Conflict(f"An import named {name!r} already exists.")
            folder.mkdir(parents=True)
            (folder / "input.ndjson").write_bytes(content)
            if not failed:
                judge = Judge(
                    destination, identity, self._store.accepted_keys(parent, "metric") if kind == MODEL_RUN else {}
                )
                rows, failures = self._judge(judge, folder, parent if kind == MODEL_RUN else "")
                body |= {"rows": rows, "failures": failures}
                self._store.update_import(identity, body)
        return self._shown({"id": identity, "name": name, **body}, parent)

    def _judge(self, judge: Judge, folder: Path, run_id: str) -> tuple[int, int]:
        """Write a status for each row; record the good ones of a model run. (rows, failures)."""
        total = failures = 0
        with (
            (folder / "input.ndjson").open("rb") as lines,
            (folder / "statuses.ndjson").open("w") as statuses,
            (folder / "errors.ndjson").open("w") as errors,
        ):
            judged = judge.rows(lines)
            while batch := list(islice(judged, _BATCH)):
                total += len(batch)
                for row in batch:
                    text = json.dumps(row.status) + "\n"
                    statuses.write(text)
                    if not row.good:
                        failures += 1
                        errors.write(text)
                if run_id:
                    self._record(run_id, batch)
        return total, failures

    def _record(self, run_id: str, batch: list[Judged]) -> None:
        for kind in ("prediction", "metric"):
            self._store.accept(
                run_id, kind, [(row.key, row.data_row_id) for row in batch if row.good and row.kind == kind]
            )

    def _shown(self, entry: dict[str, object], parent: str) -> dict[str, object]:
        state, progress = _state(entry)
        done = state == "FINISHED"
        url = {which: self._links.signed(f"/signed/import/{entry['id']}/{which}") for which in FILES}
        return {
            "id": entry["id"],
            "name": entry["name"],
            "state": state,
            "progress": progress,
            "modelRunId": parent,
            "inputFileUrl": url["input"],
            "statusFileUrl": url["statuses"] if done else None,
            "errorFileUrl": url["errors"] if done else None,
        }


def _state(entry: dict[str, object]) -> tuple[str, str]:
    if entry.get("failed") and not entry["looks_left"]:
        return "FAILED", "50%"
    return _PROGRESS[int(str(entry["looks_left"]))]
