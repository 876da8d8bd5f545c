"""Figures of entities and boxes: those of scikit-learn on the same answers, and a page with every part."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import average_precision_score, f1_score

from jobkit.report.answer_page import AnswerReport, answer_sections, cards, closing_sections
from jobkit.report.answers import Answer, AnswerStatistics, answer_rules, judged_answers
from jobkit.report.gallery import Galleries, Judgement, Look
from jobkit.report.page import page
from tests.jobs.report.runs import Page

NAMES = ("city", "person")


def filled(least: float, rows: int = 120) -> tuple[AnswerStatistics, list[tuple[str, bool, bool, float]]]:
    """Statistics of made-up rows, and each answer or miss as (class, labelled, said, confidence)."""
    dice, found, flat = random.Random(4), AnswerStatistics(least), []
    for _ in range(rows):
        answers, labelled = [], dict.fromkeys(NAMES, 0)
        for _ in range(dice.randrange(4)):
            name, confidence, right = dice.choice(NAMES), round(dice.uniform(0.05, 1), 3), dice.random() < 0.7
            answers.append(Answer(name, confidence, right))
            labelled[name] += right
            flat.append((name, right, confidence >= least, confidence))
        for _ in range(dice.randrange(2)):
            name = dice.choice(NAMES)
            labelled[name] += 1
            flat.append((name, True, False, 0.0))
        found.add(answers, labelled)
    return found, flat


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_the_figures_are_those_of_scikit_learn(least: float) -> None:
    found, flat = filled(least)
    labelled, said = [one[1] for one in flat], [one[2] for one in flat]
    curve = found.curve.at(least)
    assert curve.f1 == pytest.approx(f1_score(labelled, said), abs=1e-6)
    low, high = found.intervals()["micro_f1"]
    assert low < curve.f1 < high
    # scikit-learn knows no answer that was never given: those are put last, where they cost precision nothing.
    given = [(one[1], one[3]) for one in flat if one[3]]
    share = sum(one[0] for one in given) / sum(labelled)
    expected = average_precision_score([one[0] for one in given], [one[1] for one in given]) * share
    assert found.curve.average_precision() == pytest.approx(expected, abs=1e-6)


def test_counts_of_a_row_add_up() -> None:
    found = AnswerStatistics(least=0.5)
    answers = [Answer("city", 0.9, True), Answer("city", 0.4, True), Answer("person", 0.8, False)]
    assert found.add(answers, {"city": 3}) == (1, 1, 2)
    assert found.add([], {}) == (0, 0, 0)
    assert (found.rows, found.exact) == (2, 1)


def test_a_page_has_intervals_curves_calibration_data_and_run() -> None:
    found, _ = filled(0.0)
    counts = {"classes": {"city": {"by_confidence": {"0.5": [1, 1, 0, 1]}}}}
    report = AnswerReport(
        which="entities",
        splits={"test": counts},
        statistics={"test": found},
        dataset={"rows": {"seen": 9, "labelled": 8}, "classes": []},
        rows={"test": [8, 1]},
        told={"upload": "took <all>"},
        parameters={"sink": "auto"},
        comparison="<p>compared</p>",
    )
    sections = [
        ("In short", cards(report, 0.5, (0.25, "names looked up"))),
        *answer_sections(report, Galleries[str](), Look(answer_rules("entities"), lambda _: ("", ""))),
        *closing_sections(report),
    ]
    shown = Page(page("A run", sections))
    for text in (
        "F1 of all entities",
        "95 %:",
        "Wilson",
        "names looked up",
        "Best on this split",
        "took <all>",
        "sink",
    ):
        assert text in shown.text, text
    assert len(shown.all("svg")) == 3
    statistics = report.to_json()["test"]
    assert statistics["intervals_95"].keys() == {"row_accuracy", "micro_f1", "macro_f1"}


def test_a_run_without_a_labelled_row_has_a_page() -> None:
    report = AnswerReport("boxes", {}, {}, {"rows": {"seen": 0, "labelled": 0}})
    assert report.to_json() == {} and answer_sections(report, Galleries[str](), Look({}, lambda _: ("", ""))) == []
    assert "No labelled row" in cards(report, 0.0)


SURE, HALF, LOW = Answer("city", 0.95, True), Answer("city", 0.52, True), Answer("city", 0.3, False)
WRONG, UNSURE = Answer("city", 0.97, False), Answer("city", 0.6, False)


@pytest.mark.parametrize(
    ("answers", "labelled", "expected"),
    [
        pytest.param([], 0, Judgement(), id="nothing to say of it"),
        pytest.param([SURE], 1, Judgement(None, True, 0.45), id="a hit"),
        pytest.param([SURE, HALF], 2, Judgement(None, True, 0.02), id="a hit that wavers"),
        pytest.param([], 2, Judgement((2, 0.0)), id="all missed"),
        pytest.param([SURE, WRONG], 3, Judgement((3, 0.97), False, 0.45, 0.97), id="one wrong, two missed"),
        pytest.param([UNSURE], 0, Judgement((1, 0.6), False, 0.1, 0.6), id="nothing was there"),
        pytest.param([LOW], 0, Judgement(None, False, 0.2), id="below the least confidence: not said"),
    ],
)
def test_a_row_is_judged_by_its_answers(answers: list[Answer], labelled: int, expected: Judgement) -> None:
    found = judged_answers(answers, labelled, 0.5)
    assert (found.mistake, found.hit, found.dissent) == (expected.mistake, expected.hit, expected.dissent)
    assert found.sureness == (expected.sureness if expected.sureness is None else pytest.approx(expected.sureness))
