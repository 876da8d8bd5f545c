"""The matrices of boxes and entities: they agree with the figures of each class and with counting one by one."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from jobkit.boxes.evaluation import BoxEvaluation
from jobkit.boxes.geometry import NONE, Boxes
from jobkit.boxes.mistakes import MAX_PAIRS
from jobkit.ner.evaluation import EntityEvaluation
from jobkit.ner.spans import Entity
from tests.jobs import confused
from tests.jobs.boxes.coco import NAMES, random_images


def of_boxes(images: list[tuple[Boxes, Boxes]], iou: float = 0.5) -> dict[str, Any]:
    evaluation = BoxEvaluation(NAMES, iou)
    for labelled, predicted in images:
        evaluation.add(labelled, predicted)
    return evaluation.metrics()


def of_entities(texts: list[tuple[list[Entity], list[Entity]]]) -> dict[str, Any]:
    evaluation = EntityEvaluation(["a", "b", "c"])
    for truth, found in texts:
        evaluation.add("test", "x" * 60, truth, found)
    return evaluation.metrics()["test"]


def random_texts(seed: int, count: int = 60) -> list[tuple[list[Entity], list[Entity]]]:
    """Texts in which labelled and found entities overlap each other and one another in every way."""
    dice = random.Random(seed)

    def entities(most: int) -> list[Entity]:
        made: dict[tuple[int, int, str], Entity] = {}
        for _ in range(dice.randrange(most)):
            start = dice.randrange(50)
            one = Entity(start, start + dice.randrange(1, 9), dice.choice("abc"), dice.random())
            made[one[:3]] = one
        return [*made.values()]

    texts = []
    for _ in range(count):
        truth = [one._replace(confidence=1.0) for one in entities(8)]
        kept = [one._replace(confidence=dice.random()) for one in truth if dice.random() < 0.4]
        turned = [one._replace(name=dice.choice("abc"), confidence=dice.random()) for one in truth]
        texts.append((truth, [*kept, *turned[:2], *entities(5)]))
    return texts


def agrees(figures: dict[str, Any]) -> None:
    """The diagonal is the classes' tp, lines add up to what is labelled, columns to what is predicted."""
    matrix = figures["confusion"]
    assert set(matrix) <= {*figures["classes"], ""} and "" not in matrix.get("", {})
    for name, counts in figures["classes"].items():
        assert matrix.get(name, {}).get(name, 0) == counts["tp"]
        assert sum(matrix.get(name, {}).values()) == counts["support"]
        assert sum(line.get(name, 0) for line in matrix.values()) == counts["tp"] + counts["fp"]
    assert all(count > 0 for line in matrix.values() for count in line.values())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("crowds", [False, True], ids=["", "crowds"])
def test_boxes_are_taken_for_what_counting_one_by_one_says(seed: int, iou: float, crowds: bool) -> None:
    images = random_images(seed, images=60, crowds=crowds)
    figures = of_boxes(images, iou)
    agrees(figures)
    assert figures["confusion"] == confused.of_boxes(images, iou)
    assert iou > 0.5 or any(a != b for a, line in figures["confusion"].items() for b in line if a and b)


def test_of_more_images_than_a_batch_none_is_left_out_nor_counted_twice() -> None:
    images = random_images(31, images=400)
    evaluation = BoxEvaluation(NAMES)
    for labelled, predicted in images[:200]:
        evaluation.add(labelled, predicted)
    assert evaluation.metrics()["confusion"] == confused.of_boxes(images[:200])
    for labelled, predicted in images[200:]:
        evaluation.add(labelled, predicted)
    assert evaluation.metrics()["confusion"] == confused.of_boxes(images)


def test_an_image_with_very_many_boxes_is_counted_as_well() -> None:
    dice = np.random.default_rng(4)
    corner, size = dice.uniform(0, 300, (200, 2)), dice.uniform(30, 60, (200, 2))
    true = np.hstack([corner, corner + size])
    said = true + dice.normal(0, 3, true.shape)
    names, others = (dice.choice(NAMES, 200).tolist() for _ in range(2))
    images = [(Boxes.of(true, names), Boxes.of(said, others, dice.uniform(0, 1, 200)))]
    assert MAX_PAIRS < 200 * 200
    figures = of_boxes(images)
    agrees(figures)
    assert figures["confusion"] == confused.of_boxes(images)


