"""Makes the hotel-review sample (export.ndjson, ontology.json) from the sentences in reviews.json; own text.

`python samples/text_multi_classification/make.py [FOLDER]` writes the same bytes every time. Each sentence about a
topic belongs to one split, so the test split is about sentences that training never saw.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20262
MODEL_ID = "8d2b6f70-4c19-4b3e-a7f5-1e90c8d3b642"
MODEL_RUN_ID = "e47c9a15-70b2-4f6d-8a3c-5b1d2e9f0846"
QUESTION = "Which topics does the review mention?"
SENTENCES = {
    "training": slice(0, 12),
    "validation": slice(12, 16),
    "test": slice(16, 20),
}  # of a topic, after a shuffle
ROWS = {"training": 150, "validation": 40, "test": 40}
TOPICS = (1, 1, 1, 2, 2, 2, 3, 0)  # how many topics a review mentions; 0: it says nothing about any


def identity(*parts: str) -> str:
    """A made-up id in Labelbox's manner: the same parts give the same id."""
    return "cl" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:23]


def slug(name: str) -> str:
    """Labelbox's `value` of a label."""
    return "".join(character if character.isalnum() else "_" for character in name.lower()).strip("_")


class Writer:
    """Writes reviews out of the sentences of one split."""

    def __init__(self, source: dict[str, dict[str, list[str]]], chance: random.Random) -> None:
        self._slots = source["slots"]
        self._chance = chance
        self._openings = list(source["openings"])
        self._nothing = sorted(source["nothing"])
        self._topics = {}
        chance.shuffle(self._nothing)
        for topic, sentences in source["topics"].items():
            shuffled = sorted(sentences)
            chance.shuffle(shuffled)
            self._topics[topic] = shuffled

    def review(self, split: str, number: int) -> tuple[str, list[str]]:
        """(text, topics)."""
        topics = self._chance.sample(sorted(self._topics), TOPICS[number % len(TOPICS)])
        sentences = [self._chance.choice(self._topics[topic][SENTENCES[split]]) for topic in topics]
        if not topics:
            third = {"training": slice(0, 6), "validation": slice(6, 9), "test": slice(9, 12)}[split]
            sentences = [self._chance.choice(self._nothing[third])]
        if self._chance.random() < 0.5:
            sentences.insert(0, self._chance.choice(self._openings))
        return " ".join(self._fill(sentence) for sentence in sentences), topics

    def _fill(self, sentence: str) -> str:
        for name, values in self._slots.items():
            while "{" + name + "}" in sentence:
                sentence = sentence.replace("{" + name + "}", self._chance.choice(values), 1)
        return sentence


def ontology(topics: list[str]) -> dict[str, object]:
    """The ontology as Labelbox's GetOntology gives it."""
    options = [
        {
            "schemaNodeId": identity("node", name),
            "featureSchemaId": identity("schema", name),
            "label": name,
            "value": slug(name),
            "options": [],
        }
        for name in topics
    ]
    question = {
        "schemaNodeId": identity("node", QUESTION),
        "featureSchemaId": identity("schema", QUESTION),
        "required": False,
        "type": "checklist",
        "name": QUESTION,
        "instructions": QUESTION,
        "scope": "global",
        "options": options,
    }
    return {"name": "Hotel reviews", "normalized": {"tools": [], "classifications": [question]}}


def label(key: str, topics: list[str]) -> dict[str, object]:
    """One labeler's ticks; a label without any tick is an answer, too."""
    answers = [
        {
            "feature_id": identity("feature", key, topic),
            "feature_schema_id": identity("schema", topic),
            "name": topic,
            "value": slug(topic),
            "classifications": [],
        }
        for topic in sorted(topics)
    ]
    classification = {
        "feature_id": identity("feature", key),
        "feature_schema_id": identity("schema", QUESTION),
        "name": QUESTION,
        "value": slug(QUESTION),
        "checklist_answers": answers,
    }
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": identity("label", key),
        "annotations": {
            "objects": [],
            "classifications": [classification] if topics else [],
            "relationships": [],
        },
    }


def row(number: int, split: str, text: str, labels: list[dict[str, object]]) -> dict[str, object]:
    """One export row as the model run's export gives it."""
    key = f"review-{number:04d}"
    run = {
        "name": "run 1",
        "run_data_row_id": identity("run row", key),
        "split": split.upper(),
        "labels": labels,
        "predictions": [],
    }
    return {
        "data_row": {"id": identity("data row", key), "external_id": f"{key}.txt", "global_key": key, "row_data": text},
        "media_attributes": {"asset_type": "text", "mime_type": "text/plain"},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {MODEL_ID: {"name": "Review topics", "runs": {MODEL_RUN_ID: run}}},
    }


def rows(source: dict[str, dict[str, list[str]]]) -> Iterator[dict[str, object]]:
    """Labelled reviews, no text twice, the splits mixed; then five that nobody labelled."""
    chance = random.Random(SEED)  # noqa: S311 - for sentences, not for secrets
    writer = Writer(source, chance)
    found: dict[str, tuple[str, list[str]]] = {}
    for split, count in ROWS.items():
        for number in range(count):
            text, topics = writer.review(split, number)
            found.setdefault(text, (split, topics))
    unlabelled = [writer.review("training", number)[0] for number in range(5)]
    order = list(found.items())
    chance.shuffle(order)
    for number, (text, (split, topics)) in enumerate(order, start=1):
        yield row(number, split, text, [label(f"review-{number:04d}", topics)])
    for number, text in enumerate((one for one in unlabelled if one not in found), start=len(order) + 1):
        yield row(number, "training", text, [])


def main(folder: Path) -> None:
    """Writes both files."""
    source = json.loads((HERE / "reviews.json").read_text(encoding="utf-8"))
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in rows(source)]
    (folder / "export.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(ontology(list(source["topics"])), ensure_ascii=False, indent=1)
    (folder / "ontology.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
