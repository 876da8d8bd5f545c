"""What was said about a data row, by a person or by a model: classes, entities, boxes. Pure.

Three writings of the same are read here: the export's (https://docs.labelbox.com/reference/label-export), that of a
run's manifest, and the NDJSON rows in which predictions are kept and imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A class of the whole data row. `confidence` is None where a person said so."""

    name: str
    confidence: float | None = None


@dataclass(frozen=True)
class Entity:
    """A span of a text, from `start` up to but not including `end`, in characters."""

    start: int
    end: int
    name: str
    confidence: float | None = None


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the image."""

    left: float
    top: float
    width: float
    height: float
    name: str
    confidence: float | None = None


@dataclass(frozen=True)
class Annotations:
    """All that was said about one data row."""

    choices: tuple[Choice, ...] = ()
    entities: tuple[Entity, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every class that occurs, each once, in the order of their names."""
        kinds: tuple[Iterable[Choice | Entity | Box], ...] = (self.choices, self.entities, self.boxes)
        return sorted({item.name for kind in kinds for item in kind})


def of_export(annotations: Mapping[str, Any]) -> Annotations:
    """A label of an export row. Kinds that nothing here trains on (polygons, free text) are left out."""
    choices = [Choice(name) for item in annotations.get("classifications") or () for name in _answers(item)]
    entities: list[Entity] = []
    boxes: list[Box] = []
    for item in annotations.get("objects") or ():
        name = str(item.get("name") or item.get("feature_schema_id") or "")
        if place := item.get("location"):
            entities.append(Entity(int(place["start"]), int(place["end"]) + 1, name))  # Labelbox's end is inclusive
        elif box := item.get("bounding_box"):
            boxes.append(_box(box, name))
    return Annotations(tuple(choices), tuple(entities), tuple(boxes))


def _answers(item: Mapping[str, Any]) -> Iterator[str]:
    answers = [item["radio_answer"]] if item.get("radio_answer") else item.get("checklist_answers") or ()
    for answer in answers:
        yield str(answer.get("name") or answer.get("feature_schema_id") or "")


def schema_names(annotations: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(feature schema id, name) of everything in a label of an export row."""
    for item in (*(annotations.get("objects") or ()), *(annotations.get("classifications") or ())):
        answers = item.get("checklist_answers") or ([item["radio_answer"]] if item.get("radio_answer") else [])
        for named in (item, *answers):
            if named.get("feature_schema_id") and named.get("name"):
                yield str(named["feature_schema_id"]), str(named["name"])


def of_manifest(row: Mapping[str, Any]) -> Annotations:
    """The labels of a manifest's row, as the model was trained and measured on them."""
    details = row.get("details") or {}
    if boxes := details.get("boxes"):
        return Annotations(boxes=tuple(_box(box, str(box["name"])) for box in boxes))
    if spans := details.get("entities"):
        found = (Entity(int(span["start"]), int(span["end"]), str(span["name"])) for span in spans)
        return Annotations(entities=tuple(found))
    return Annotations(choices=tuple(Choice(str(name)) for name in row.get("labels") or ()))


def of_predictions(lines: Iterable[bytes], names: Mapping[str, str]) -> Annotations:
    """The NDJSON rows of one data row; `names` has the name of each feature schema id."""
    choices: list[Choice] = []
    entities: list[Entity] = []
    boxes: list[Box] = []
    for line in lines:
        row = json.loads(line)
        name, confidence = _name(row, names), row.get("confidence")
        if box := row.get("bbox"):
            boxes.append(_box(box, name, confidence))
        elif place := row.get("location"):
            entities.append(Entity(int(place["start"]), int(place["end"]) + 1, name, confidence))
        elif (answer := row.get("answer")) is not None:
            given = answer if isinstance(answer, list) else [answer]
            choices += (
                Choice(_name(item, names), item.get("confidence", confidence))
                for item in given
                if isinstance(item, Mapping)
            )
    choices.sort(key=lambda choice: -(1.0 if choice.confidence is None else choice.confidence))
    entities.sort(key=lambda entity: (entity.start, entity.end))
    return Annotations(tuple(choices), tuple(entities), tuple(boxes))


def _name(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    schema = str(row.get("schemaId") or "")
    return names.get(schema) or str(row.get("name") or schema)


def _box(box: Mapping[str, Any], name: str, confidence: float | None = None) -> Box:
    left, top, width, height = (float(box[side]) for side in ("left", "top", "width", "height"))
    return Box(left, top, width, height, name, confidence)
