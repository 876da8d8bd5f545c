"""Lines of an import file: Vertex's JSON for one image with its annotations, read with all its rules."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from local.vertex.automl_rules import BOXES_SCHEMA, ML_USE, ML_USES, MULTI_LABEL_SCHEMA, SINGLE_LABEL_SCHEMA
from local.vertex.rules import label_text_is_legal

MOST_BOXES_PER_IMAGE = 500
SMALLEST_EDGE = 0.01  # of the image's side
SMALLEST_EDGE_PX = 8
LONGEST_SHORT_SIDE_PX = 1024  # larger images are scaled down to it
ANNOTATIONS = {
    SINGLE_LABEL_SCHEMA: "classificationAnnotation",
    MULTI_LABEL_SCHEMA: "classificationAnnotations",
    BOXES_SCHEMA: "boundingBoxAnnotations",
}


class BadLine(ValueError):
    """A line cannot be imported; the text says why."""


@dataclass(frozen=True)
class Box:
    """A labelled rectangle, in parts of the image's sides."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def is_large_enough(self, size: tuple[int, int] | None) -> bool:
        """Tell if it is kept: 1 % of each side, and 8 x 8 pixels once the image (if its size is known) is scaled."""
        width, height = self.x_max - self.x_min, self.y_max - self.y_min
        if min(width, height) < SMALLEST_EDGE:
            return False
        if size is None:
            return True
        scale = min(1.0, LONGEST_SHORT_SIDE_PX / max(1, min(size)))
        return min(width * size[0], height * size[1]) * scale >= SMALLEST_EDGE_PX


@dataclass(frozen=True)
class Item:
    """One data item. `ml_use` is empty when the file does not say."""

    uri: str
    labels: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    ml_use: str = ""
    item_labels: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the item as the store keeps it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Item":
        """Return the item that `to_json` wrote."""
        value = json.loads(text)
        boxes = tuple(Box(**box) for box in value["boxes"])
        return Item(value["uri"], tuple(value["labels"]), boxes, value["ml_use"], value["item_labels"])


def parse_line(line: str, schema: str) -> Item:
    """Return the item of one line under an import schema. Raises BadLine."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadLine(f"the line is not valid JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise BadLine("the line is not a JSON object")
    expected = ANNOTATIONS[schema]
    unknown = sorted(set(value) - {"imageGcsUri", "dataItemResourceLabels", expected})
    if unknown:
        raise BadLine(
            f"unknown field {unknown[0]!r}; this schema takes imageGcsUri, {expected}, dataItemResourceLabels"
        )
    uri = value.get("imageGcsUri")
    if not isinstance(uri, str) or not uri.startswith("gs://") or uri.count("/") < 3:
        raise BadLine(f"imageGcsUri must be gs://bucket/object: {uri!r}")
    item_labels = _item_labels(value.get("dataItemResourceLabels", {}))
    annotations = _annotations(value, expected)
    if schema == BOXES_SCHEMA:
        boxes = tuple(_box(annotation) for annotation in annotations)
        if len(boxes) > MOST_BOXES_PER_IMAGE:
            raise BadLine(f"more than {MOST_BOXES_PER_IMAGE} bounding boxes")
        return Item(uri, (), boxes, item_labels.pop(ML_USE, ""), item_labels)
    labels = tuple(dict.fromkeys(_label(annotation) for annotation in annotations))
    return Item(uri, labels, (), item_labels.pop(ML_USE, ""), item_labels)


def _annotations(value: Mapping[str, Any], expected: str) -> list[Mapping[str, Any]]:
    given = value.get(expected)
    if given is None:
        return []
    annotations = given if expected.endswith("s") else [given]
    if not isinstance(annotations, list) or not all(isinstance(annotation, dict) for annotation in annotations):
        raise BadLine(f"{expected} has the wrong form")
    return annotations


def _label(annotation: Mapping[str, Any]) -> str:
    name = annotation.get("displayName")
    if not isinstance(name, str) or not name.strip():
        raise BadLine("displayName must be a text that is not empty")
    _annotation_labels(annotation)
    return name


def _annotation_labels(annotation: Mapping[str, Any]) -> None:
    if "annotationResourceLabels" in annotation:
        _checked_labels(annotation["annotationResourceLabels"], "annotationResourceLabels")


def _item_labels(value: Any) -> dict[str, str]:
    labels = dict(_checked_labels(value, "dataItemResourceLabels"))
    ml_use = labels.get(ML_USE)
    if ml_use is not None and ml_use not in ML_USES:
        raise BadLine(f"unknown ml_use {ml_use!r}; known are {', '.join(ML_USES)}")
    return labels


def _checked_labels(value: Any, name: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadLine(f"{name} must be an object of texts")
    if len(value) > 64:
        raise BadLine(f"{name} may hold at most 64 labels")
    for key, text in value.items():
        if key != ML_USE and not (key and label_text_is_legal(key) and label_text_is_legal(text)):
            raise BadLine(f"{name}: only lowercase letters, digits, _ and -, at most 64 of them: {key!r}: {text!r}")
    return value


def _box(annotation: Mapping[str, Any]) -> Box:
    edges = [annotation.get(name) for name in ("xMin", "yMin", "xMax", "yMax")]
    if not all(isinstance(edge, int | float) and not isinstance(edge, bool) and 0 <= edge <= 1 for edge in edges):
        raise BadLine("xMin, yMin, xMax and yMax must be numbers of 0 to 1")
    box = Box(_label(annotation), *(float(str(edge)) for edge in edges))
    if box.x_min >= box.x_max or box.y_min >= box.y_max:
        raise BadLine("a bounding box needs xMin < xMax and yMin < yMax")
    return box
