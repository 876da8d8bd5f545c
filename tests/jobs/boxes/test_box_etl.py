"""The ETL job against real servers, and the box bugs of the 2022 reference, each by its name."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from etl.bounding_boxes import main as etl
from jobkit.boxes.labels import LabelledBox, clipped
from jobkit.boxes.limits import large_enough, normalised
from jobkit.image.dataset import dataset_client
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.storage import Storage
from tests.jobs.boxes.scenes import MODEL_RUN, Sample, drawing, jpeg, label, rectangle

Serve = Callable[[Path], object]
BOX = (20.0, 30.0, 40.0, 50.0)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Enough scenes for Vertex; tests add the row that they are about."""
    made = Sample(tmp_path / "sample")
    made.fill(24)
    return made


def prepare(storage: Storage, folder: str, *more: str, data: str = "data") -> tuple[int, dict]:
    code = etl.main(
        [
            f"--model-run-id={MODEL_RUN}",
            f"--output-uri={folder}/{data}",
            f"--ending-uri={folder}/endings/",
            f"--labels=lb_run_key={hashlib.sha256(folder.encode()).hexdigest()[:16]}",
            *more,
        ]
    )
    ending = "result" if code == 0 else "error"
    return code, json.loads(storage.read_text(f"{folder}/endings/by-hand/{ending}.json"))


def manifest(storage: Storage, ended: dict) -> dict[str, ManifestRow]:
    return {row.data_row_id: row for row in read_manifest(storage, ended["outputs"]["manifest"])}


def training(storage: Storage, ended: dict) -> dict[str, dict]:
    """The training file's lines by their image."""
    lines = [json.loads(line) for line in storage.read_lines(ended["outputs"]["training_file"])]
    return {line["imageGcsUri"]: line for line in lines}


def notes(storage: Storage, ended: dict) -> list[str]:
    return json.loads(storage.read_text(ended["outputs"]["dataset_report"]))["notes"]


def edges(annotation: dict) -> tuple[float, ...]:
    return tuple(annotation[name] for name in ("xMin", "yMin", "xMax", "yMax"))


