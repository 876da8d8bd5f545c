"""Export rows with entities for tests, and the three jobs as a test runs them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etl.ner.main import main as etl
from inference.ner.main import main as inference
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.storage import Storage
from tests.jobs import exports
from train.ner.main import main as train

PERSON, CITY = "tool-person", "tool-city"
NAMES = {PERSON: "Person", CITY: "City"}


def entity(text: str, token: str, tool: str = PERSON, occurrence: int = 0, **more: Any) -> dict[str, Any]:
    """The entity as Labelbox exports it: the n-th occurrence of `token`, the end inclusive; `more` overrides."""
    start = -1
    for _ in range(occurrence + 1):
        start = text.index(token, start + 1)
    body = {
        "feature_id": f"feature-{start}",
        "feature_schema_id": tool,
        "name": NAMES.get(tool, tool),
        "value": NAMES.get(tool, tool).lower(),
        "annotation_kind": "TextEntity",
        "classifications": [],
        "location": {"start": start, "end": start + len(token) - 1, "token": token},
    }
    return body | more


def label(*objects: dict[str, Any], skipped: bool = False) -> dict[str, Any]:
    made = exports.label(skipped=skipped)
    made["annotations"]["objects"] = list(objects)
    return made


def tool(tool_id: str, name: str = "", kind: str = "named-entity") -> dict[str, Any]:
    return {
        "featureSchemaId": tool_id,
        "name": name or NAMES.get(tool_id, tool_id),
        "tool": kind,
        "classifications": [],
    }


TOOLS = (tool(PERSON), tool(CITY))


def sample(folder: Path, rows: Iterable[dict[str, Any]], tools: Sequence[dict[str, Any]] = TOOLS) -> Path:
    """A folder that the Labelbox stand-in serves."""
    exports.sample(folder, rows, [])
    ontology = {"name": "ontology", "normalized": {"tools": list(tools), "classifications": []}}
    (folder / "ontology.json").write_text(json.dumps(ontology), encoding="utf-8")
    return folder


def good_rows(count: int = 40) -> list[dict[str, Any]]:
    """Both classes in all three splits."""
    rows = []
    for number in range(count):
        text = f"{['Ada', 'Bo', 'Cleo', 'Dan', 'Eve'][number % 5]}{number} went to Paris{number} today"
        name, city = text.split()[0], text.split()[3]
        labels = [label(entity(text, name), entity(text, city, CITY))]
        rows.append(exports.row(f"good{number}", text, labels, exports.split_of(number)))
    return rows


class Jobs:
    """The three jobs, one after the other, each handing its outputs on."""

    def __init__(self, folder: str, storage: Storage, run_id: str = exports.RUN_ID) -> None:
        self.folder = folder
        self.storage = storage
        self.run_id = run_id

    def _places(self, stage: str) -> list[str]:
        return [f"--output-uri={self.folder}/{stage}/", f"--ending-uri={self.folder}/{stage}/ending/"]

    def etl(self, *more: str, stage: str = "etl") -> int:
        return etl([f"--model-run-id={self.run_id}", *self._places(stage), *more])

    def train(self, *more: str) -> int:
        training_file = self.ending("etl")["outputs"]["training_file"]
        return train([f"--training-file={training_file}", *self._places("train"), *more])

    def predict(self, *more: str, stage: str = "inference") -> int:
        data = self.ending("etl")["outputs"]
        given = [f"--manifest={data['manifest']}", f"--dataset-report={data['dataset_report']}"]
        return inference([f"--model-run-id={self.run_id}", *given, *self._places(stage), *more])

    def predict_with_model(self, *more: str, stage: str = "inference") -> dict[str, Any]:
        assert self.predict(f"--model={self.ending('train')['outputs']['model']}", *more, stage=stage) == 0
        return self.ending(stage)

    def ending(self, stage: str, file: str = "result.json") -> dict[str, Any]:
        return self.json(f"{stage}/ending/7001/{file}")

    def json(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.storage.read_text(f"{self.folder}/{path}"))
        return body

    def report(self) -> dict[str, Any]:
        return self.json("etl/dataset_report.json")

    def manifest(self) -> dict[str, ManifestRow]:
        return {row.data_row_id: row for row in read_manifest(self.storage, f"{self.folder}/etl/manifest.jsonl")}

    def lines(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.storage.read_lines(f"{self.folder}/{path}")]

    def spans(self, row: ManifestRow) -> list[tuple[str, str]]:
        """(text, class) of a row's entities."""
        entities = (row.details or {}).get("entities", ())
        return [(row.content[one["start"] : one["end"]], one["name"]) for one in entities]
