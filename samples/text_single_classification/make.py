"""Makes the support-ticket sample (export.ndjson, ontology.json) from the sentences in tickets.json; own text.

`python samples/text_single_classification/make.py [FOLDER]` writes the same bytes every time. Each template belongs to
one split, so no sentence of the test split has a twin in training.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20261
MODEL_ID = "5f0e7c1a-2b7d-4e0c-9c55-0a6d1f3b8e21"
MODEL_RUN_ID = "c0a1f6d4-8e3b-47a9-b1d2-94e5f7a3c608"
QUESTION = "What does the customer want?"
SPLITS = ("training",) * 15 + ("validation",) * 4 + ("test",) * 5  # of an intent's 24 templates, after a shuffle
SECOND_FILLINGS = 8  # training templates of an intent that are used twice, with other names and numbers
CREATED = "2026-02-0{day}T09:00:00.000+00:00"


def identity(*parts: str) -> str:
    """A made-up id in Labelbox's manner: the same parts give the same id."""
    return "cl" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:23]


def slug(name: str) -> str:
    """Labelbox's `value` of a label."""
    return "".join(character if character.isalnum() else "_" for character in name.lower()).strip("_")


def fill(template: str, slots: dict[str, list[str]], chance: random.Random) -> str:
    """The template with each {slot} filled."""
    for name, values in slots.items():
        while "{" + name + "}" in template:
            template = template.replace("{" + name + "}", chance.choice(values), 1)
    return template


def tickets(source: dict[str, dict[str, list[str]]]) -> Iterator[tuple[str, str, str]]:
    """(split, intent, text), in a shuffled order."""
    chance = random.Random(SEED)  # noqa: S311 - for sentences, not for secrets
    found = []
    for intent, templates in source["intents"].items():
        order = sorted(templates)
        chance.shuffle(order)
        for index, (template, split) in enumerate(zip(order, SPLITS, strict=True)):
            for _ in range(2 if index < SECOND_FILLINGS and "{" in template else 1):
                found.append((split, intent, fill(template, source["slots"], chance)))
    chance.shuffle(found)
    return iter(found)


def ontology(intents: list[str]) -> dict[str, object]:
    """The ontology as Labelbox's GetOntology gives it."""
    options = [
        {
            "schemaNodeId": identity("node", name),
            "featureSchemaId": identity("schema", name),
            "label": name,
            "value": slug(name),
            "options": [],
        }
        for name in intents
    ]
    question = {
        "schemaNodeId": identity("node", QUESTION),
        "featureSchemaId": identity("schema", QUESTION),
        "required": True,
        "type": "radio",
        "name": QUESTION,
        "instructions": QUESTION,
        "scope": "global",
        "uiMode": "hotkey",
        "options": options,
    }
    return {"name": "Support tickets", "normalized": {"tools": [], "classifications": [question]}}


def label(text: str, intent: str, labeler: str) -> dict[str, object]:
    """One labeler's answer."""
    answer = {
        "feature_id": identity("feature", text, labeler, "answer"),
        "feature_schema_id": identity("schema", intent),
        "name": intent,
        "value": slug(intent),
        "classifications": [],
    }
    classification = {
        "feature_id": identity("feature", text, labeler),
        "feature_schema_id": identity("schema", QUESTION),
        "name": QUESTION,
        "value": slug(QUESTION),
        "radio_answer": answer,
    }
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": identity("label", text, labeler),
        "annotations": {"objects": [], "classifications": [classification], "relationships": []},
    }


def skipped_label(text: str) -> dict[str, object]:
    """What remains when a labeler skipped the row."""
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": identity("label", text, "skipped"),
        "performance_details": {"skipped": True},
        "annotations": {"objects": [], "classifications": [], "relationships": []},
    }


def row(number: int, split: str, text: str, labels: list[dict[str, object]]) -> dict[str, object]:
    """One export row as the model run's export gives it."""
    key = f"ticket-{number:04d}"
    details = {
        "dataset_id": identity("dataset"),
        "dataset_name": "Support tickets",
        "created_at": CREATED.format(day=1 + number % 9),
        "updated_at": CREATED.format(day=1 + number % 9),
        "last_activity_at": CREATED.format(day=1 + number % 9),
        "created_by": "labeler@example.com",
    }
    run = {
        "name": "run 1",
        "run_data_row_id": identity("run row", key),
        "split": split.upper(),
        "labels": labels,
        "predictions": [],
    }
    return {
        "data_row": {
            "id": identity("data row", key),
            "external_id": f"{key}.txt",
            "global_key": key,
            "row_data": text,
            "details": details,
        },
        "media_attributes": {"asset_type": "text", "mime_type": "text/plain"},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {MODEL_ID: {"name": "Ticket intent", "runs": {MODEL_RUN_ID: run}}},
    }


def rows(source: dict[str, dict[str, list[str]]]) -> Iterator[dict[str, object]]:
    """Labelled tickets (every 40th by two people), then tickets without a label and one that was skipped."""
    number = 0
    for number, (split, intent, text) in enumerate(tickets(source), start=1):
        labels = [label(text, intent, "first")]
        if number % 40 == 0:
            labels.append(label(text, intent, "second"))
        yield row(number, split, text, labels)
    *unlabelled, skipped = source["unlabelled"]["tickets"]
    for text in unlabelled:
        number += 1
        yield row(number, "training" if number % 2 else "test", text, [])
    yield row(number + 1, "training", skipped, [skipped_label(skipped)])


def main(folder: Path) -> None:
    """Writes both files."""
    source = json.loads((HERE / "tickets.json").read_text(encoding="utf-8"))
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in rows(source)]
    (folder / "export.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(ontology(list(source["intents"])), ensure_ascii=False, indent=1)
    (folder / "ontology.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