def test_the_vertex_data_set_holds_the_boxes_once_however_often_the_job_runs(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    serve(sample.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    assert ended["counts"]["imported_images"] == ended["counts"]["training_images"] == 24
    assert ended["counts"]["import_failures"] == 0
    first = training(storage, ended)
    assert {line["dataItemResourceLabels"]["aiplatform.googleapis.com/ml_use"] for line in first.values()} == {
        "training", "validation", "test"
    }  # fmt: skip
    again, ended_again = prepare(storage, folder, data="data-2")
    assert again == 0 and ended_again["outputs"]["dataset"] == ended["outputs"]["dataset"]
    assert training(storage, ended_again) == first
    name = f"projects/local-project/locations/us-central1/datasets/{ended['outputs']['dataset']}"
    assert dataset_client().get_dataset({"name": name}, timeout=10).data_item_count == 24


def test_training_in_a_container_needs_no_vertex(storage: Storage, folder: str, serve: Serve, sample: Sample) -> None:
    serve(sample.save())
    code, ended = prepare(storage, folder, "--trainer=container")
    assert code == 0, ended
    assert "dataset" not in ended["outputs"]


@pytest.mark.parametrize("size", [(1024, 768), (4000, 3000), (8000, 6000)])
def test_bug_b3_rounding_coordinates_keep_their_full_precision(size: tuple[int, int]) -> None:
    width, height = size
    box = LabelledBox("t", 1234.567 % (width - 40), 987.654 % (height - 40), 36.3, 36.7)
    x_min, y_min, x_max, y_max = normalised(box, width, height)
    back = (x_min * width, y_min * height, (x_max - x_min) * width, (y_max - y_min) * height)
    assert back == pytest.approx((box.left, box.top, box.width, box.height), abs=1e-6)


@pytest.mark.parametrize(
    ("box", "size", "kept"),
    [
        ((10, 10, 35, 200), (1024, 768), True),  # dropped by the reference, which asks for 36 px
        ((10, 10, 11, 8), (1024, 768), True),
        ((10, 10, 10, 8), (1024, 768), False),  # under 1 % of the width
        ((10, 10, 11, 7), (1024, 768), False),  # under 8 px
        ((10, 10, 8, 8), (200, 100), True),
        ((0, 0, 81, 70), (4096, 4096), True),
        ((0, 0, 33, 33), (4096, 3072), False),  # 11 px after the short side became 1024, but under 1 % of 4096
        ((0, 0, 25, 250), (1100, 8000), True),
    ],
)
def test_bug_b4_the_36_px_filter_is_vertex_s_own_limit_instead(
    box: tuple[float, ...], size: tuple[int, int], kept: bool
) -> None:
    assert large_enough(normalised(LabelledBox("t", *box), *size), *size) is kept


@pytest.mark.parametrize(
    ("rectangle", "expected"),
    [
        ({"left": 100, "top": 0, "width": 20, "height": 20}, "outside_the_image"),
        ({"left": -30, "top": 0, "width": 30, "height": 20}, "outside_the_image"),
        ({"left": 0, "top": 80.5, "width": 20, "height": 20}, "outside_the_image"),
        ({"left": 10, "top": 10, "width": 0, "height": 20}, "without_area"),
        ({"left": 10, "top": 10, "width": -5, "height": 20}, "without_area"),
        ({"left": 10, "top": 10, "width": float("nan"), "height": 20}, "malformed"),
        ({"left": "ten", "top": 10, "width": 5, "height": 20}, "malformed"),
        ({"left": "10", "top": "1.5", "width": 5, "height": 2e1}, LabelledBox("t", 10, 1.5, 5, 20)),
        ({"left": 10, "top": 10, "width": 5}, "malformed"),
        ({"left": 10, "top": 10, "width": True, "height": 4}, "malformed"),
        (None, "malformed"),
        ([1, 2, 3, 4], "malformed"),
        ({"left": -10, "top": 70, "width": 30, "height": 30}, LabelledBox("t", 0, 70, 20, 10)),
        ({"left": 10.25, "top": 1.5, "width": 30.125, "height": 30}, LabelledBox("t", 10.25, 1.5, 30.125, 30)),
    ],
)
def test_bug_b5_a_box_outside_the_image_is_dropped_and_one_across_its_edge_is_clipped(
    rectangle: object, expected: object
) -> None:
    assert clipped("t", rectangle, 100, 80) == expected


def test_bug_b6_exif_orientation_boxes_are_where_a_person_sees_them(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    upright = drawing([("tool-car", BOX)], (120, 160))
    data = jpeg(upright.transpose(2), orientation=6)  # ROTATE_90: the phone lay on its side
    sample.add("phone", "TRAINING", [("tool-car", BOX)], data=data, size=(160, 120))
    serve(sample.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    details = manifest(storage, ended)["phone"].details
    assert details and (details["width"], details["height"]) == (120, 160)
    (annotation,) = training(storage, ended)[details["image"]]["boundingBoxAnnotations"]
    assert edges(annotation) == pytest.approx((20 / 120, 30 / 160, 60 / 120, 80 / 160))
    red, _, blue = picture_at(storage.read_bytes(details["image"]), (40, 55))
    assert blue > 180 and red < 120


def picture_at(data: bytes, point: tuple[int, int]) -> tuple[int, int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB").getpixel(point)


def test_bug_file_name_parsing_ids_with_underscores_do_no_harm(
    storage: Storage, folder: str, serve: Serve, sample: Sample
) -> None:
    serve(sample.save())
    code, ended = prepare(storage, folder, "--trainer=container")
    rows = manifest(storage, ended)
    assert code == 0 and "scene_3_160_120" in rows and rows["scene_3_160_120"].details["width"] == 160


def test_bug_b10_a_class_with_a_space_keeps_its_name(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    serve(sample.save())
    _, ended = prepare(storage, folder)
    names = {a["displayName"] for line in training(storage, ended).values() for a in line["boundingBoxAnnotations"]}
    assert names == {"Traffic light", "car"}
    report = json.loads(storage.read_text(ended["outputs"]["dataset_report"]))
    assert {entry["feature_schema_id"] for entry in report["classes"]} == {"tool-light", "tool-car"}


def test_bug_row_without_objects_is_a_true_negative_and_an_unlabelled_one_is_only_predicted(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    sample.add("nothing-there", "TRAINING", [])
    sample.add("unlabelled", "TRAINING", [], labels=[])
    sample.add("skipped", "TRAINING", [], labels=[label([], skipped=True)])
    bad = [rectangle("tool-car", BOX, bounding_box={"top": None}), rectangle("tool-car", BOX)]
    sample.add("malformed", "TRAINING", [], labels=[label(bad)])
    strange: list = [rectangle("tool-car", BOX), "no object"]
    sample.add("strange", "TRAINING", [], labels=[label(strange)])
    sample.add("unknown-tool", "TRAINING", [], labels=[label([rectangle("tool-gone", BOX)])])
    polygon = {"feature_schema_id": "p", "name": "p", "annotation_kind": "ImagePolygon", "polygon": []}
    sample.add("polygon", "TRAINING", [], labels=[label([polygon])])
    serve(sample.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    rows, lines = manifest(storage, ended), training(storage, ended)

    def boxes(row_id: str) -> object:
        details = rows[row_id].details
        line = lines.get(details["image"])
        return rows[row_id].labelled, details.get("boxes"), line and len(line["boundingBoxAnnotations"])

    assert boxes("nothing-there") == (True, [], 0)
    assert boxes("unlabelled") == boxes("skipped") == (False, None, None)
    assert rows["unlabelled"].note == "unlabelled"
    assert boxes("strange") == (False, None, None) and rows["strange"].note == "unreadable_labels"
    assert boxes("malformed")[2] == 1 and boxes("unknown-tool")[2] == boxes("polygon")[2] == 0
    told = notes(storage, ended)
    assert "1 boxes were dropped (malformed)" in told
    assert "the tool 'tool-gone' (1 boxes) is not in the ontology" in told
    assert "1 annotations are no rectangles (ImagePolygon): not learned" in told


def test_a_row_of_unusable_boxes_alone_does_not_say_that_nothing_is_there(
    storage: Storage, folder: str, serve: Serve, sample: Sample
) -> None:
    for name, box in {"outside": (500.0, 500.0, 20.0, 20.0), "no-area": (5.0, 5.0, 0.0, 9.0)}.items():
        sample.add(name, "TRAINING", [], labels=[label([rectangle("tool-car", box)])])
    sample.add("nan", "TEST", [], labels=[label([rectangle("tool-car", BOX, bounding_box={"top": float("nan")})])])
    serve(sample.save())
    code, ended = prepare(storage, folder, "--trainer=container")
    assert code == 0, ended
    rows, lines = manifest(storage, ended), training(storage, ended)
    for name in ("outside", "no-area", "nan"):
        assert (rows[name].labelled, rows[name].note) == (False, "only_unusable_boxes")
        assert rows[name].details["image"] not in lines and "boxes" not in rows[name].details
    assert "3 only unusable boxes" in ended["metadata"]["not_evaluated_rows"]


def test_baseline_nested_answers_about_a_box_and_about_the_picture_are_in_the_manifest(
    storage: Storage, folder: str, serve: Serve, sample: Sample
) -> None:
    make = {"feature_schema_id": "o-van", "name": "van", "value": "van", "classifications": []}
    kind = {"feature_schema_id": "q-kind", "name": "kind", "radio_answer": make}
    plate = {"feature_schema_id": "q-plate", "name": "plate", "text_answer": {"content": "B-1"}}
    wet = {"feature_schema_id": "o-wet", "name": "wet", "value": "wet", "classifications": [plate]}
    about = {"feature_schema_id": "q-road", "name": "road", "radio_answer": wet}
    given = label([rectangle("tool-car", BOX, classifications=[kind]), rectangle("tool-car", (1.0, 2.0, 30.0, 40.0))])
    given["annotations"]["classifications"] = [about]
    sample.add("asked", "TRAINING", [], labels=[given])
    serve(sample.save())
    code, ended = prepare(storage, folder, "--trainer=container")
    assert code == 0, ended
    details = manifest(storage, ended)["asked"].details
    assert [box.get("nested") for box in details["boxes"]] == [
        [{"under": "tool-car", "question": "q-kind", "answers": ["o-van"]}],
        None,
    ]
    assert details["nested"] == [{"under": "o-wet", "question": "q-plate", "answers": [], "text": "B-1"}]


def test_pictures_that_automl_would_not_take_count_for_no_class(
    storage: Storage, folder: str, serve: Serve, tmp_path: Path
) -> None:
    crowded = Sample(tmp_path / "crowded")
    crowded.fill(9)
    many = [("tool-car", (float(x * 9), float(y * 9), 8.0, 8.0)) for x in range(33) for y in range(16)]
    for number in range(6):
        crowded.add(f"many-{number}", "TRAINING", many, size=(320, 160))
    serve(crowded.save())
    code, ended = prepare(storage, folder)
    assert (code, ended["kind"]) == (1, "bad_data")
    assert "AutoML needs 10 images with boxes of a class" in ended["sentence"]


def test_small_boxes_are_evaluated_but_not_trained_on_and_teach_nothing_wrong(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    sample.add("mixed", "TRAINING", [("tool-car", BOX), ("tool-car", (1, 1, 5, 5))])
    sample.add("tiny", "TRAINING", [("tool-car", (100, 100, 5, 5))])
    many = [("tool-car", (float(x * 9), float(y * 9), 8.0, 8.0)) for x in range(33) for y in range(16)]
    sample.add("many", "TRAINING", many, size=(320, 160))
    serve(sample.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    rows, lines = manifest(storage, ended), training(storage, ended)
    assert [len(rows[name].details["boxes"]) for name in ("mixed", "tiny", "many")] == [2, 1, 528]
    assert len(lines[rows["mixed"].details["image"]]["boundingBoxAnnotations"]) == 1
    assert rows["tiny"].details["image"] not in lines and rows["many"].details["image"] not in lines
    assert ended["counts"]["boxes_too_small"] == 2
    told = " ".join(notes(storage, ended))
    assert "only boxes too small" in told and "more than 500 boxes" in told


def test_pictures_with_the_same_bytes_go_in_once_and_disagreeing_ones_not_at_all(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    same, other = jpeg(drawing([("tool-car", BOX)], seed=91)), jpeg(drawing([("tool-car", BOX)], seed=92))
    sample.add("same-1", "TRAINING", [("tool-car", BOX)], data=same)
    sample.add("same-2", "TEST", [("tool-car", BOX)], data=same)
    sample.add("other-1", "TRAINING", [("tool-car", BOX)], data=other)
    sample.add("other-2", "TRAINING", [("tool-light", BOX)], data=other)
    serve(sample.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    rows, lines = manifest(storage, ended), training(storage, ended)
    line = lines[rows["same-1"].details["image"]]
    assert line["dataItemResourceLabels"]["aiplatform.googleapis.com/ml_use"] == "test"
    assert rows["same-1"].labelled and rows["same-2"].labelled
    assert rows["other-1"].note == rows["other-2"].note == "same_image_labelled_differently"
    assert rows["other-1"].details["image"] not in lines
    assert ended["counts"]["images"] == 24 + 2


def test_tools_are_chosen_by_name_or_id_and_the_others_are_background(
    storage: Storage, folder: str, serve: Serve, vertex: object, sample: Sample
) -> None:
    serve(sample.save())
    code, ended = prepare(storage, folder, "--tools=Traffic light")
    assert code == 0, ended
    names = {a["displayName"] for line in training(storage, ended).values() for a in line["boundingBoxAnnotations"]}
    assert names == {"Traffic light"}
    code, ended = prepare(storage, f"{folder}-wrong", "--tools=bicycle")
    assert code == 1 and "'bicycle'" in ended["sentence"] and "'Traffic light'" in ended["sentence"]


def test_too_few_images_are_told_with_the_figures_before_anything_is_paid_for(
    storage: Storage, folder: str, serve: Serve, vertex: object, tmp_path: Path
) -> None:
    few = Sample(tmp_path / "few")
    few.fill(6)
    serve(few.save())
    code, ended = prepare(storage, folder)
    assert code == 1 and ended["kind"] == "bad_data"
    assert "AutoML needs 10 images with boxes of a class" in ended["sentence"] and "car" in ended["sentence"]
    code, _ = prepare(storage, f"{folder}-own", "--trainer=container")
    assert code == 0
