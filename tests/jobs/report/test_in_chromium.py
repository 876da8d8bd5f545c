"""The pages of every kind of run in Chromium: no error in its console, no request, light and dark, wide and narrow; and
the numbers that a reader sees are those of scikit-learn and of pycocotools on the same predictions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from tests.jobs import confused
from tests.jobs.boxes.coco import NAMES as BOX_NAMES
from tests.jobs.boxes.coco import of_pycocotools, random_images
from tests.jobs.report.pages import ENTITY_NAMES, NAMES, PAGES, Said, box_page, choice_page, entity_page, texts
from tests.jobs.report.runs import Row, several_rows, single_rows

chromium = pytest.importorskip("tests.browser")
pytestmark = pytest.mark.skipif(chromium.find() is None, reason=str(chromium.MISSING))
AXE = os.environ.get("AXE_CORE", "")
READ = 6e-4  # three decimals are shown
SIGHTS = ((1200, False), (1200, True), (390, False), (390, True))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def opened(browser: Any, folder: Path, html: str) -> None:
    (folder / "report.html").write_text(html, encoding="utf-8")
    browser.open((folder / "report.html").as_uri())


@pytest.mark.parametrize("name", PAGES)
def test_it_opens_without_an_error_and_fits(browser: Any, tmp_path: Path, name: str) -> None:
    html = PAGES[name]()
    for width, dark in SIGHTS:
        browser.size(width, 800, dark=dark)
        opened(browser, tmp_path, html)
        browser.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
        assert browser.run("document.querySelectorAll('h1').length") == 1
        assert browser.run("document.documentElement.scrollWidth") <= width, "only tables may scroll"
        assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.errors == []


@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js; make test-accessibility fetches it")
@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_shut_out_of_a_report(browser: Any, tmp_path: Path, name: str) -> None:
    """Serious problems that axe-core finds, in light and dark, wide and narrow."""
    problems, html = [], PAGES[name]()
    for width, dark in SIGHTS:
        browser.size(width, 800, dark=dark)
        opened(browser, tmp_path, html)
        browser.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
        problems += [f"{name}, {width}, dark {dark}: {found}" for found in browser.accessibility(Path(AXE))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_folded_parts_are_open_and_nothing_is_cut(browser: Any, tmp_path: Path, name: str) -> None:
    browser.size(1200, 800)
    opened(browser, tmp_path, PAGES[name]())
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = "[...document.querySelectorAll('details table')].filter(one => !one.checkVisibility()).length"
    assert browser.run(hidden) == 0
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("getComputedStyle(document.body).backgroundColor") in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    browser.call("Emulation.setEmulatedMedia", media="")


def cards(browser: Any) -> dict[str, float]:
    """The headline's figures by their names, as they are read."""
    script = (
        "[...document.querySelectorAll('.cards li')].map(li => [li.firstChild.data, li.querySelector('b').innerText])"
    )
    return {name: float(value) for name, value in browser.run(script)}


def table(browser: Any, heading: str, number: int = 0) -> dict[str, dict[str, str]]:
    """A table of the part below a heading: row -> column -> text."""
    rows = browser.run(
        "(() => { const part = [...document.querySelectorAll('section')].find(one => "
        f"one.querySelector('h2').innerText.startsWith({json.dumps(heading)}));"
        f" return [...part.querySelectorAll('table')[{number}].rows].map(row => [...row.cells].map("
        "cell => cell.innerText)); })()"
    )
    (_, *columns), *lines = rows
    return {first: dict(zip(columns, values, strict=True)) for first, *values in lines}


def class_figures(listed: dict[str, dict[str, str]], name: str) -> list[float]:
    return [float(listed[name][column]) for column in ("precision", "recall", "f1", "support")]


def matrix(browser: Any) -> confused.Matrix:
    """What is taken for what, as it is read; "" stands for nothing."""
    listed = table(browser, "What is taken for what")
    lines = {
        true: {"" if said == "(none)" else said: int(count) for said, count in line.items() if count}
        for true, line in listed.items()
    }
    return {"" if true == "(none)" else true: line for true, line in lines.items() if line}


