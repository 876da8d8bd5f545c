"""What the Labelbox tests share: a small sample made on the spot, a running stand-in, and ways to speak to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from local.labelbox.corpus import Source, load, sample
from local.labelbox.server import LabelboxServer

KEY = "local-key"
MODEL, RUN, OTHER_RUN = "model-1", "run-1", "run-2"
PROJECT = "project-1"
SPLITS = ("TRAINING", "TRAINING", "VALIDATION", "TEST", "UNASSIGNED")
TRICKY = "zwei Zeilen\u2028mit Umlaut ä und 😀"


def question(kind: str, name: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "schemaNodeId": f"sn-{name}",
        "featureSchemaId": f"fs-{name}",
        "type": kind,
        "name": name,
        "instructions": name,
        "scope": "global",
        "required": False,
        "options": [
            {"schemaNodeId": f"sn-{o}", "featureSchemaId": f"fs-{o}", "label": o, "value": o.lower(), "options": []}
            for o in options
        ],
    }


def tool(kind: str, name: str, classifications: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {
        "schemaNodeId": f"sn-{name}",
        "featureSchemaId": f"fs-{name}",
        "name": name,
        "tool": kind,
        "color": "#ff0000",
        "required": False,
        "classifications": list(classifications),
    }


ONTOLOGY = {
    "name": "moods",
    "normalized": {
        "tools": [
            tool("rectangle", "box", (question("radio", "ripe", ("Yes", "No")),)),
            tool("named-entity", "person"),
            tool("polygon", "shape"),
        ],
        "classifications": [
            question("radio", "mood", ("Good", "Bad")),
            question("checklist", "topics", ("Food", "Staff")),
            question("text", "note"),
        ],
    },
}


def radio_label(answer: str) -> dict[str, Any]:
    feature = {"feature_id": "f1", "feature_schema_id": "fs-mood", "name": "mood", "value": "mood"}
    chosen = {"feature_id": "f2", "feature_schema_id": f"fs-{answer}", "name": answer, "value": answer.lower()}
    classification = {**feature, "radio_answer": {**chosen, "classifications": []}}
    annotations = {"objects": [], "classifications": [classification], "relationships": []}
    return {"label_kind": "Default", "version": "1.0.0", "id": f"label-{answer}", "annotations": annotations}


def export_row(number: int, model: str = MODEL, run: str = RUN, row_data: str | None = None) -> dict[str, Any]:
    body = {
        "name": "run 1",
        "run_data_row_id": f"rdr-{number}",
        "split": SPLITS[number % 5],
        "labels": [radio_label("Good" if number % 2 else "Bad")],
        "predictions": [],
    }
    runs = {run: body}
    if run == RUN:
        runs[OTHER_RUN] = {**body, "name": "run 2", "split": "TEST"}
    return {
        "data_row": {
            "id": f"dr-{number}",
            "external_id": f"{number}.txt",
            "global_key": f"gk-{number}",
            "row_data": row_data or f"files/{number}.txt",
            "details": {"dataset_name": "d"},
        },
        "media_attributes": {"asset_type": "text", "mime_type": "text/plain"},
        "attachments": [],
        "metadata_fields": [{"schema_id": "m1", "value": TRICKY}],
        "projects": {PROJECT: {}},
        "experiments": {model: {"name": "Moods", "runs": runs}},
    }


def make_sample(folder: Path, rows: int = 5) -> Path:
    """A sample folder: every row belongs to two runs of one model, and its text lies under files/."""
    (folder / "files").mkdir(parents=True)
    (folder / "export.ndjson").write_text(
        "".join(json.dumps(export_row(n), ensure_ascii=False) + "\n" for n in range(rows))
    )
    (folder / "ontology.json").write_text(json.dumps(ONTOLOGY))
    for number in range(rows):
        (folder / "files" / f"{number}.txt").write_text(f"text {number} {TRICKY}")
    return folder


class Service:
    """A stand-in that runs, with its control paths as methods."""

    def __init__(self, server: LabelboxServer) -> None:
        self.server = server
        self.url = server.base_url
        self.endpoint = f"{self.url}/graphql"

    def settings(self, **wanted: object) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_control/settings", json=wanted, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def state(self, run: str = RUN) -> dict[str, Any]:
        return dict(requests.get(f"{self.url}/_control/state", timeout=5).json()["model_runs"][run])

    def ask(
        self, query: str, variables: dict[str, Any] | None = None, *, path: str = "/graphql", key: str = KEY
    ) -> Any:
        body = {"query": query, "variables": variables}
        return requests.post(self.url + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=5)


@contextmanager
def serving(state_dir: Path, *sources: Source, port: int = 0) -> Iterator[Service]:
    server = LabelboxServer(load(sources), state_dir, KEY, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Service(server)
    finally:
        server.close()
        thread.join()


@contextmanager
def serving_sample(tmp_path: Path, rows: int = 5) -> Iterator[Service]:
    with serving(tmp_path / "state", sample(make_sample(tmp_path / "moods", rows))) as service:
        yield service
