"""Evaluation of boxes beside pycocotools: 5,000 images with 20 predicted and 8 labelled boxes each.

    .venv/bin/python -m benchmarks boxes

Ours gives average precision, precision and recall, figures by class and confidence, and the hits of every image that
the report shows; pycocotools average precision and recall. Both must agree to four decimals, sizes and crowds included.
"""

from __future__ import annotations

import numpy as np

from benchmarks.figures import Line, best, peak_mb, timed
from jobkit.boxes.evaluation import BoxEvaluation
from jobkit.boxes.geometry import Boxes
from tests.jobs.boxes.coco import judged, records

IMAGES, LABELLED, RANDOM = 5_000, 8, 12
NAMES = [f"class {number}" for number in range(8)]
GOAL_S, GOAL_MB, DECIMALS = 0.5, 250.0, 4
KEYS = ("map_50_95", "map_50", "map_75", "map_50_95_small", "map_50_95_medium", "map_50_95_large")

Scenes = list[tuple[Boxes, Boxes]]


def scenes(images: int = IMAGES) -> Scenes:
    """Labelled boxes, some of them crowds, and predicted ones: each labelled box shaken, and others anywhere."""
    dice = np.random.default_rng(1)

    def boxes(count: int) -> np.ndarray:
        corner, size = dice.uniform(0, 800, (count, 2)), dice.uniform(8, 160, (count, 2))
        return np.hstack([corner, corner + size])

    made = []
    for _ in range(images):
        true = boxes(LABELLED)
        names = [NAMES[index] for index in dice.integers(0, len(NAMES), LABELLED)]
        crowd = dice.random(LABELLED) < 0.02
        said = np.vstack([true + dice.normal(0, 4, true.shape), boxes(RANDOM)])
        others = [NAMES[index] for index in dice.integers(0, len(NAMES), RANDOM)]
        scores = dice.uniform(0, 1, LABELLED + RANDOM).tolist()
        made.append((Boxes(true, names, crowd=crowd), Boxes.of(said.tolist(), [*names, *others], scores)))
    return made


def ours(made: Scenes) -> dict[str, float]:
    """Our figures."""
    evaluation = BoxEvaluation(NAMES)
    for labelled, predicted in made:
        evaluation.add(labelled, predicted)
    return {key: value for key, value in evaluation.metrics().items() if key in KEYS}


def theirs(made: Scenes) -> tuple[dict[str, float], float]:
    """(pycocotools' figures, its seconds of processor)."""
    annotations, results = records(made, NAMES)
    with timed() as took:
        figures = judged(len(made), len(NAMES), annotations, results)
    return dict(zip(KEYS, figures, strict=True)), took.cpu_s


def measure() -> list[Line]:
    """Time of both, our memory, and the largest difference of a figure."""
    made = scenes()
    took = best(3, lambda: ours(made))
    memory = peak_mb()  # before pycocotools fills it
    figures = ours(made)
    expected, cpu_s = theirs(made)
    differences = [abs(figures[key] - expected[key]) for key in KEYS if expected[key] > -1]
    title = f"evaluation, {IMAGES:,} images x {LABELLED + RANDOM} boxes"
    bound = 10**-DECIMALS / 2
    return [
        Line(title, took.cpu_s, "s CPU", at_most=GOAL_S, against="pycocotools", theirs=cpu_s, detail=figures),
        Line("its peak of memory", memory, "MB", at_most=GOAL_MB, note="the boxes themselves included"),
        Line("largest difference from pycocotools", max(differences), "", at_most=bound),
    ]
