"""Export rows and ontologies for tests, in the shapes that Labelbox writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MODEL_ID = "model-1"
RUN_ID = "run-1"


def radio(question: str, option: str, name: str = "", value: str = "") -> dict[str, Any]:
    answer = {"feature_schema_id": option, "name": name or option, "value": value or option, "classifications": []}
    return {"feature_schema_id": question, "name": question, "value": question, "radio_answer": answer}


def checklist(question: str, options: Sequence[str]) -> dict[str, Any]:
    answers = [{"feature_schema_id": one, "name": one, "value": one, "classifications": []} for one in options]
    return {"feature_schema_id": question, "name": question, "value": question, "checklist_answers": answers}


def label(*classifications: Mapping[str, Any], skipped: bool = False) -> dict[str, Any]:
    return {
        "label_kind": "Default",
        "id": "label",
        "performance_details": {"skipped": skipped},
        "annotations": {"objects": [], "classifications": list(classifications), "relationships": []},
    }


def row(
    row_id: str,
    row_data: object,
    labels: Sequence[Mapping[str, Any]] = (),
    split: str | None = "TRAINING",
    run_id: str = RUN_ID,
) -> dict[str, Any]:
    run: dict[str, Any] = {"name": "run", "labels": list(labels), "predictions": []}
    if split is not None:
        run["split"] = split
    return {
        "data_row": {"id": row_id, "external_id": None, "global_key": f"key-{row_id}", "row_data": row_data},
        "media_attributes": {"asset_type": "text", "mime_type": "text/plain"},
        "experiments": {MODEL_ID: {"name": "model", "runs": {run_id: run}}},
    }


def options(*names: str) -> list[dict[str, Any]]:
    return [{"featureSchemaId": name, "label": name, "value": name, "options": []} for name in names]


def question(name: str, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"featureSchemaId": name, "name": name, "instructions": name, "type": kind, "options": choices}


def sample(folder: Path, rows: Iterable[Mapping[str, Any]], questions: Sequence[Mapping[str, Any]]) -> Path:
    """A folder that the Labelbox stand-in serves."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "export.ndjson").open("w", encoding="utf-8") as lines:
        for one in rows:
            lines.write(json.dumps(one) + "\n")
    ontology = {"name": "ontology", "normalized": {"tools": [], "classifications": list(questions)}}
    (folder / "ontology.json").write_text(json.dumps(ontology), encoding="utf-8")
    return folder


def split_of(number: int) -> str:
    """Eight of ten in training, one in each of the others."""
    return {8: "VALIDATION", 9: "TEST"}.get(number % 10, "TRAINING")
