"""What the console's pages are made of: annotations read, predictions judged, texts cut, forms read. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.console.annotations import Annotations, Box, Choice, Entity, of_export, of_manifest, of_predictions
from local.console.data_rows import of_export_row, of_manifest_row
from local.console.drawing import drawn_boxes, pieces
from local.console.likeness import fitting
from local.console.paging import page_of
from local.console.parameter_form import free_from, read
from local.console.verdicts import RIGHT, UNLABELLED, WRONG, confident, verdict
from local.samples import sample_export
from orchestrator.parameters import Parameter
from orchestrator.pipelines import read_pipelines

NAMES = {"s-a": "A", "s-b": "B"}
BOX = {"top": 1, "left": 2, "height": 3, "width": 4}


def lines(*rows: dict[str, Any]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], Annotations()),
        (
            [{"schemaId": "q", "answer": {"schemaId": "s-a", "confidence": 0.5}}],
            Annotations(choices=(Choice("A", 0.5),)),
        ),
        (
            [{"schemaId": "q", "answer": [{"schemaId": "s-a", "confidence": 0.2}, {"name": "B", "confidence": 0.9}]}],
            Annotations(choices=(Choice("B", 0.9), Choice("A", 0.2))),
        ),
        (
            [{"schemaId": "s-b", "confidence": 0.7, "location": {"start": 3, "end": 5}}],
            Annotations(entities=(Entity(3, 6, "B", 0.7),)),  # Labelbox's end is inclusive
        ),
        ([{"schemaId": "s-a", "confidence": 0.7, "bbox": BOX}], Annotations(boxes=(Box(2, 1, 4, 3, "A", 0.7),))),
        ([{"name": "note", "answer": "a free text"}], Annotations()),
        ([{"schemaId": "unheard", "bbox": BOX}], Annotations(boxes=(Box(2, 1, 4, 3, "unheard"),))),
    ],
)
def test_prediction_rows_of_every_kind_are_read(rows: list[dict[str, Any]], found: Annotations) -> None:
    assert of_predictions(lines(*rows), NAMES) == found


def test_labels_are_read_alike_from_an_export_and_from_a_manifest() -> None:
    place = {"name": "A", "location": {"start": 0, "end": 1}}
    box = {"name": "A", "bounding_box": BOX}
    checklist = {"name": "q", "checklist_answers": [{"name": "A"}, {"name": "B"}]}
    both = of_export({"objects": [place, box, {"name": "P", "polygon": []}], "classifications": [checklist]})
    assert both == Annotations((Choice("A"), Choice("B")), (Entity(0, 2, "A"),), (Box(2, 1, 4, 3, "A"),))
    assert of_manifest(
        {"labels": ["A"], "details": {"entities": [{"start": 0, "end": 2, "name": "A"}]}}
    ) == Annotations(entities=(Entity(0, 2, "A"),))
    assert of_manifest({"labels": ["A"], "details": {"boxes": [{"name": "A", **BOX}]}}).boxes == both.boxes
    assert of_manifest({"labels": ["B", "A"]}).names == ["A", "B"]


SQUARE = Box(0, 0, 10, 10, "A")
A, B = Choice("A"), Choice("B", 0.9)


@pytest.mark.parametrize(
    ("label", "predicted", "judged"),
    [
        (None, Annotations((A,)), UNLABELLED),
        (Annotations((A,)), Annotations((Choice("A", 0.1),)), RIGHT),
        (Annotations((A,)), Annotations((B,)), WRONG),
        (Annotations((A, B)), Annotations((B, A)), RIGHT),
        (Annotations((A, B)), Annotations((A,)), WRONG),
        (Annotations(), Annotations(), RIGHT),
        (Annotations(), Annotations((A,)), WRONG),
        (Annotations(entities=(Entity(1, 3, "A"),)), Annotations(entities=(Entity(1, 3, "A", 0.4),)), RIGHT),
        (Annotations(entities=(Entity(1, 3, "A"),)), Annotations(entities=(Entity(1, 4, "A", 0.4),)), WRONG),
        (Annotations(entities=(Entity(1, 3, "A"),)), Annotations(), WRONG),
        (Annotations(boxes=(SQUARE,)), Annotations(boxes=(Box(1, 0, 10, 10, "A", 0.9),)), RIGHT),
        (Annotations(boxes=(SQUARE,)), Annotations(boxes=(Box(1, 0, 10, 10, "B", 0.9),)), WRONG),
        (Annotations(boxes=(SQUARE,)), Annotations(boxes=(Box(6, 0, 10, 10, "A", 0.9),)), WRONG),
        (Annotations(boxes=(SQUARE,)), Annotations(boxes=(Box(0, 0, 10, 10, "A", 0.4),)), WRONG),
        (Annotations(), Annotations(boxes=(Box(0, 0, 9, 9, "A", 0.4),)), RIGHT),
        (Annotations(boxes=(SQUARE,)), Annotations(boxes=(SQUARE, Box(0, 0, 10, 9, "A", 0.8))), WRONG),  # covered once
        (Annotations(boxes=(SQUARE, SQUARE)), Annotations(boxes=(SQUARE, Box(0, 0, 10, 9, "A", 0.8))), RIGHT),
    ],
)
def test_a_prediction_is_judged_by_the_rule_of_its_kind(
    label: Annotations | None, predicted: Annotations, judged: str
) -> None:
    assert verdict(label, predicted, 0.5) == judged


def test_boxes_below_the_cut_are_not_drawn_and_captions_stay_in_the_image() -> None:
    boxes = (Box(0, 0, 40, 40, "Big", 0.9), Box(85, 1, 10, 10, "Small", 0.6), Box(5, 5, 5, 5, "Unsure", 0.2))
    drawn = drawn_boxes(confident(Annotations(boxes=boxes), 0.5), 100)
    assert [item.caption for item in drawn] == ["Big 0.90", "Small 0.60"]
    for item in drawn:
        assert item.text_left >= 0 and item.text_left + item.text_width <= 100 and item.text_top >= 0
    assert drawn_boxes(Annotations(boxes=boxes), 0) == []  # at an unknown scale they would lie


@pytest.mark.parametrize(
    ("entities", "cut"),
    [
        ((), ["Ann in Rome"]),
        ((Entity(0, 3, "P"), Entity(7, 11, "C")), ["[Ann]", " in ", "[Rome]"]),
        ((Entity(7, 99, "C"),), ["Ann in ", "[Rome]"]),
        ((Entity(0, 6, "X"), Entity(0, 3, "P"), Entity(4, 11, "Y")), ["[Ann in]", " Rome"]),
        ((Entity(20, 30, "X"), Entity(3, 3, "Y")), ["Ann in Rome"]),
    ],
)
def test_a_text_is_cut_at_its_entities_and_nothing_of_it_is_lost(entities: tuple[Entity, ...], cut: list[str]) -> None:
    found = list(pieces("Ann in Rome", Annotations(entities=entities)))
    assert [f"[{piece.text}]" if piece.entity else piece.text for piece in found] == cut
    assert "".join(piece.text for piece in found) == "Ann in Rome"


FIRST = ((0, 1), 1)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, FIRST), ("2", ((2, 3), 2)), ("3", ((4,), 3)), ("99", ((4,), 3)), ("0", FIRST), ("-1", FIRST), ("x", FIRST)],
)
def test_a_page_that_is_not_there_is_the_nearest_one(number: str | None, shown: tuple[tuple[int, ...], int]) -> None:
    page = page_of(range(5), number, 2)
    assert (tuple(page.items), page.number) == shown and page.count == 3
    assert page_of([], number, 2).items == () and page_of([], number, 2).first == 0


def test_images_are_found_beside_the_export_on_the_web_and_in_the_bucket(tmp_path: Any) -> None:
    def row(content: str) -> dict[str, Any]:
        return {"data_row": {"id": "1", "row_data": content}, "media_attributes": {"asset_type": "image"}}

    shown = [
        of_export_row(row(text), {}, "fruit", tmp_path).image for text in ("files/a b.jpg", "https://x.example/b.jpg")
    ]
    assert shown == ["/files/fruit/files/a%20b.jpg", "https://x.example/b.jpg"]
    stored = {"data_row_id": "1", "content": f"gs://bucket/images/{'a' * 64}.jpg", "split": "valid"}
    assert of_manifest_row(stored).image == f"/images/{'a' * 64}.jpg" and of_manifest_row(stored).split == "validation"
    outside = {"data_row_id": "1", "content": "gs://bucket/images/../facts/x.jpg", "split": "test"}
    assert of_manifest_row(outside).image == ""


DECLARED = {
    "count": Parameter(type="integer", default=3, minimum=1, help="x"),
    "name": Parameter(type="string", default="some", help="x"),
    "sure": Parameter(type="boolean", default=True, help="x"),
}


@pytest.mark.parametrize(
    ("form", "values", "problems"),
    [
        ({"p.count": "5", "p.sure": "true"}, {"count": 5, "sure": True}, []),
        ({"p.count": ""}, {"sure": False}, []),  # an empty number is its default; a box that is not ticked is not sent
        ({"p.name": ""}, {"name": "", "sure": False}, []),
        ({"p.count": "0", "p.sure": "perhaps"}, None, ["count", "sure"]),
        ({"p.other": "1"}, None, [""]),
        ({"type": "x", "token": "y"}, {"sure": False}, []),
    ],
)
def test_a_form_is_read_as_the_engine_settles_a_config(
    form: dict[str, str], values: dict[str, Any] | None, problems: list[str]
) -> None:
    found = read(DECLARED, form)
    assert [*found.by_name, *("" for _ in found.others)] == problems
    assert found.is_valid == (not problems)
    if values is not None:
        assert found.values == values


def test_a_retry_offers_only_what_no_earlier_stage_used() -> None:
    pipeline = read_pipelines()["text_single_classification"]
    assert set(free_from(pipeline, "etl")) == set(pipeline.parameters)
    assert "minimum_examples" not in free_from(pipeline, "train") and "seed" in free_from(pipeline, "train")
    assert "seed" not in free_from(pipeline, "inference") and "sink" in free_from(pipeline, "inference")


TEXTS = ("text_single_classification", "text_multi_classification", "ner")
IMAGES = ("image_single_classification", "image_multi_classification")


@pytest.mark.parametrize(
    ("like", "types"),
    [
        ("ner", ["ner"]),
        ("text_single_classification", ["text_single_classification"]),
        ("image_single_classification", list(IMAGES)),  # a checklist's pictures may have radio answers, too
    ],
)
def test_an_export_is_offered_first_the_types_whose_samples_are_labelled_alike(like: str, types: list[str]) -> None:
    samples = {name: sample_export(name) for name in (*TEXTS, *IMAGES)}
    assert fitting(samples[like], samples) == types


def test_an_export_of_unknown_labels_is_offered_every_type_alike(tmp_path: Any) -> None:
    (tmp_path / "export.ndjson").write_text('{"data_row": {"id": "1"}}\n\nno JSON\n')
    samples = {name: sample_export(name) for name in TEXTS}
    assert fitting(tmp_path / "export.ndjson", samples) == [] == fitting(tmp_path / "none.ndjson", samples)
