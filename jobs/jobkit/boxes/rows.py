"""Labelbox's NDJSON rows of boxes and of their hits and misses, plain dictionaries. Pure."""

from collections.abc import Iterator, Mapping

from jobkit.boxes.geometry import Boxes
from jobkit.boxes.matching import LOWEST, Matched
from jobkit.dataset_report import ClassEntry
from jobkit.evaluation import THRESHOLDS
from jobkit.labelbox_rows import MAX_METRICS_PER_ROW, Row, box_row, confusion_row

DIGITS = 3  # of a pixel


def prediction_rows(
    scope: str, data_row_id: str, boxes: Boxes, classes: Mapping[str, ClassEntry], minimum: float
) -> Iterator[Row]:
    """A row for each box of a known class with at least the minimum confidence; equal boxes of a class only once."""
    seen: set[str] = set()
    corners = boxes.corners.round(DIGITS)
    edges, sizes = corners[:, :2].tolist(), (corners[:, 2:] - corners[:, :2]).round(DIGITS).tolist()
    for name, (left, top), (width, height), score in zip(boxes.names, edges, sizes, boxes.scores.tolist(), strict=True):
        if name not in classes or score < minimum:
            continue
        row = box_row(scope, data_row_id, classes[name].feature_schema_id, (top, left, height, width), score)
        if row["uuid"] not in seen:
            seen.add(row["uuid"])
            yield row


def metric_name(iou: float) -> str:
    """What Labelbox's own SDK calls a confusion matrix at this overlap: 50pct_iou."""
    return f"{round(iou * 100)}pct_iou"


def metric_rows(
    data_row_id: str, pairs: Mapping[str, Matched], features: Mapping[str, str], iou: float = LOWEST
) -> tuple[list[Row], int]:
    """Confusion rows of one labelled row by class and confidence, and how many were cut off.

    A class that is neither labelled nor predicted with at least the lowest confidence has none; the labelled ones
    come first.
    """
    lowest = THRESHOLDS[0]
    present = [name for name, pair in pairs.items() if pair.labelled[0] or (pair.scores and pair.scores[0] >= lowest)]
    present.sort(key=lambda name: (not pairs[name].labelled[0], name))
    rows, called = [], metric_name(iou)
    for name in present[:MAX_METRICS_PER_ROW]:
        rows.append(confusion_row(data_row_id, features.get(name, name), pairs[name].confusion(), called))
    return rows, max(len(present) - MAX_METRICS_PER_ROW, 0)
