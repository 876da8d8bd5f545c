"""Predictions and metrics as Labelbox's NDJSON rows, plain dictionaries. Pure.

https://docs.labelbox.com/reference/import-text-annotations: the confidence of a choice stands inside each answer.
The SDK's own types would drop a confidence of 0.0 (it then reads as 1), so the rows are made here.
"""

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jobkit.evaluation import THRESHOLD_WORDS, THRESHOLDS
from jobkit.json_lines import dumps

MAX_METRICS_PER_ROW = 20  # Labelbox keeps no more a data row
METRIC_NAME = "classification"  # not one of the names that Labelbox reserves (precision, recall, f1, iou, ...)
_NAMESPACE = uuid.UUID("0d9a9bb0-2f0c-5c0e-9f0e-6a8f0f7f5b1a")
_NAMED = hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False)

Row = dict[str, Any]


def row_uuid(*parts: str) -> str:
    """The same parts give the same uuid, so a repeated upload names the same annotation.

    It is uuid.uuid5 of the joined parts, written out: millions are made, and the library's takes three times as long.
    """
    name = _NAMED.copy()
    name.update("\n".join(parts).encode())
    digits = name.hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def to_line(row: Row) -> str:
    """The row as one line of NDJSON; the same row gives the same bytes."""
    return dumps(row).decode()


def _confidence(value: float) -> float:
    return round(min(max(float(value), 0.0), 1.0), 6)


def radio_row(scope: str, data_row_id: str, question_id: str, option_id: str, confidence: float) -> Row:
    """One answer to a radio (or dropdown) question; `scope` is the model run."""
    return {
        "uuid": row_uuid(scope, data_row_id, question_id),
        "dataRow": {"id": data_row_id},
        "schemaId": question_id,
        "answer": {"schemaId": option_id, "confidence": _confidence(confidence)},
    }


def checklist_row(scope: str, data_row_id: str, question_id: str, answers: Mapping[str, float]) -> Row:
    """The ticked answers (option id -> confidence) of a checklist question."""
    return {
        "uuid": row_uuid(scope, data_row_id, question_id),
        "dataRow": {"id": data_row_id},
        "schemaId": question_id,
        "answer": [{"schemaId": key, "confidence": _confidence(answers[key])} for key in sorted(answers)],
    }


def entity_row(scope: str, data_row_id: str, tool_id: str, start: int, end: int, confidence: float) -> Row:
    """One entity; `end` is inclusive, as Labelbox counts."""
    return {
        "uuid": row_uuid(scope, data_row_id, tool_id, str(start), str(end)),
        "dataRow": {"id": data_row_id},
        "schemaId": tool_id,
        "confidence": _confidence(confidence),
        "location": {"start": start, "end": end},
    }


def box_row(
    scope: str, data_row_id: str, tool_id: str, box: tuple[float, float, float, float], confidence: float
) -> Row:
    """One bounding box (top, left, height, width in pixels)."""
    top, left, height, width = box
    place = dumps(box)[1:-1].decode()  # "top,left,height,width" in a twentieth of the time that an f-string takes
    return {
        "uuid": row_uuid(scope, data_row_id, tool_id, place),
        "dataRow": {"id": data_row_id},
        "schemaId": tool_id,
        "confidence": _confidence(confidence),
        "bbox": {"top": top, "left": left, "height": height, "width": width},
    }


def confusion_row(data_row_id: str, feature: str, counts: dict[str, list[int]], metric_name: str = METRIC_NAME) -> Row:
    """Confidence -> [TP, FP, TN, FN] of one class on one data row."""
    return {
        "dataRow": {"id": data_row_id},
        "metricName": metric_name,
        "featureName": feature,
        "metricValue": counts,
        "aggregation": "CONFUSION_MATRIX",
    }


def classification_metric_rows(
    data_row_id: str, truth: Collection[str], answers: Mapping[str, float], features: Mapping[str, str]
) -> tuple[list[Row], int]:
    """Metric rows of one labelled row, and how many were cut off.

    Only classes that are present (labelled, or answered with at least the lowest threshold) get a row, the labelled
    ones first and then the surest. `features` maps display names to the names that the ontology uses.
    """
    lowest = THRESHOLDS[0]
    answered = [name for name, confidence in answers.items() if confidence >= lowest and name not in truth]
    present = [*sorted(truth), *sorted(answered, key=lambda name: (-answers[name], name))]
    rows = [
        confusion_row(data_row_id, features.get(name, name), _counts(name in truth, answers.get(name)))
        for name in present[:MAX_METRICS_PER_ROW]
    ]
    return rows, max(len(present) - MAX_METRICS_PER_ROW, 0)


def _counts(true: bool, confidence: float | None) -> dict[str, list[int]]:
    """Up to the confidence the class is said, above it not."""
    reached = bisect_right(THRESHOLDS, confidence) if confidence is not None else 0
    said, unsaid = ([1, 0, 0, 0], [0, 0, 0, 1]) if true else ([0, 1, 0, 0], [0, 0, 0, 0])
    return dict(zip(THRESHOLD_WORDS, [said] * reached + [unsaid] * (len(THRESHOLDS) - reached), strict=True))


def without_confidence(row: Row) -> Row:
    """The prediction as a pre-label: Labelbox ignores confidences there (and the SDK warns of each)."""
    kept = {key: value for key, value in row.items() if key != "confidence"}
    answer = kept.get("answer")
    if isinstance(answer, list):
        kept["answer"] = [without_confidence(one) for one in answer]
    elif isinstance(answer, dict):
        kept["answer"] = without_confidence(answer)
    return kept


def at_least(answers: Mapping[str, float], minimum: float) -> dict[str, float]:
    """The answers worth uploading."""
    return {name: confidence for name, confidence in answers.items() if confidence >= minimum}


def count_predictions(rows: Iterable[Row]) -> int:
    """How many of the rows are predictions, not metrics."""
    return sum("metricName" not in row for row in rows)
