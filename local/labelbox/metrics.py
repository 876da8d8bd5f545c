"""Is a metric row one that Labelbox takes? Pure checks of one NDJSON row; each problem is one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from local.labelbox.annotations import is_number
from local.labelbox.ontology import Ontology

# Names and bounds: labelbox 7.17.0, data/annotation_types/metrics/{scalar,base}.py.
RESERVED_NAMES = frozenset(
    {
        "true_positive_count",
        "false_positive_count",
        "true_negative_count",
        "false_negative_count",
        "precision",
        "recall",
        "f1",
        "iou",
    }
)
AGGREGATIONS = ("ARITHMETIC_MEAN", "GEOMETRIC_MEAN", "HARMONIC_MEAN", "SUM", "CONFUSION_MATRIX")
LEAST_CONFIDENCES, MOST_CONFIDENCES = 2, 15
MOST_VALUE = 100_000_000
_KEYS = {"uuid", "dataRow", "metricName", "metricValue", "aggregation", "featureName", "subclassName"}


def is_metric(row: Mapping[str, object]) -> bool:
    """Whether a row is a metric and no annotation."""
    return "metricName" in row or "metricValue" in row


def metric_key(row: Mapping[str, object], data_row_id: str) -> str:
    """What makes a metric the same one: a later value replaces the earlier."""
    return json.dumps([data_row_id, row.get("metricName"), row.get("featureName"), row.get("subclassName")])


def metric_problems(row: Mapping[str, object], ontology: Ontology) -> list[str]:
    """Every reason why Labelbox would refuse the row; empty for a good one. The data row is checked elsewhere."""
    return list(_problems(row, ontology))


def _problems(row: Mapping[str, object], ontology: Ontology) -> Iterator[str]:
    unknown = set(row) - _KEYS
    if unknown:
        yield f"unknown keys {sorted(unknown)}"
    name = row.get("metricName")
    aggregation = row.get("aggregation", "ARITHMETIC_MEAN")
    if not isinstance(name, str) or not name.strip():
        yield "metricName must be a text"
    elif aggregation != "CONFUSION_MATRIX" and name.strip().lower() in RESERVED_NAMES:
        yield f"metricName {name!r} is reserved"
    if aggregation not in AGGREGATIONS:
        yield f"aggregation {aggregation!r} is none of {', '.join(AGGREGATIONS)}"
    known = ontology.all_names()
    for key in ("featureName", "subclassName"):
        if row.get(key) is not None and row[key] not in known:
            yield f"the ontology has no feature with name {row[key]!r} ({key})"
    if row.get("subclassName") is not None and row.get("featureName") is None:
        yield "subclassName needs featureName"
    yield from _value_problems(row.get("metricValue"), matrix=aggregation == "CONFUSION_MATRIX")


def _value_problems(value: object, *, matrix: bool) -> Iterator[str]:
    values = [value]
    if isinstance(value, Mapping):
        if not LEAST_CONFIDENCES <= len(value) <= MOST_CONFIDENCES:
            yield f"metricValue has {len(value)} confidences, {LEAST_CONFIDENCES} to {MOST_CONFIDENCES} are allowed"
        if not all(_is_confidence(key) for key in value):
            yield "the keys of metricValue must be confidences between 0 and 1"
        values = list(value.values())
    if matrix and not all(_is_matrix(item) for item in values):
        yield "a confusion matrix is four whole numbers of at least 0: TP, FP, TN, FN"
    if not matrix and not all(is_number(item) and 0 <= float(str(item)) <= MOST_VALUE for item in values):
        yield f"a metric's value must be a number between 0 and {MOST_VALUE}"


def _is_matrix(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value)


def _is_confidence(key: object) -> bool:
    try:
        return 0 <= float(str(key)) <= 1
    except ValueError:
        return False
