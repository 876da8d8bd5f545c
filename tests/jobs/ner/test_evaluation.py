"""How entities are scored: exactly and by overlap, by class and confidence, with nothing left out."""

from __future__ import annotations

import pytest

from jobkit.ner.baseline import KnownNames
from jobkit.ner.evaluation import EXACT, OVERLAP, EntityEvaluation, match
from jobkit.ner.spans import Entity
from jobkit.splits import TEST

TEXT = "Ada Lovelace met Bo in Rome today"
ADA, BO, ROME = Entity(0, 12, "Person"), Entity(17, 19, "Person"), Entity(23, 27, "City")


def found(start: int, end: int, name: str = "Person", confidence: float = 1.0) -> Entity:
    return Entity(start, end, name, confidence)


CASES = {
    # name: (true, found, (right, wrong, missed) exactly, the same by overlap)
    "all right": ([ADA, ROME], [found(0, 12), found(23, 27, "City")], (2, 0, 0), (2, 0, 0)),
    "nothing to find, nothing found": ([], [], (0, 0, 0), (0, 0, 0)),
    "nothing found": ([ADA, ROME], [], (0, 0, 2), (0, 0, 2)),
    "nothing to find": ([], [found(0, 3)], (0, 1, 0), (0, 1, 0)),
    "one character short": ([ADA], [found(0, 11)], (0, 1, 1), (1, 0, 0)),
    "half of it": ([ADA], [found(0, 3)], (0, 1, 1), (1, 0, 0)),
    "both halves count once": ([ADA], [found(0, 3), found(4, 12)], (0, 2, 1), (1, 1, 0)),
    "one over two": ([ADA, BO], [found(0, 19)], (0, 1, 2), (1, 0, 1)),
    "another class": ([ROME], [found(23, 27)], (0, 1, 1), (0, 1, 1)),
    "touching is not overlapping": ([BO], [found(19, 22)], (0, 1, 1), (0, 1, 1)),
    "found twice": ([BO], [found(17, 19), found(17, 19)], (1, 1, 0), (1, 1, 0)),
}


@pytest.mark.parametrize(("truth", "said", "exact", "overlap"), CASES.values(), ids=CASES)
def test_entities_are_matched_one_to_one(
    truth: list[Entity], said: list[Entity], exact: tuple[int, int, int], overlap: tuple[int, int, int]
) -> None:
    for way, expected in ((EXACT, exact), (OVERLAP, overlap)):
        matched = match(truth, said, way)
        assert (len(matched.right), len(matched.wrong), len(matched.missed)) == expected


def test_figures_of_every_class_and_confidence() -> None:
    evaluation = EntityEvaluation(["Person", "City", "Unseen"])
    said = [found(0, 12, confidence=0.95), found(17, 19, confidence=0.3), found(28, 33, "City", 0.55)]
    evaluation.add(TEST, TEXT, [ADA, BO, ROME], said)
    figures = evaluation.metrics()[TEST]
    person, city = figures["classes"]["Person"], figures["classes"]["City"]
    assert (person["tp"], person["fp"], person["fn"], person["support"]) == (2, 0, 0, 2)
    assert person["by_confidence"]["0.3"] == [2, 0, 0, 0]
    assert person["by_confidence"]["0.4"] == [1, 0, 0, 1]
    assert city["by_confidence"]["0.5"] == [0, 1, 0, 1]
    assert city["by_confidence"]["0.6"] == [0, 0, 0, 1]
    assert figures["classes"]["Unseen"]["support"] == 0
    assert figures["micro_precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert figures["micro_recall"] == pytest.approx(2 / 3, abs=1e-6)
    assert figures["macro_f1"] == pytest.approx(0.5)
    assert figures["row_accuracy"] == 0.0


def test_baseline_rows_without_predictions_are_missed_and_predictions_without_labels_only_counted() -> None:
    evaluation = EntityEvaluation(["Person"])
    evaluation.add(TEST, TEXT, [ADA], None)
    evaluation.add(TEST, TEXT, [], None)
    evaluation.add(TEST, TEXT, None, [found(0, 3)])
    figures = evaluation.metrics()[TEST]
    assert figures["classes"]["Person"]["fn"] == 1
    assert figures["rows"] == figures["rows_without_prediction"] == 2
    assert figures["predictions_without_label"] == 1
    assert figures["row_accuracy"] == 0.0
    assert figures["micro_precision"] == 0.0


def test_baseline_several_entities_of_one_side_count_each() -> None:
    evaluation = EntityEvaluation(["Person"])
    evaluation.add(TEST, TEXT, [ADA, BO], [])
    evaluation.add(TEST, TEXT, [], [found(0, 3), found(4, 12), found(17, 19)])
    person = evaluation.metrics()[TEST]["classes"]["Person"]
    assert (person["fp"], person["fn"]) == (3, 2)


def test_white_space_at_an_entitys_ends_does_not_count() -> None:
    evaluation = EntityEvaluation(["Person"])
    evaluation.add(TEST, TEXT, [Entity(16, 20, "Person")], [found(17, 19)])
    evaluation.add(TEST, "  \n", [Entity(0, 3, "Person")], [])
    assert evaluation.metrics()[TEST]["classes"]["Person"]["tp"] == 1


def test_an_empty_evaluation_gives_no_figures() -> None:
    assert EntityEvaluation(["Person"]).metrics() == {}
    assert EntityEvaluation(["Person"]).headline(TEST) == {}


def test_the_baseline_finds_the_names_of_training_rows_the_longest_first() -> None:
    names = KnownNames()
    names.learn(TEXT, [ADA, BO, ROME])
    names.learn("Rome rules", [Entity(0, 4, "Person")])
    names.learn("to Rome", [Entity(3, 7, "City")])
    names.learn("Ada spoke", [Entity(0, 3, "Person")])
    text = "ROME, said Ada Lovelace; Bob and Ada agreed"
    assert [(text[one.start : one.end], one.name) for one in names.find(text)] == [
        ("ROME", "City"),
        ("Ada Lovelace", "Person"),
        ("Ada", "Person"),
    ]
    assert KnownNames().find(text) == ()