BOX, NEAR, FAR = (10.0, 10.0, 50.0, 50.0), (10.0, 10.0, 50.0, 46.0), (200.0, 10.0, 240.0, 50.0)
BOX_CASES = {
    # name: (labelled, predicted with confidence, matrix)
    "another class": ([("car", BOX)], [("dog", BOX, 0.9)], {"car": {"dog": 1}}),
    "the right class wins though it is less sure and overlaps less": (
        [("car", BOX)],
        [("dog", BOX, 0.9), ("car", NEAR, 0.6)],
        {"car": {"car": 1}, "": {"dog": 1}},
    ),
    "a right one of too little confidence wins nothing": (
        [("car", BOX)],
        [("dog", BOX, 0.9), ("car", NEAR, 0.4)],
        {"car": {"dog": 1}},
    ),
    "one of too little confidence is not predicted": ([("car", BOX)], [("dog", BOX, 0.4)], {"car": {"": 1}}),
    "a labelled box is taken once, by the surest": (
        [("car", BOX)],
        [("dog", NEAR, 0.6), ("Traffic light", BOX, 0.7)],
        {"car": {"Traffic light": 1}, "": {"dog": 1}},
    ),
    "of equally sure ones by the first": (
        [("car", BOX)],
        [("dog", NEAR, 0.6), ("Traffic light", BOX, 0.6)],
        {"car": {"dog": 1}, "": {"Traffic light": 1}},
    ),
    "with the one that it overlaps most": (
        [("Traffic light", NEAR), ("car", BOX)],
        [("dog", BOX, 0.6)],
        {"Traffic light": {"": 1}, "car": {"dog": 1}},
    ),
    "apart": ([("car", BOX)], [("dog", FAR, 0.9)], {"car": {"": 1}, "": {"dog": 1}}),
    "found twice": ([("car", BOX)], [("car", BOX, 0.9), ("car", BOX, 0.8)], {"car": {"car": 1}, "": {"car": 1}}),
    "a class that the model does not know": ([("bus", BOX)], [("car", BOX, 0.9)], {"bus": {"car": 1}}),
    "nothing at all": ([], [], {}),
}


@pytest.mark.parametrize(("labelled", "predicted", "matrix"), BOX_CASES.values(), ids=BOX_CASES)
def test_what_a_box_is_taken_for(labelled: list[Any], predicted: list[Any], matrix: confused.Matrix) -> None:
    true = Boxes.of([box for _, box in labelled], [name for name, _ in labelled])
    said = Boxes.of([one[1] for one in predicted], [one[0] for one in predicted], [one[2] for one in predicted])
    figures = of_boxes([(true, said)])
    agrees(figures)
    assert figures["confusion"] == matrix


def test_an_image_without_a_prediction_has_its_boxes_missed() -> None:
    evaluation = BoxEvaluation(NAMES)
    evaluation.add(Boxes.of([BOX], ["car"]), None)
    evaluation.add(NONE, NONE)
    assert evaluation.metrics()["confusion"] == {"car": {"": 1}}


@pytest.mark.parametrize("seed", range(12))
def test_entities_are_taken_for_what_counting_one_by_one_says(seed: int) -> None:
    texts = random_texts(seed)
    figures = of_entities(texts)
    agrees(figures)
    assert figures["confusion"] == confused.of_entities(texts)
    assert any(a != b for a, line in figures["confusion"].items() for b in line if a and b)


def entity(start: int, end: int, name: str, confidence: float = 1.0) -> Entity:
    return Entity(start, end, name, confidence)


ENTITY_CASES = {
    "another class": ([entity(0, 5, "a")], [entity(0, 5, "b")], {"a": {"b": 1}}),
    "another class and other ends": ([entity(0, 5, "a")], [entity(4, 9, "b")], {"a": {"b": 1}}),
    "touching": ([entity(0, 5, "a")], [entity(5, 9, "b")], {"a": {"": 1}, "": {"b": 1}}),
    "other ends only": ([entity(0, 5, "a")], [entity(0, 4, "a")], {"a": {"": 1}, "": {"a": 1}}),
    "the right class wins though it is less sure": (
        [entity(0, 5, "a")],
        [entity(0, 5, "b", 0.9), entity(0, 5, "a", 0.3)],
        {"a": {"a": 1}, "": {"b": 1}},
    ),
    "so it does with other ends": (
        [entity(0, 5, "a")],
        [entity(0, 5, "b", 0.9), entity(0, 4, "a", 0.3)],
        {"a": {"": 1}, "": {"a": 1, "b": 1}},
    ),
    "the surest takes it": (
        [entity(0, 5, "a")],
        [entity(0, 5, "b", 0.3), entity(0, 4, "c", 0.9)],
        {"a": {"c": 1}, "": {"b": 1}},
    ),
    "the one that it shares most with": (
        [entity(0, 2, "a"), entity(3, 9, "b")],
        [entity(0, 9, "c")],
        {"a": {"": 1}, "b": {"c": 1}},
    ),
    "nothing at all": ([], [], {}),
}


@pytest.mark.parametrize(("truth", "found", "matrix"), ENTITY_CASES.values(), ids=ENTITY_CASES)
def test_what_an_entity_is_taken_for(truth: list[Entity], found: list[Entity], matrix: confused.Matrix) -> None:
    figures = of_entities([(truth, found)])
    agrees(figures)
    assert figures["confusion"] == matrix


def test_three_thousand_classes_have_no_field_for_what_did_not_occur() -> None:
    names = [f"class {number}" for number in range(3000)]
    boxes, entities = BoxEvaluation(names), EntityEvaluation(names)
    for first, second in pairwise(names):
        boxes.add(Boxes.of([BOX], [first]), Boxes.of([BOX], [second], [0.9]))
        entities.add("test", "Rome", [entity(0, 4, first)], [entity(0, 4, second)])
    expected = {first: {second: 1} for first, second in pairwise(names)}
    assert boxes.metrics()["confusion"] == entities.metrics()["test"]["confusion"] == expected
