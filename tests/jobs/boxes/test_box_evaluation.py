"""The evaluation of boxes: the same figures as pycocotools, and hits and misses over every labelled row."""

import time
import tracemalloc

import numpy as np
import pytest

from jobkit.boxes.evaluation import BoxEvaluation
from jobkit.boxes.geometry import NONE, Boxes
from jobkit.boxes.matching import match
from tests.jobs.boxes.coco import NAMES, Image, of_pycocotools, random_images


def ours(images: list[Image]) -> BoxEvaluation:
    evaluation = BoxEvaluation(NAMES)
    for labelled, predicted in images:
        evaluation.add(labelled, predicted)
    return evaluation


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("whole", [False, True], ids=["fractions", "whole pixels, many ties"])
def test_average_precision_equals_pycocotools_to_four_decimals(seed: int, whole: bool) -> None:
    images = random_images(seed, whole=whole)
    summary = ours(images).summary()
    expected = of_pycocotools(images)
    assert {key: summary[key] for key in expected} == pytest.approx(expected, abs=5e-5)
    assert {key for key in summary if key.startswith("map_")} == set(expected)


def test_classes_alone_equal_pycocotools() -> None:
    images = random_images(77, images=40)
    figures = ours(images).metrics()["classes"]
    for name in NAMES:
        alone = []
        for labelled, predicted in images:
            chosen = (
                np.flatnonzero(np.array([one == name for one in side.names], bool)) for side in (labelled, predicted)
            )
            alone.append((labelled.select(next(chosen)), predicted.select(next(chosen))))
        expected = of_pycocotools(alone)
        assert {key: figures[name][key] for key in expected} == pytest.approx(expected, abs=5e-5)


def brute_force(images: list[Image], confidence: float) -> dict[str, list[int]]:
    """TP, FP, FN by class at an overlap of 0.5 when only boxes of at least the confidence are there. No crowds."""
    counts = {name: [0, 0, 0] for name in NAMES}
    for labelled, predicted in images:
        left = list(range(len(labelled)))
        for index in sorted(range(len(predicted)), key=lambda i: -predicted.scores[i]):
            if predicted.scores[index] < confidence:
                continue
            a, name = predicted.corners[index], predicted.names[index]
            best, most = None, 0.5
            for other in left:
                b = labelled.corners[other]
                width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                shared = width * height if width > 0 and height > 0 else 0.0
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
                if labelled.names[other] == name and shared / union >= most:
                    best, most = other, shared / union
            counts[name][0 if best is not None else 1] += 1
            if best is not None:
                left.remove(best)
        for other in left:
            counts[labelled.names[other]][2] += 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_hits_and_misses_at_every_confidence_are_those_of_cutting_first(seed: int) -> None:
    images = random_images(seed, crowds=False)
    classes = ours(images).metrics()["classes"]
    for step in range(1, 10):
        confidence = step / 10
        for name, (tp, fp, fn) in brute_force(images, confidence).items():
            assert classes[name]["by_confidence"][str(confidence)] == [tp, fp, 0, fn], (name, confidence)


def test_boxes_beyond_the_hundred_that_average_precision_looks_at_are_hits_and_misses_too() -> None:
    dice = np.random.default_rng(3)
    corner = dice.uniform(0, 4000, (160, 2))
    true = np.hstack([corner, corner + 40])
    images = [
        (Boxes.of(true, ["car"] * 160), Boxes.of(true + dice.normal(0, 5, true.shape), ["car"] * 160, scores))
        for scores in (dice.uniform(0, 1, 160), dice.uniform(0.8, 1, 160))
    ]
    car = ours(images).metrics()["classes"]["car"]
    for step in range(1, 10):
        tp, fp, fn = brute_force(images, step / 10)["car"]
        assert car["by_confidence"][str(step / 10)] == [tp, fp, 0, fn]
    assert car["tp"] > 200 and car["fp"] > 0


BOX = (10.0, 10.0, 50.0, 50.0)


def test_rows_without_predictions_count_as_missed_and_predictions_on_empty_rows_as_wrong() -> None:
    evaluation = BoxEvaluation(NAMES)
    evaluation.add(Boxes.of([BOX], ["car"]), Boxes.of([BOX], ["car"], [0.9]))
    evaluation.add(Boxes.of([BOX, BOX], ["car", "dog"]), None)
    evaluation.add(Boxes.of([BOX], ["car"]), NONE)
    evaluation.add(NONE, Boxes.of([BOX], ["car"], [0.8]))
    figures = evaluation.metrics()
    car, dog = figures["classes"]["car"], figures["classes"]["dog"]
    assert (car["tp"], car["fp"], car["fn"], car["support"]) == (1, 1, 2, 3)
    assert (dog["tp"], dog["fp"], dog["fn"]) == (0, 0, 1)
    assert (figures["rows"], figures["rows_without_prediction"], figures["rows_without_boxes"]) == (4, 1, 1)
    assert figures["precision"] == 0.5 and figures["recall"] == 0.25


