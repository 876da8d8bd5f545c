"""Makes the office-notes sample (export.ndjson, ontology.json) from the templates and names in notes.json; own text.

`python samples/ner/make.py [FOLDER]` writes the same bytes every time. Each template and each name belongs to one
split, so the test split is about sentences and names that training never saw.
"""

import hashlib
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 20263
MODEL_ID = "b3c85e16-90d7-4f2a-8e61-7a4d0c5f9b28"
MODEL_RUN_ID = "71d9e2b8-3f64-4a0c-9b57-c8e6a1f0d243"
CLASSES = {"person": "Person", "company": "Company", "city": "City", "date": "Date"}
ROWS = {"training": 138, "validation": 39, "test": 54}  # with entities
SLOT = re.compile(r"\{(\w+)\}")

Entity = tuple[int, int, str]  # code points, the end is exclusive


def identity(*parts: str) -> str:
    """A made-up id in Labelbox's manner: the same parts give the same id."""
    return "cl" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]


def fill(template: str, values: dict[str, list[str]], chance: random.Random) -> tuple[str, list[Entity]]:
    """The template with each {slot} filled by a name that it does not hold yet, and where the names stand."""
    text, entities, last = "", [], 0
    used: set[str] = set()
    for slot in SLOT.finditer(template):
        text += template[last : slot.start()]
        name = chance.choice([value for value in values[slot[1]] if value not in used])
        used.add(name)
        entities.append((len(text), len(text) + len(name), slot[1]))
        text += name
        last = slot.end()
    return text + template[last:], entities


def notes(source: dict[str, Any]) -> Iterator[tuple[str, str, list[Entity]]]:
    """(split, text, entities), in a shuffled order."""
    chance = random.Random(SEED)  # noqa: S311 - for sentences, not for secrets
    found: list[tuple[str, str, list[Entity]]] = []
    for split, count in ROWS.items():
        values = {kind: names[split] for kind, names in source["values"].items()}
        templates = source["templates"][split]
        for number in range(count):
            text, entities = fill(templates[number % len(templates)], values, chance)
            found.append((split, text, entities))
        found += [(split, text, []) for text in source["nothing"][split]]
    chance.shuffle(found)
    return iter(found)


def utf16(text: str, offset: int) -> int:
    """The offset as a browser counts: characters beyond the basic plane are two."""
    return len(text[:offset].encode("utf-16-le")) // 2


def label(key: str, text: str, entities: list[Entity], labeler: str = "first") -> dict[str, object]:
    """One labeler's entities; a label without any is an answer, too. The end is inclusive."""
    objects = [
        {
            "feature_schema_id": identity("schema", kind),
            "name": CLASSES[kind],
            "annotation_kind": "TextEntity",
            "location": {"start": utf16(text, start), "end": utf16(text, end) - 1, "token": text[start:end]},
        }
        for start, end, kind in entities
    ]
    annotations = {"objects": objects, "classifications": [], "relationships": []}
    return {"id": identity("label", key, labeler), "annotations": annotations}


def row(number: int, split: str, text: str, labels: list[dict[str, object]]) -> dict[str, object]:
    """One export row as the model run's export gives it (without the parts that training does not need)."""
    run = {"name": "run 1", "split": split.upper(), "labels": labels}
    return {
        "data_row": {"id": identity("data row", str(number)), "global_key": f"note-{number:04d}", "row_data": text},
        "media_attributes": {"asset_type": "text"},
        "experiments": {MODEL_ID: {"name": "Office notes", "runs": {MODEL_RUN_ID: run}}},
    }


def rows(source: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Labelled notes (every 50th by two people), then notes without a label."""
    number = 0
    for number, (split, text, entities) in enumerate(notes(source), start=1):
        key = str(number)
        labels = [label(key, text, entities)]
        if number % 50 == 0:
            labels.append(label(key, text, entities, "second"))
        yield row(number, split, text, labels)
    for text in source["unlabelled"]:
        number += 1
        yield row(number, "training" if number % 2 else "test", text, [])


def ontology() -> dict[str, object]:
    """The ontology as Labelbox's GetOntology gives it."""
    tools = [
        {
            "schemaNodeId": identity("node", kind),
            "featureSchemaId": identity("schema", kind),
            "name": name,
            "tool": "named-entity",
            "required": False,
            "classifications": [],
        }
        for kind, name in CLASSES.items()
    ]
    return {"name": "Office notes", "normalized": {"tools": tools, "classifications": []}}


def main(folder: Path) -> None:
    """Writes both files."""
    source = json.loads((HERE / "notes.json").read_text(encoding="utf-8"))
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in rows(source)]
    (folder / "export.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(ontology(), ensure_ascii=False, indent=1)
    (folder / "ontology.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
