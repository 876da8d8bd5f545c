"""Predictions to Labelbox's rows and metric rows, as lines of NDJSON: boxes, classes and entities.

    .venv/bin/python -m benchmarks rows

The limit beside it encodes rows that are already made. The 2022 reference is said in the README: it cannot run today.
"""

from __future__ import annotations

import json

from benchmarks.boxes import NAMES, scenes
from benchmarks.figures import Line, best
from jobkit.boxes.evaluation import BoxEvaluation
from jobkit.boxes.rows import metric_rows, prediction_rows
from jobkit.dataset_report import ClassEntry
from jobkit.labelbox_rows import classification_metric_rows, entity_row, radio_row, to_line

IMAGES, TEXTS, OPTIONS = 1_000, 20_000, 4
GOAL = 100_000.0
CLASSES = {name: ClassEntry(name, f"id of {name}", name) for name in NAMES}


def boxes() -> Line:
    """Each predicted box a row, each class of an image a metric row; pairing the boxes is measured elsewhere."""
    evaluation, features = BoxEvaluation(NAMES), {name: name for name in NAMES}
    paired = [(predicted, evaluation.add(labelled, predicted)) for labelled, predicted in scenes(IMAGES)]
    count = sum(len(predicted) for predicted, _ in paired)
    made: list[dict[str, object]] = []

    def work() -> None:
        for number, (predicted, pairs) in enumerate(paired):
            row = f"row-{number}"
            for line in prediction_rows("run", row, predicted, CLASSES, 0.0):
                to_line(line)
            for line in metric_rows(row, pairs, features)[0]:
                to_line(line)

    for number, (predicted, pairs) in enumerate(paired):
        made += prediction_rows("run", f"row-{number}", predicted, CLASSES, 0.0)
        made += metric_rows(f"row-{number}", pairs, features)[0]
    took, limit = best(3, work), best(3, lambda: [json.dumps(row) for row in made])
    return _line("boxes to rows and metric rows", count / took.cpu_s, count / limit.cpu_s)


def classes() -> Line:
    """One answer of a radio question a text, and its metric rows."""
    answers = {f"option {number}": confidence for number, confidence in enumerate((0.85, 0.05, 0.06, 0.04)[:OPTIONS])}

    def work() -> None:
        for number in range(TEXTS):
            row = f"row-{number}"
            to_line(radio_row("run", row, "question", "option", 0.85))
            for line in classification_metric_rows(row, ("option 0",), answers, {})[0]:
                to_line(line)

    made = [radio_row("run", f"row-{number}", "question", "option", 0.85) for number in range(TEXTS)]
    made += classification_metric_rows("row", ("option 0",), answers, {})[0] * TEXTS
    took, limit = best(3, work), best(3, lambda: [json.dumps(row) for row in made])
    return _line("classes to rows and metric rows", TEXTS / took.cpu_s, TEXTS / limit.cpu_s)


def entities() -> Line:
    """Five entities a text."""

    def work() -> None:
        for number in range(TEXTS):
            to_line(entity_row("run", f"row-{number // 5}", "tool", number % 90, number % 90 + 8, 0.75))

    made = [entity_row("run", "row", "tool", 1, 9, 0.75)] * TEXTS
    took, limit = best(3, work), best(3, lambda: [json.dumps(row) for row in made])
    return _line("entities to rows", TEXTS / took.cpu_s, TEXTS / limit.cpu_s)


def _line(what: str, ours: float, theirs: float) -> Line:
    return Line(what, ours, "predictions/s", GOAL, against="json.dumps of made rows", theirs=theirs)


def measure() -> list[Line]:
    """A line a kind of prediction."""
    return [boxes(), classes(), entities()]
