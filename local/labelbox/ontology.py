"""What an ontology knows: questions and tools by name and feature schema id; read from a file or from the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Json = Mapping[str, object]

# A label's key -> the tool or question kind in `normalized` (contracts: export v2 annotation bodies).
TOOL_OF_BODY = {
    "bounding_box": "rectangle",
    "polygon": "polygon",
    "line": "line",
    "point": "point",
    "location": "named-entity",
    "mask": "raster-segmentation",
    "composite_mask": "raster-segmentation",
}
QUESTION_OF_ANSWER = {
    "radio_answer": "radio",
    "checklist_answers": "checklist",
    "dropdown_answer": "dropdown",
    "dropdown_answers": "dropdown",
    "text_answer": "text",
}


@dataclass(frozen=True)
class Feature:
    """A tool, a question or an option; `kind` is rectangle, polygon, ..., radio, checklist, text or option."""

    kind: str
    names: tuple[str, ...]
    schema_id: str
    children: tuple[Feature, ...] = ()

    def child(self, name: object, schema_id: object) -> Feature | None:
        """The option or nested question that a row names, by `schemaId` or else by `name`."""
        return named(self.children, name, schema_id)


@dataclass(frozen=True)
class Ontology:
    """One ontology as GetOntology gives it."""

    id: str
    name: str
    normalized: Json
    features: tuple[Feature, ...] = field(compare=False)

    @property
    def tool_count(self) -> int:
        """How many object tools it has."""
        return len(_objects(self.normalized.get("tools")))

    @property
    def classification_count(self) -> int:
        """How many global questions it has."""
        return len(_objects(self.normalized.get("classifications")))

    def feature(self, name: object, schema_id: object) -> Feature | None:
        """The tool or global question that a row names."""
        return named(self.features, name, schema_id)

    def all_names(self) -> frozenset[str]:
        """Every name of a tool, question or option at any depth (what a metric may point at)."""
        return frozenset(name for feature in _walk(self.features) for name in feature.names)


def named(features: Sequence[Feature], name: object, schema_id: object) -> Feature | None:
    """The feature with this schema id; with only a name, the one of that name. Both given must agree."""
    for feature in features:
        if schema_id is not None and feature.schema_id != schema_id:
            continue
        if name is not None and name not in feature.names:
            continue
        return feature
    return None


def ontology_of(identity: str, document: Json) -> Ontology:
    """From {"name", "normalized": {tools, classifications}}. ValueError says what is missing."""
    normalized = document.get("normalized")
    if not isinstance(normalized, Mapping):
        raise ValueError('an ontology needs "normalized": {"tools": [...], "classifications": [...]}')
    features = [_tool(tool) for tool in _objects(normalized.get("tools"))]
    features += [_question(question) for question in _objects(normalized.get("classifications"))]
    return Ontology(
        str(document.get("id") or identity), str(document.get("name") or "ontology"), normalized, tuple(features)
    )


def _tool(tool: Json) -> Feature:
    children = tuple(_question(question) for question in _objects(tool.get("classifications")))
    return Feature(str(tool.get("tool")), (str(tool.get("name")),), str(tool.get("featureSchemaId")), children)


def _question(question: Json) -> Feature:
    options = tuple(_option(option) for option in _objects(question.get("options")))
    names = (str(question.get("name") or question.get("instructions")),)
    return Feature(str(question.get("type")), names, str(question.get("featureSchemaId")), options)


def _option(option: Json) -> Feature:
    names = tuple(dict.fromkeys(str(option[key]) for key in ("label", "value") if option.get(key)))
    nested = tuple(_question(question) for question in _objects(option.get("options")))
    return Feature("option", names, str(option.get("featureSchemaId")), nested)


def _walk(features: Sequence[Feature]) -> Iterator[Feature]:
    for feature in features:
        yield feature
        yield from _walk(feature.children)


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


class Derivation:
    """An ontology grown from the labels of an export: it knows the features and options that were used."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tools: dict[str, dict[str, object]] = {}
        self._questions: dict[str, dict[str, object]] = {}

    def learn(self, label: Json) -> None:
        """Take in one label of an export row ({"annotations": {"objects", "classifications"}})."""
        annotations = label.get("annotations")
        if not isinstance(annotations, Mapping):
            return
        for body in _objects(annotations.get("objects")):
            self._learn_tool(body)
        for body in _objects(annotations.get("classifications")):
            _learn_question(self._questions, body)

    def document(self) -> dict[str, object]:
        """The ontology in the form of GetOntology."""
        tools = [{**tool, "classifications": _listed(tool["classifications"])} for tool in self._tools.values()]
        return {"name": self._name, "normalized": {"tools": tools, "classifications": _listed(self._questions)}}

    def _learn_tool(self, body: Json) -> None:
        kind = next((tool for key, tool in TOOL_OF_BODY.items() if key in body), None)
        if kind is None:
            return
        schema_id = _schema_id(body)
        known = self._tools.setdefault(
            schema_id,
            {
                "schemaNodeId": _node_id(schema_id),
                "featureSchemaId": schema_id,
                "required": False,
                "name": str(body.get("name")),
                "tool": kind,
                "color": "#" + hashlib.sha256(schema_id.encode()).hexdigest()[:6],
                "classifications": {},
            },
        )
        questions = known["classifications"]
        assert isinstance(questions, dict)
        for nested in _objects(body.get("classifications")):
            _learn_question(questions, nested)


def _learn_question(questions: dict[str, dict[str, object]], body: Json) -> None:
    key = next((answer for answer in QUESTION_OF_ANSWER if answer in body), None)
    if key is None:
        return
    schema_id = _schema_id(body)
    name = str(body.get("name"))
    known = questions.setdefault(
        schema_id,
        {
            "schemaNodeId": _node_id(schema_id),
            "featureSchemaId": schema_id,
            "required": False,
            "type": QUESTION_OF_ANSWER[key],
            "name": name,
            "instructions": name,
            "scope": "global",
            "options": {},
        },
    )
    options = known["options"]
    assert isinstance(options, dict)
    answers = body.get(key) if key != "text_answer" else None
    for answer in _objects(answers if isinstance(answers, list) else [answers]):
        _learn_option(options, answer)


def _learn_option(options: dict[str, dict[str, object]], answer: Json) -> None:
    schema_id = _schema_id(answer)
    name = str(answer.get("name"))
    known = options.setdefault(
        schema_id,
        {
            "schemaNodeId": _node_id(schema_id),
            "featureSchemaId": schema_id,
            "label": name,
            "value": str(answer.get("value") or name),
            "options": {},
        },
    )
    nested = known["options"]
    assert isinstance(nested, dict)
    for question in _objects(answer.get("classifications")):
        _learn_question(nested, question)


def _listed(features: object) -> list[dict[str, object]]:
    assert isinstance(features, dict)
    return [{**feature, "options": _listed(feature["options"])} for feature in features.values()]


def _schema_id(body: Json) -> str:
    """Its feature schema id; an export without them gets one made of the name, the same at each start."""
    return str(body.get("feature_schema_id") or "cs" + hashlib.sha256(str(body.get("name")).encode()).hexdigest()[:23])


def _node_id(schema_id: str) -> str:
    return "cn" + hashlib.sha256(schema_id.encode()).hexdigest()[:23]
