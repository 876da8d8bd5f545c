"""The rows to look at of entities and boxes: which ones they are, and that a page of many large ones stays small."""

from __future__ import annotations

import re

import pytest

from jobkit.boxes.geometry import Boxes
from jobkit.boxes.report import MAX_DRAWN
from jobkit.manifest import ManifestRow
from jobkit.ner.evaluation import EXACT, match
from jobkit.ner.report import MAX_LETTERS, MAX_MARKS, excerpt, marked
from jobkit.ner.spans import Entity
from jobkit.report.gallery import HEADINGS, HITS, LIMITS, MISTAKES, MOST, SUSPECTS, UNCERTAIN
from tests.jobs.boxes.coco import random_images
from tests.jobs.report.pages import PAGES, Said, box_output, box_page, entity_output, entity_page, texts
from tests.jobs.report.runs import Page

TEXT = "Ada Lovelace met Bo in Rome today"
ADA, BO, ROME = (0, 12, "person"), (17, 19, "person"), (23, 27, "city")


def said(ident: str, split: str, truth: list[tuple], found: list[tuple]) -> Said:
    details = {"entities": [{"start": start, "end": end, "name": name} for start, end, name in truth]}
    row = ManifestRow(ident, None, TEXT, split, labelled=True, details=details)
    return Said(row, tuple(Entity(*one) for one in truth), tuple(Entity(*one) for one in found))


def test_texts_are_listed_by_what_is_wrong_unsure_right_or_disputed() -> None:
    galleries = entity_output(
        [
            said("hit", "test", [ADA], [(*ADA, 0.8)]),
            said("unsure hit", "test", [ADA], [(*ADA, 0.52)]),
            said("one missed", "test", [ADA, BO], [(*ADA, 0.95)]),
            said("two wrong", "test", [], [(*ADA, 0.7), (*ROME, 0.8)]),
            said("one surely wrong", "test", [], [(*ROME, 0.99)]),
            said("wrong in training", "training", [ADA], [(0, 3, "person", 0.995)]),
            said("nothing there", "test", [], []),
        ]
    ).galleries
    ids = {kind: [one.data_row_id for one in galleries.of(kind, "test")] for kind, _ in HEADINGS}
    assert ids[MISTAKES] == ["two wrong", "one surely wrong", "one missed"]
    assert ids[UNCERTAIN][:2] == ["unsure hit", "two wrong"]
    assert set(ids[HITS]) == {"hit", "unsure hit"}
    assert ids[SUSPECTS] == ["wrong in training", "one surely wrong"]


def test_pictures_are_listed_alike_and_a_box_below_the_headline_s_confidence_is_no_mistake() -> None:
    place, elsewhere = (10.0, 10.0, 60.0, 60.0), (200.0, 200.0, 260.0, 260.0)

    def image(labelled: list[tuple], *found: tuple[tuple, float]) -> tuple[Boxes, Boxes]:
        predicted = Boxes.of([box for box, _ in found], ["car"] * len(found), [sure for _, sure in found])
        return Boxes.of(labelled, ["car"] * len(labelled)), predicted

    images = [
        image([place], (place, 0.97)),
        image([place], (place, 0.9), (elsewhere, 0.48)),
        image([place]),
        image([place], (place, 0.9), (elsewhere, 0.95)),
        image([], (place, 0.6), (elsewhere, 0.7)),
    ]
    galleries = box_output(images).galleries
    ids = {kind: [one.data_row_id for one in galleries.of(kind, "test")] for kind, _ in HEADINGS}
    assert ids[MISTAKES] == ["test-4", "test-3", "test-2"]
    assert ids[UNCERTAIN][:2] == ["test-1", "test-4"]
    assert set(ids[HITS]) == {"test-0", "test-1"}
    assert ids[SUSPECTS] == ["test-3"]
    (shown,) = [one.seen for one in galleries.of(SUSPECTS, "test")]
    assert shown.told == "1 hit, 1 wrong, 0 missed"


@pytest.mark.parametrize("name", PAGES)
def test_every_kind_of_run_has_the_four_lists_with_their_rules(name: str) -> None:
    page = Page(PAGES[name]())
    headings = [text for tag, text in page.texts if tag == "h2"]
    for kind, heading in HEADINGS:
        assert f"{heading} ({'all splits' if kind == SUSPECTS else 'test'})" in headings
        assert f"At most {LIMITS[kind]} rows" in page.text


@pytest.mark.parametrize("kind", ["texts", "pictures"])
def test_thousands_of_rows_stay_a_small_page(kind: str) -> None:
    if kind == "texts":
        html = entity_page(texts(2000, sentences=8))
        assert html.count('<p class="marked">') <= MOST
    else:
        html = box_page(random_images(4, images=2000, crowds=False))
        assert html.count("<image ") <= MOST and html.count("<rect ") < MOST * MAX_DRAWN + 200
    assert len(html.encode()) < 3_000_000


def test_of_a_long_text_the_part_with_the_first_mistake_is_shown() -> None:
    text = "Rome. " + "x" * 5000 + " Bern " + "y" * 5000
    bern = text.index("Bern")
    truth, found = [Entity(0, 4, "city"), Entity(bern, bern + 4, "city")], [Entity(0, 4, "city", 0.9)]
    part = excerpt(text, match(truth, found, EXACT))
    assert len(part.text) == MAX_LETTERS and part.before and part.after
    (mark,) = part.marks
    assert part.text[mark.start : mark.end] == "Bern" and mark.kind == "missed"
    right = excerpt(text, match(truth[:1], found, EXACT))
    assert right.text.startswith("Rome.") and not right.before
    crowded = [Entity(index, index + 1, "city") for index in range(500)]
    assert len(excerpt("z" * 500, match(crowded, [], EXACT)).marks) == MAX_MARKS


def test_a_marked_text_says_what_it_says_without_its_marks() -> None:
    truth, found = [Entity(*ADA), Entity(*ROME)], [Entity(*ADA, 0.9), Entity(17, 19, "person", 0.4)]
    html = marked(excerpt(TEXT, match(truth, found, EXACT)))
    assert re.sub(r"<sub>.*?</sub>|<[^>]+>", "", html) == TEXT
    assert [re.sub("<.*?>", "", one) for one in re.findall("<sub>(.*?)</sub>", html)] == [
        "✓right: person 0.90",
        "✗wrong: person 0.40",
        "○missed: city",
    ]


HOSTILE = "</script></p></mark><script>alert(1)</script><img src=x onerror=alert(2)>\"'>"


def test_texts_and_names_cannot_break_out_of_their_place() -> None:
    entity = {"start": 0, "end": 4, "name": HOSTILE}
    row = ManifestRow(HOSTILE, None, HOSTILE, "test", labelled=True, details={"entities": [entity]})
    html = entity_page([Said(row, (), (Entity(0, 4, HOSTILE, 0.95),)), Said(row, (), (Entity(1, 4, HOSTILE, 0.95),))])
    page = Page(html)  # fails where an element is not closed in its place
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    drawn = box_output([(Boxes.of([(1, 1, 9, 9)], [HOSTILE]), Boxes.of([], []))], HOSTILE)
    assert [one.seen.counts for one in drawn.galleries.of(MISTAKES, HOSTILE)] == [{"missed": 1}]