def test_no_prediction_at_all_is_a_recall_of_nothing_and_no_error() -> None:
    evaluation = BoxEvaluation(NAMES)
    evaluation.add(Boxes.of([BOX], ["Traffic light"]), None)
    summary = evaluation.summary()
    assert (summary["map_50"], summary["map_50_95"], summary["recall"], summary["f1"]) == (0, 0, 0, 0)
    assert BoxEvaluation(NAMES).summary() == {}


def test_a_class_with_a_space_is_matched() -> None:
    evaluation = BoxEvaluation(NAMES)
    evaluation.add(Boxes.of([BOX], ["Traffic light"]), Boxes.of([BOX], ["Traffic light"], [0.9]))
    assert evaluation.summary()["f1"] == 1.0


def test_the_mean_overlap_is_that_of_the_hits() -> None:
    shifted = (10.0, 10.0, 50.0, 40.0)
    evaluation = BoxEvaluation(NAMES)
    evaluation.add(
        Boxes.of([BOX, BOX], ["car", "dog"]), Boxes.of([shifted, BOX, BOX], ["car", "dog", "car"], [0.9, 0.6, 0.4])
    )
    assert evaluation.summary()["mean_iou"] == pytest.approx((0.75 + 1.0) / 2)


def test_a_pairing_tells_which_labelled_box_was_hit() -> None:
    other = (100.0, 100.0, 140.0, 150.0)
    matched = match(Boxes.of([other, BOX, BOX], ["a"] * 3, [0.3, 0.9, 0.5]), Boxes.of([BOX, other], ["a"] * 2))
    assert matched.order == [1, 2, 0] and matched.partner == [0, -1, 1]


SIZES = {  # width, height: all, small, medium, large; an edge belongs to both of its sides
    (31, 32): (1, 1, 0, 0),
    (32, 32): (1, 1, 1, 0),
    (33, 32): (1, 0, 1, 0),
    (95, 96): (1, 0, 1, 0),
    (96, 96): (1, 0, 1, 1),
    (97, 96): (1, 0, 0, 1),
    (0, 5): (1, 1, 0, 0),
}


@pytest.mark.parametrize(("size", "counted"), SIZES.items())
def test_a_box_counts_in_every_range_of_area_that_holds_its_size(
    size: tuple[int, int], counted: tuple[int, ...]
) -> None:
    box = Boxes.of([(0, 0, *size)], ["a"])
    assert tuple(match(NONE, box).labelled) == counted
    assert tuple(match(NONE, Boxes.of([(0, 0, *size)] * 3, ["a"] * 3)).labelled) == tuple(3 * one for one in counted)


def test_ten_thousand_boxes_a_second_in_flat_memory() -> None:
    images = random_images(5, images=200, crowds=False)
    boxes = sum(len(labelled) + len(predicted) for labelled, predicted in images)
    evaluation = BoxEvaluation(NAMES)
    tracemalloc.start()
    began = time.process_time()
    for _ in range(5):
        for labelled, predicted in images:
            evaluation.add(labelled, predicted)
    evaluation.summary()
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert boxes * 5 / seconds > 1_000, "far below what was measured: something is walked box by box"


def test_the_intervals_of_average_precision_are_those_of_an_ordinary_bootstrap() -> None:
    images = random_images(21, images=40, crowds=False)
    dice = np.random.default_rng(1)
    drawn = [ours([images[index] for index in dice.integers(0, 40, 40)]).summary() for _ in range(300)]
    intervals = ours(images).intervals()
    assert intervals.keys() == {"map_50", "map_50_95"}
    for key, found in intervals.items():
        expected = np.percentile([one[key] for one in drawn], [2.5, 97.5])
        assert found == pytest.approx(tuple(expected), abs=0.03)
        assert found[0] < ours(images).summary()[key] < found[1]


def test_pictures_drawn_several_times_count_several_times() -> None:
    images = random_images(22, images=3, crowds=False)
    twice = ours([images[0], images[0], images[2]])
    for name, entry in ours(images)._classes.items():
        found = entry.ranked().average_precision(np.array([2, 0, 1]))
        expected = twice.metrics()["classes"].get(name, {})
        if found is None:
            assert "map_50" not in expected
        else:
            assert float(found.mean()) == pytest.approx(expected["map_50_95"], abs=1e-6)


def test_more_pictures_than_groups_have_the_same_intervals_each_time_and_one_has_none() -> None:
    images = random_images(23, images=450, crowds=False)
    first = ours(images).intervals()
    assert first == ours(images).intervals()
    assert first["map_50"][0] < ours(images).summary()["map_50"] < first["map_50"][1]
    assert ours(images[:1]).intervals() == {}
