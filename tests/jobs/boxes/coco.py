"""Made-up images with labelled and predicted boxes, and the figures that pycocotools gives them."""

import contextlib
import io
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jobkit.boxes.geometry import Boxes
from jobkit.boxes.matching import AREAS

NAMES = ("Traffic light", "car", "dog")
Image = tuple[Boxes, Boxes]
Record = dict[str, Any]


def random_box(dice: random.Random, whole: bool) -> tuple[float, float, float, float]:
    side = dice.choice([8, 20, 40, 100, 180])
    numbers = [dice.uniform(0, 400), dice.uniform(0, 300), dice.uniform(2, side), dice.uniform(2, side)]
    left, top, width, height = (round(number) if whole else number for number in numbers)
    return left, top, left + max(width, 1), top + max(height, 1)


def shaken(dice: random.Random, box: tuple[float, ...], whole: bool) -> tuple[float, ...]:
    by = dice.choice([0, 0.05, 0.15, 0.4])
    width, height = box[2] - box[0], box[3] - box[1]
    moved = [
        edge + dice.uniform(-by, by) * side for edge, side in zip(box, (width, height, width, height), strict=True)
    ]
    if whole:
        moved = [round(edge) for edge in moved]
    return moved[0], moved[1], max(moved[2], moved[0] + 1), max(moved[3], moved[1] + 1)


def random_images(seed: int, *, images: int = 25, whole: bool = False, crowds: bool = True) -> list[Image]:
    """Labelled and predicted boxes with all that goes wrong: misses, doubles, other classes, ties, empty images."""
    dice = random.Random(seed)
    result = []
    for _ in range(images):
        labelled = [random_box(dice, whole) for _ in range(dice.choice([0, 1, 3, 8]))]
        names = [dice.choice(NAMES[: 2 + seed % 2]) for _ in labelled]
        predicted, said, scores = [], [], []
        for box, name in zip(labelled, names, strict=True):
            for _ in range(dice.choice([0, 1, 1, 1, 2])):
                predicted.append(shaken(dice, box, whole))
                said.append(name if dice.random() < 0.8 else dice.choice(NAMES))
                scores.append(round(dice.random(), 1 if whole else 6))
        for _ in range(dice.choice([0, 2, 120 if dice.random() < 0.1 else 1])):
            predicted.append(random_box(dice, whole))
            said.append(dice.choice(NAMES))
            scores.append(round(dice.random(), 1 if whole else 6))
        crowd = np.array([crowds and dice.random() < 0.15 for _ in labelled], dtype=bool)
        corners = np.array(labelled, dtype=float).reshape(-1, 4)
        result.append((Boxes(corners, names, crowd=crowd), Boxes.of(predicted, said, scores)))
    return result


def of_pycocotools(images: list[Image]) -> dict[str, float]:
    keys = ("map_50_95", "map_50", "map_75", *(f"map_50_95_{name}" for name in AREAS if name != "all"))
    figures = judged(len(images), len(NAMES), *records(images, NAMES))
    return {key: value for key, value in zip(keys, figures, strict=True) if value > -1}


def records(images: Sequence[Image], names: Sequence[str]) -> tuple[list[Record], list[Record]]:
    """(annotations, results) as COCO's files hold them."""
    annotations: list[Record] = []
    results: list[Record] = []
    for number, (labelled, predicted) in enumerate(images, start=1):
        for index, (left, top, right, bottom) in enumerate(labelled.corners.tolist()):
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(labelled.names[index]) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(len(labelled.crowd) and labelled.crowd[index]),
                }
            )
        for index, (left, top, right, bottom) in enumerate(predicted.corners.tolist()):
            category, score = names.index(predicted.names[index]) + 1, float(predicted.scores[index])
            box = [left, top, right - left, bottom - top]
            results.append({"image_id": number, "category_id": category, "bbox": box, "score": score})
    return annotations, results


def judged(images: int, classes: int, annotations: list[Record], results: list[Record]) -> list[float]:
    """pycocotools' average precision: @[.5:.95], @.5, @.75, of small, medium and large boxes; -1 where it has none."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(1, images + 1)],
            "categories": [{"id": number} for number in range(1, classes + 1)],
            "annotations": annotations,
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats[:6]]
