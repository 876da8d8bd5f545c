"""The page of a classification run: whole without a network, readable by everybody, and proof against its own data."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re

import pytest
from PIL import Image

from jobkit.classification_output import finish
from jobkit.manifest import ManifestRow
from jobkit.report.gallery import HITS, LIMITS, MISTAKES, SUSPECTS, UNCERTAIN
from jobkit.report.page import MAX_CONFUSION_CLASSES, confusion_table
from jobkit.report.run import job_links, run_table
from jobkit.report.thumbnails import MAX_THUMBNAILS, SIDE, Thumbnails
from jobkit.storage import Storage
from tests.jobs.report.runs import Page, output_of, page_of, report_of, several_rows, single_rows

HOSTILE = (
    "</script></style></title></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'><b a='\"& \u2028\u202e"
)
NAMES = ["apple", "pear", "plum"]
DATASET = {
    "rows": {"seen": 130, "labelled": 120, "skipped": 7},
    "classes": [
        {"display_name": name, "counts": {"training": 20 + index, "validation": 4, "test": 9}}
        for index, name in enumerate(NAMES)
    ],
    "skipped": {"empty_text": {"count": 7, "ids": [f"skipped-{index}" for index in range(7)]}},
    "unlabelled": {"unlabelled": {"count": 3, "ids": ["u1", "u2", "u3"]}},
    "left_out_classes": {"medlar": 2},
    "duplicates_across_splits": {"count": 2, "contents": 1, "ids": ["twin-1", "twin-2"]},
    "notes": ["5 rows had several labels (rule: majority)"],
}


def sample_page(*, single: bool = True) -> Page:
    rows = (single_rows if single else several_rows)(NAMES, 60)
    rows += (single_rows if single else several_rows)(NAMES, 40, "validation", 9)
    told = {"dataset": DATASET, "parameters": {"sink": "auto"}, "artifacts": {"metrics": "gs://b/metrics.json"}}
    return Page(page_of(report_of(output_of(NAMES, rows, single=single), **told)))


@pytest.mark.parametrize("single", [True, False])
def test_it_loads_nothing_and_runs_nothing(single: bool) -> None:
    page = sample_page(single=single)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    (style,) = [text for tag, text in page.texts if tag == "style"]
    assert "url(" not in style
    assert "@import" not in style
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("single", [True, False])
def test_it_is_ordered_for_those_who_do_not_see_it(single: bool) -> None:
    page = sample_page(single=single)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    charts = page.all("svg")
    assert len(charts) == 3
    idents = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(idents) == len(set(idents))
    for chart in charts:
        assert chart["role"] == "img"
        assert set(chart["aria-labelledby"].split()) <= set(idents)
    assert len(page.all("desc")) == 3
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= set(idents)
    assert page.all("html")[0]["lang"] == "en"
    assert "prefers-color-scheme:dark" in page.text
    assert "@media print" in page.text


def test_it_tells_what_became_of_the_data() -> None:
    text = sample_page().text
    assert "130 rows were exported, 120 of them labelled." in text
    assert "empty text" in text
    assert "skipped-4" in text
    assert "skipped-5" not in text  # five examples a reason
    assert "twin-1" in text
    assert "medlar" in text
    assert "5 rows had several labels" in text


def test_the_baseline_and_the_intervals_stand_beside_the_model() -> None:
    text = sample_page().text
    assert "majority baseline" in text
    assert "(Wilson)" in text
    assert re.search(r"95 %: 0\.\d{3} to 0\.\d{3} \(seeded bootstrap, 1000 resamples\)", text)
    assert "Chosen on the validation split it would be" in text


@pytest.mark.parametrize("single", [True, False])
def test_data_cannot_break_out_of_its_place(single: bool) -> None:
    names = [HOSTILE, f"{HOSTILE}2", "plain"]
    make = single_rows if single else several_rows
    rows = [
        (ManifestRow(f"{row.data_row_id}{HOSTILE}", None, HOSTILE, row.split, row.labels, True), answers, decided)
        for row, answers, decided in make(names, 40)
    ]
    dataset = {
        **DATASET,
        "classes": [{"display_name": name, "counts": {}} for name in names],
        "skipped": {HOSTILE: {"count": 1, "ids": [HOSTILE]}},
        "left_out_classes": {HOSTILE: 1},
        "duplicates_across_splits": {"count": 1, "ids": [HOSTILE]},
        "notes": [HOSTILE],
    }
    pairs = {HOSTILE: HOSTILE, "link": f"gs://b/{HOSTILE}"}
    more = {"title": HOSTILE, "dataset": dataset, "told": pairs, "parameters": pairs, "artifacts": pairs}
    html = page_of(report_of(output_of(names, rows, single=single), **more))
    page = Page(html)  # fails where an element is not closed in its place
    assert not {tag for tag, _ in page.elements} & {"script", "img", "b a"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not [attributes for attributes in page.all("b") if attributes]
    assert page.text.count("alert(1)") > 20
    assert len([tag for tag, _ in page.elements if tag == "style"]) == 1


@pytest.mark.parametrize("single", [True, False])
def test_ten_thousand_rows_stay_a_small_page(single: bool) -> None:
    names = [f"class number {index} with a rather long name" for index in range(300 if single else 20)]
    rows = single_rows(names, 10000, text="<&> long text " * 2000) if single else several_rows(names, 10000)
    html = page_of(report_of(output_of(names, rows, single=single), dataset=DATASET))
    assert len(html.encode()) < 3_000_000
    assert html.count("<li>") < 200


def test_a_wide_confusion_matrix_shows_the_most_frequent_classes_and_adds_up_the_others() -> None:
    names = [f"c{index:02d}" for index in range(30)]
    confusion = {name: {name: 100 - index, names[index - 1]: 1} for index, name in enumerate(names)}
    confusion["c00"][""] = 3
    confusion[""] = {"c01": 4, "c25": 5}
    page = Page(confusion_table(confusion))
    assert f"Shown are the {MAX_CONFUSION_CLASSES} with the most rows; the other 10 are added up" in page.text
    assert "c19" in page.text
    assert "c20" not in page.text
    shown = sum(int(text) for tag, text in page.texts if tag == "td")
    assert shown == sum(sum(line.values()) for line in confusion.values())
    assert [text for tag, text in page.texts if tag == "th"].count("(none)") == 2  # a line and a column
    assert [text for tag, text in page.texts if tag in ("th", "td")][-3:] == ["(none)", "4", "5"]


def test_the_galleries_hold_what_their_rules_say() -> None:
    def row(name: str, split: str, truth: str) -> ManifestRow:
        return ManifestRow(name, None, name, split, (truth,), True)

    rows = [
        (row("surely wrong", "test", "pear"), {"apple": 0.97}, ("apple",)),
        (row("unsurely wrong", "test", "pear"), {"apple": 0.4}, ("apple",)),
        (row("hit", "test", "apple"), {"apple": 0.8}, ("apple",)),
        (row("unsure hit", "test", "apple"), {"apple": 0.35}, ("apple",)),
        (row("wrong in training", "training", "pear"), {"apple": 0.99}, ("apple",)),
        (row("without prediction", "test", "pear"), None, ()),
    ]
    galleries = output_of(NAMES, rows).galleries
    ids = {
        kind: [one.data_row_id for one in galleries.of(kind, "test")] for kind in (MISTAKES, UNCERTAIN, HITS, SUSPECTS)
    }
    assert ids[MISTAKES] == ["surely wrong", "unsurely wrong", "without prediction"]
    assert ids[UNCERTAIN][:2] == ["unsure hit", "unsurely wrong"]
    assert set(ids[HITS]) == {"hit", "unsure hit"}
    assert ids[SUSPECTS] == ["wrong in training", "surely wrong"]
    many = output_of(NAMES, single_rows(NAMES, 500)).galleries
    assert all(len(many.of(kind, "test")) == LIMITS[kind] for kind in (MISTAKES, UNCERTAIN, HITS))
    best = [one.seen.said[0][1] for one in many.of(MISTAKES, "test")]
    assert best == sorted(best, reverse=True)


def test_a_run_without_a_label_or_without_a_prediction_has_a_page() -> None:
    unlabelled = [(ManifestRow("a", None, "text", "test"), {"apple": 0.5}, ("apple",))]
    assert "No labelled row was there to evaluate." in page_of(report_of(output_of(NAMES, unlabelled)))
    silent = [(row, None, ()) for row, _, _ in single_rows(NAMES, 5)]
    page = Page(page_of(report_of(output_of(NAMES, silent))))
    assert "No row has a prediction." in page.text
    assert page.all("svg") == []


def picture(side: int) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side // 2), 60).save(out, "PNG")
    return out.getvalue()


def test_pictures_are_small_few_and_may_be_missing(folder: str) -> None:
    storage = Storage()
    try:
        data = picture(600)
        for index in range(MAX_THUMBNAILS + 3):
            storage.write_bytes(f"{folder}/{index}.png", data, "image/png")
        storage.write_bytes(f"{folder}/damaged.png", data[:200], "image/png")
        thumbnails = Thumbnails(storage)
        assert thumbnails.of(f"{folder}/damaged.png") == ""
        assert thumbnails.of(f"{folder}/missing.png") == ""
        made = [thumbnails.of(f"{folder}/{index}.png") for index in range(MAX_THUMBNAILS + 3)]
    finally:
        storage.close()
    kept = [one for one in made if one]
    assert len(kept) == MAX_THUMBNAILS - 2
    with Image.open(io.BytesIO(base64.b64decode(kept[0].partition(",")[2]))) as small:
        assert (small.format, small.size) == ("JPEG", (SIDE, SIDE // 2))
    assert sum(map(len, kept)) < 500_000


def test_the_job_writes_the_page_and_its_figures(folder: str) -> None:
    storage = Storage()
    output = output_of(NAMES, single_rows(NAMES, 60))
    storage.write_text(f"{folder}/predictions.ndjson", "")

    def no_client() -> object:
        raise AssertionError("nothing is uploaded")

    try:
        result = finish(
            output, DATASET, {"model": "m<1>"}, storage, folder, "metadata", no_client, parameters={"x": "7"}
        )
        page = Page(storage.read_text(result.outputs["report"]))
        metrics = json.loads(storage.read_text(result.outputs["metrics"]))
    finally:
        storage.close()
    assert "m<1>" in page.text
    figures = metrics["statistics"]["test"]
    low, high = figures["intervals_95"]["accuracy"]
    assert low < metrics["splits"]["test"]["accuracy"] < high
    assert f"{low:.3f} to {high:.3f} (Wilson)" in page.text
    assert not re.search(r"https?://", page.text)  # the imitated cloud has no pages to link to


def test_files_and_the_job_are_links_only_where_the_cloud_is_real() -> None:
    cloud = {"GOOGLE_CLOUD_PROJECT": "p", "REGION": "r", "CLOUD_ML_JOB_ID": "5"}
    pairs = {**job_links(cloud), "report": "gs://bucket/a b/report.html", "model": "gs://bucket/model/"}
    links = [one["href"] for one in Page(run_table(pairs, "Files", cloud)).all("a")]
    assert links == [
        "https://console.cloud.google.com/vertex-ai/locations/r/training/5?project=p",
        "https://console.cloud.google.com/storage/browser/_details/bucket/a%20b/report.html",
        "https://console.cloud.google.com/storage/browser/bucket/model/",
    ]
    local = {**cloud, "STORAGE_EMULATOR_HOST": "http://x"}
    assert Page(run_table({**job_links(local), "report": "gs://b/r"}, "Files", local)).all("a") == []
