"""Is an annotation row one that Labelbox takes? Pure checks of one NDJSON row; each problem is one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from local.labelbox.ontology import Feature, Ontology

# Body of an object row -> the tool it belongs to (docs.labelbox.com, "upload predictions" of image and text).
_BODIES = {
    "bbox": "rectangle",
    "polygon": "polygon",
    "line": "line",
    "point": "point",
    "mask": "raster-segmentation",
    "location": "named-entity",
}
_BBOX_SIDES = ("top", "left", "height", "width")
_KNOWN_KEYS = {
    "uuid",
    "dataRow",
    "name",
    "schemaId",
    "confidence",
    "customMetrics",
    "classifications",
    "answer",
    "answers",
}


def annotation_problems(row: Mapping[str, object], ontology: Ontology) -> list[str]:
    """Every reason why Labelbox would refuse the row; empty for a good one. The data row is checked elsewhere."""
    name, schema_id = row.get("name"), row.get("schemaId")
    if name is None and schema_id is None:
        return ['one of "name" and "schemaId" is required']
    feature = ontology.feature(name, schema_id)
    if feature is None:
        return [f"the ontology has no feature with {_named(name, schema_id)}"]
    return list(_top_level(row, feature))


def _top_level(row: Mapping[str, object], feature: Feature) -> Iterator[str]:
    unknown = set(row) - _KNOWN_KEYS - set(_BODIES)
    if unknown:
        yield f"unknown keys {sorted(unknown)}"
    bodies = [body for body in _BODIES if body in row]
    if "answer" in row or "answers" in row:
        if bodies:
            yield f"a row holds either an answer or a {bodies[0]}, not both"
        yield from _answers(row, feature)
        if feature.kind != "text" and "confidence" in row:
            yield "the confidence of a radio or checklist question stands inside each answer"
    elif len(bodies) != 1:
        yield f"exactly one of {', '.join([*_BODIES, 'answer'])} is required"
    elif _BODIES[bodies[0]] != feature.kind:
        yield f"{feature.names[0]!r} is a {feature.kind}, {bodies[0]} does not fit it"
    else:
        yield from _body(bodies[0], row[bodies[0]])
    yield from _scores(row)
    yield from _nested(row, feature)


def _answers(row: Mapping[str, object], feature: Feature) -> Iterator[str]:
    answer = row.get("answer", row.get("answers"))
    if feature.kind == "radio" and isinstance(answer, Mapping):
        yield from _option(answer, feature)
    elif feature.kind == "checklist" and isinstance(answer, list):
        if not answer:
            yield f"the answers of {feature.names[0]!r} are empty"
        for item in answer:
            yield from _option(item, feature)
    elif feature.kind != "text" or not isinstance(answer, str):
        kinds = {"radio": "an object", "checklist": "a list of objects", "text": "a string"}
        expected = kinds.get(feature.kind, "no answer")
        yield f"the answer of {feature.names[0]!r} ({feature.kind}) must be {expected}"


def _option(answer: object, question: Feature) -> Iterator[str]:
    if not isinstance(answer, Mapping):
        yield f"an answer of {question.names[0]!r} must be an object"
        return
    name, schema_id = answer.get("name"), answer.get("schemaId")
    if name is None and schema_id is None:
        yield f'an answer of {question.names[0]!r} needs "name" or "schemaId"'
        return
    option = question.child(name, schema_id)
    if option is None:
        yield f"{question.names[0]!r} has no option with {_named(name, schema_id)}"
        return
    yield from _scores(answer)
    yield from _nested(answer, option)


def _nested(row: Mapping[str, object], parent: Feature) -> Iterator[str]:
    nested = row.get("classifications")
    if nested is None:
        return
    if not isinstance(nested, list):
        yield '"classifications" must be a list'
        return
    for body in nested:
        name, schema_id = (body.get("name"), body.get("schemaId")) if isinstance(body, Mapping) else (None, None)
        question = parent.child(name, schema_id) if (name or schema_id) is not None else None
        if question is None:
            yield f"{parent.names[0]!r} has no nested question with {_named(name, schema_id)}"
            continue
        yield from _answers(body, question)
        yield from _scores(body)


def _scores(row: Mapping[str, object]) -> Iterator[str]:
    if "confidence" in row and not (is_number(row["confidence"]) and 0 <= float(str(row["confidence"])) <= 1):
        yield f"confidence {row['confidence']!r} is no number between 0 and 1"
    metrics = row.get("customMetrics")
    if metrics is None:
        return
    if not isinstance(metrics, list):
        yield '"customMetrics" must be a list'
        return
    for metric in metrics:
        if not (isinstance(metric, Mapping) and isinstance(metric.get("name"), str) and is_number(metric.get("value"))):
            yield f"custom metric {metric!r} needs a name and a number as value"


def _body(kind: str, body: object) -> Iterator[str]:
    if kind == "bbox":
        sides = [body.get(side) for side in _BBOX_SIDES] if isinstance(body, Mapping) else [None]
        if not all(is_number(side) for side in sides):
            yield f"a bbox needs the numbers {', '.join(_BBOX_SIDES)}"
        elif float(str(sides[2])) <= 0 or float(str(sides[3])) <= 0:
            yield "a bbox needs a height and a width above 0"
    elif kind == "location":
        start, end = (body.get("start"), body.get("end")) if isinstance(body, Mapping) else (None, None)
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end):
            yield "a location needs integers 0 <= start <= end (the end is inclusive)"
    elif kind in ("polygon", "line"):
        least = 3 if kind == "polygon" else 2
        if not (isinstance(body, list) and len(body) >= least and all(_is_point(point) for point in body)):
            yield f"a {kind} needs at least {least} points with x and y"
    elif kind == "point":
        if not _is_point(body):
            yield "a point needs x and y"
    elif not (isinstance(body, Mapping) and (body.get("instanceURI") or body.get("png"))):
        yield "a mask needs an instanceURI with colorRGB, or a png"


def _is_point(value: object) -> bool:
    return isinstance(value, Mapping) and is_number(value.get("x")) and is_number(value.get("y"))


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number (true and false are none)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value == value and value not in (float("inf"), float("-inf"))


def _named(name: object, schema_id: object) -> str:
    parts = [f"{key} {value!r}" for key, value in (("name", name), ("schemaId", schema_id)) if value is not None]
    return " and ".join(parts) or "no name"