def flat(rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and decisions, one column a class."""
    truth = [[name in row.labels for name in NAMES] for row, _, _ in rows]
    said = [[name in decided for name in NAMES] for _, _, decided in rows]
    return np.array(truth, dtype=int), np.array(said, dtype=int)


@pytest.mark.parametrize("single", [True, False], ids=["one class a row", "several classes"])
def test_the_numbers_of_a_classification_are_scikit_learn_s(browser: Any, tmp_path: Path, single: bool) -> None:
    rows = (single_rows if single else several_rows)(NAMES, 150)
    opened(browser, tmp_path, choice_page(rows, single=single))
    truth, said = flat(rows)
    shown = cards(browser)
    expected = {
        "accuracy" if single else "rows wholly right": accuracy_score(truth, said),
        "macro F1": f1_score(truth, said, average="macro"),
    }
    if not single:
        expected["micro F1"] = f1_score(truth, said, average="micro")
    assert {name: shown[name] for name in expected} == pytest.approx(expected, abs=READ)
    each = np.array(precision_recall_fscore_support(truth, said)).T
    listed = table(browser, "Classes")
    for index, name in enumerate(NAMES):
        assert class_figures(listed, name) == pytest.approx(each[index].tolist(), abs=READ)
    if single:
        counts = [[matrix(browser)[a].get(b, 0) for b in NAMES] for a in NAMES]
        assert counts == confusion_matrix(truth.argmax(1), said.argmax(1)).tolist()


def places(said: list[Said], name: str = "") -> tuple[list[bool], list[bool]]:
    """Of each place in each text that is labelled or found, as one class: is it labelled, is it found."""
    truth = {(one.row.data_row_id, *entity[:3]) for one in said for entity in one.truth}
    found = {(one.row.data_row_id, *entity[:3]) for one in said for entity in one.found}
    every = sorted(place for place in truth | found if name in ("", place[3]))
    return [place in truth for place in every], [place in found for place in every]


def test_the_numbers_of_entities_are_scikit_learn_s(browser: Any, tmp_path: Path) -> None:
    said = texts(80)
    opened(browser, tmp_path, entity_page(said))
    f1, whole = (
        f1_score(*places(said)),
        np.mean([{e[:3] for e in one.truth} == {e[:3] for e in one.found} for one in said]),
    )
    assert cards(browser)["F1 of all entities"] == pytest.approx(f1, abs=READ)
    assert cards(browser)["rows wholly right"] == pytest.approx(whole, abs=READ)
    exact, overlap = table(browser, "Classes, exactly right"), table(browser, "Classes, right by overlap")
    for name in ENTITY_NAMES:
        precision, recall, f1, _ = precision_recall_fscore_support(*places(said, name), average="binary")
        labelled = sum(places(said, name)[0])
        assert class_figures(exact, name) == pytest.approx([precision, recall, f1, labelled], abs=READ)
        assert class_figures(overlap, name)[2] > f1  # one in ten is found a letter short
    assert matrix(browser) == confused.of_entities((one.truth, one.found) for one in said)
    headline = table(browser, "In short")["test"]
    assert (
        float(headline["F1 (overlap)"])
        > float(headline["F1 (exact)"])
        == pytest.approx(f1_score(*places(said)), abs=READ)
    )


def test_the_numbers_of_boxes_are_those_of_pycocotools(browser: Any, tmp_path: Path) -> None:
    images = random_images(8, images=60, crowds=False)
    opened(browser, tmp_path, box_page(images))
    names = {"map_50": "mAP@.5", "map_50_95": "mAP@[.5:.95]", "map_75": "mAP@.75"}
    names |= {f"map_50_95_{size}": size for size in ("small", "medium", "large")}
    expected = of_pycocotools(images)
    assert set(expected) == set(names)
    headline = table(browser, "In short")["test"]
    assert {key: float(headline[name]) for key, name in names.items()} == pytest.approx(expected, abs=READ)
    shown = cards(browser)
    assert (shown["mAP@.5"], shown["mAP@[.5:.95]"]) == pytest.approx(
        (expected["map_50"], expected["map_50_95"]), abs=READ
    )
    assert browser.text().count("seeded bootstrap over images") == 2
    assert matrix(browser) == confused.of_boxes(images)
    each = table(browser, "Average precision")
    for name in BOX_NAMES:
        alone = []
        for sides in images:
            chosen = [np.flatnonzero([one == name for one in side.names]) for side in sides]
            alone.append((sides[0].select(chosen[0]), sides[1].select(chosen[1])))
        if any(len(labelled) for labelled, _ in alone):
            figures = of_pycocotools(alone)
            assert float(each[name]["AP@.5"]) == pytest.approx(figures["map_50"], abs=READ)
            assert float(each[name]["AP@[.5:.95]"]) == pytest.approx(figures["map_50_95"], abs=READ)
