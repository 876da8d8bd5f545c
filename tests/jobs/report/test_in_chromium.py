"""The pages open in Chromium without an error in its console and without a request, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit.boxes.report import HIT, MISSED, WRONG, ShownBox, ShownImage, box_page
from jobkit.ner.evaluation import OVERLAP, Match
from jobkit.ner.report import Example, entity_page
from jobkit.ner.spans import Entity
from jobkit.report.answer_page import AnswerReport
from jobkit.report.answers import Answer, AnswerStatistics
from tests.jobs.report.runs import output_of, page_of, report_of, several_rows, single_rows

chromium = pytest.importorskip("tests.browser")
pytestmark = pytest.mark.skipif(chromium.find() is None, reason=str(chromium.MISSING))
NAMES = ["apple", "pear", "plum"]


def classes() -> dict[str, Any]:
    counts = {"support": 2, "tp": 1, "fp": 1, "fn": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    return {"city": {**counts, "images": 2, "map_50": 0.5, "by_confidence": {"0.5": [1, 1, 0, 1]}}}


def answers(which: str, figures: dict[str, Any]) -> AnswerReport:
    found = AnswerStatistics()
    for confidence in (0.3, 0.6, 0.9):
        found.add([Answer("city", confidence, confidence > 0.5)], {"city": 1})
    dataset = {"rows": {"seen": 3, "labelled": 3}, "classes": []}
    return AnswerReport(which, {"test": figures}, {"test": found}, dataset, {"test": [3, 0]}, {"upload": "none"})


def entities() -> str:
    keys = ("micro_f1", "majority_baseline", "micro_precision", "micro_recall", "macro_f1", "overlap_micro_f1")
    figures = {**dict.fromkeys((*keys, "row_accuracy"), 0.5), "rows": 3, "rows_without_prediction": 0}
    figures |= {"classes": classes(), OVERLAP: {"classes": classes()}}
    matched = Match((Entity(0, 4, "city", 0.9),), (Entity(5, 8, "city", 0.4),), (Entity(9, 12, "city", 1.0),))
    return entity_page("Entities", answers("entities", figures), [Example("row", "Rome and Bern", matched)])


def boxes() -> str:
    figures = {"f1": 0.5, "rows": 3, "map_50": 0.5, "confidence": 0.5, "iou": 0.5, "classes": classes()}
    shown = [ShownBox(what, "city", (1.0, 2.0, 30.0, 40.0), 0.5, 0.7) for what in (HIT, WRONG, MISSED)]
    return box_page("Boxes", answers("boxes", figures), [ShownImage("row", 64, 64, tuple(shown))])


PAGES: dict[str, Callable[[], str]] = {
    "one class a row": lambda: page_of(report_of(output_of(NAMES, single_rows(NAMES, 80)))),
    "several classes": lambda: page_of(
        report_of(output_of(NAMES, several_rows(NAMES, 80), single=False), comparison="<p>x</p>")
    ),
    "entities": entities,
    "boxes": boxes,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_it_opens_without_an_error_and_fits(browser: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "report.html").write_text(PAGES[name](), encoding="utf-8")
    for width, dark in ((1200, False), (390, True)):
        browser.size(width, 800, dark=dark)
        browser.open((tmp_path / "report.html").as_uri())
        assert browser.run("document.querySelectorAll('h1').length") == 1
        assert browser.run("document.documentElement.scrollWidth") <= width, "only tables may scroll"
        assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.errors == []
