"""Batch prediction output of boxes, of any shape, becomes figures and rows; what is missing is counted, never fatal."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from inference.bounding_boxes import main as inference
from inference.box_prediction import main as own
from jobkit.boxes.limits import MAX_BOXES_PER_IMAGE
from jobkit.boxes.predictions import BoxPredictions
from jobkit.manifest import ManifestRow
from jobkit.storage import Storage
from tests.jobs.boxes.scenes import MODEL_RUN, Sample, drawing, jpeg

REPOSITORY = Path(__file__).resolve().parents[3]
CLASSES = {"Traffic light": "tool-light", "car": "tool-car"}
REPORT = {
    "version": 1,
    "task": "boxes",
    "classes": [
        {"display_name": name, "feature_schema_id": tool, "name": name, "question": "", "kind": "rectangle"}
        for name, tool in CLASSES.items()
    ],
    "rows": {"seen": 4, "labelled": 3, "skipped": 0},
}
LIGHT = {"name": "Traffic light", "left": 64.0, "top": 48.0, "width": 128.0, "height": 96.0}
CAR = {"name": "car", "left": 320.0, "top": 240.0, "width": 160.0, "height": 120.0}


def row(number: int, split: str, *boxes: dict, labelled: bool = True, image: str = "") -> ManifestRow:
    details = {"image": f"gs://b/big/{number}", "width": 640, "height": 480, "boxes": [*boxes]}
    return ManifestRow(
        f"row_{number}_640_480",
        None,
        image or f"gs://b/images/{number}.jpg",
        split,
        tuple({box["name"]: None for box in boxes}),
        labelled,
        "" if labelled else "unlabelled",
        details if labelled else {key: value for key, value in details.items() if key != "boxes"},
    )


def prediction(number: int, *boxes: tuple[str, list[float], float]) -> dict:
    return {
        "instance": {"content": f"gs://b/images/{number}.jpg", "mimeType": "image/jpeg"},
        "prediction": {
            "ids": [str(i) for i in range(len(boxes))],
            "displayNames": [name for name, _, _ in boxes],
            "bboxes": [box for _, box, _ in boxes],
            "confidences": [confidence for _, _, confidence in boxes],
        },
    }


# xMin, xMax, yMin, yMax, as Vertex writes them
LIGHT_BOX, CAR_BOX = [0.1, 0.3, 0.1, 0.3], [0.5, 0.75, 0.5, 0.75]
LIGHT_FOUND = prediction(1, ("Traffic light", LIGHT_BOX, 0.9))


def write(storage: Storage, uri: str, lines: list[dict]) -> None:
    storage.write_text(uri, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def conclude(
    storage: Storage, folder: str, rows: list[ManifestRow], shards: dict[str, list[dict]], *more: str
) -> tuple[dict, list[dict], dict]:
    """Runs the job on these shards; its result, its rows for Labelbox, and metrics.json."""
    for name, lines in shards.items():
        write(storage, f"{folder}/batch/{name}", lines)
    storage.write_text(f"{folder}/manifest.jsonl", "".join(one.to_line() + "\n" for one in rows))
    storage.write_text(f"{folder}/dataset_report.json", json.dumps(REPORT))
    attempt = folder.rpartition("/")[2]  # Labelbox knows an upload by its attempt
    arguments = [
        f"--model-run-id={MODEL_RUN}",
        f"--manifest={folder}/manifest.jsonl",
        f"--predictions={folder}/batch/",
        f"--dataset-report={folder}/dataset_report.json",
        f"--output-uri={folder}/{attempt}/",
        f"--ending-uri={folder}/endings/",
    ]
    code = inference.main([*arguments, *(more or ("--sink=metadata",))])
    assert code == 0
    result = json.loads(storage.read_text(f"{folder}/endings/by-hand/result.json"))
    lines = [json.loads(line) for line in storage.read_lines(result["outputs"]["predictions"])]
    return result, lines, json.loads(storage.read_text(result["outputs"]["metrics"]))


def test_bug_box_order_x_min_x_max_y_min_y_max_becomes_pixels_of_the_labelled_picture(
    storage: Storage, folder: str
) -> None:
    shards = {"predictions_00001.jsonl": [LIGHT_FOUND]}
    result, lines, _ = conclude(storage, folder, [row(1, "test", LIGHT)], shards)
    (box,) = [line for line in lines if "bbox" in line]
    assert box["bbox"] == pytest.approx({"left": 64.0, "top": 48.0, "width": 128.0, "height": 96.0})
    assert box["schemaId"] == "tool-light" and box["dataRow"] == {"id": "row_1_640_480"}
    assert result["metrics"]["map_50_95"] == 1.0 and result["metrics"]["mean_iou"] == pytest.approx(1.0)


def test_bug_b14_every_box_has_its_confidence_and_rows_have_one_for_each_cut(storage: Storage, folder: str) -> None:
    boxes = (("Traffic light", LIGHT_BOX, 0.65), ("car", CAR_BOX, 0.05), ("Traffic light", CAR_BOX, 0.3))
    shards = {"predictions_1.jsonl": [prediction(1, *boxes)]}
    flags = ("--sink=metadata", "--upload-min-confidence=0.1")
    result, lines, _ = conclude(storage, folder, [row(1, "test", LIGHT)], shards, *flags)
    assert sorted(line["confidence"] for line in lines if "bbox" in line) == [0.3, 0.65]
    (metric,) = [line for line in lines if "metricName" in line]
    assert metric["featureName"] == "Traffic light" and metric["aggregation"] == "CONFUSION_MATRIX"
    values = metric["metricValue"]
    assert (values["0.1"], values["0.4"], values["0.7"]) == ([1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1])
    assert result["counts"]["below_upload_min_confidence"] == 1


def test_the_report_draws_boxes_over_a_small_copy_of_their_picture_or_without_one(
    storage: Storage, folder: str
) -> None:
    storage.write_bytes(f"{folder}/1.jpg", jpeg(drawing([], (640, 480))), "image/jpeg")
    rows = [row(1, "test", LIGHT, image=f"{folder}/1.jpg"), row(2, "test", CAR)]  # the second image is gone
    result, _, _ = conclude(storage, folder, rows, {"predictions_1.jsonl": []})
    page = storage.read_text(result["outputs"]["report"])
    assert page.count('<image href="data:image/jpeg;base64,') == 1
    assert page.count('<svg class="boxes"') == 2


@pytest.mark.parametrize(("iou", "hits"), [("0.5", 1), ("0.7", 1), ("0.8", 0)])
def test_a_box_is_a_hit_from_the_run_s_overlap_on_and_average_precision_stays(
    storage: Storage, folder: str, iou: str, hits: int
) -> None:
    shards = {"predictions_1.jsonl": [prediction(1, ("Traffic light", [0.1, 0.3, 0.1, 0.25], 0.9))]}  # overlaps by 0.75
    flags = ("--sink=metadata", f"--iou={iou}")
    result, lines, metrics = conclude(storage, folder, [row(1, "test", LIGHT)], shards, *flags)
    (metric,) = [line for line in lines if "metricName" in line]
    assert metric["metricName"] == f"{round(float(iou) * 100)}pct_iou"
    assert metric["metricValue"]["0.5"] == [hits, 1 - hits, 0, 1 - hits]
    assert (result["metrics"]["precision"], result["metrics"]["recall"]) == (hits, hits)
    assert metrics["splits"]["test"]["iou"] == float(iou)
    assert (result["metrics"]["map_50"], result["metrics"]["map_75"]) == (1.0, 1.0)
    assert f"IoU of {iou}" in storage.read_text(result["outputs"]["report"])


def test_an_overlap_that_is_not_counted_at_is_refused_with_those_that_are(storage: Storage, folder: str) -> None:
    arguments = dict.fromkeys(("model-run-id", "manifest", "predictions", "dataset-report"), "gs://b/x")
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    code = inference.main([*flags, f"--output-uri={folder}/o/", f"--ending-uri={folder}/endings/", "--iou=0.52"])
    told = json.loads(storage.read_text(f"{folder}/endings/by-hand/error.json"))
    assert code == 1 and told["kind"] == "configuration"
    assert "0.52 is none of 0.5, 0.55" in told["sentence"]


def test_bug_b12_rows_without_predictions_are_misses_and_boxes_on_empty_rows_are_false(
    storage: Storage, folder: str
) -> None:
    rows = [row(1, "test", LIGHT), row(2, "test", LIGHT, CAR), row(3, "test"), row(4, "training", labelled=False)]
    shards = {
        "predictions_00001.jsonl": [
            prediction(1, ("Traffic light", LIGHT_BOX, 0.9)),
            prediction(4, ("car", CAR_BOX, 1)),
        ],
        "predictions_00002.jsonl": [prediction(3, ("car", CAR_BOX, 0.8))],
        "errors_00001.jsonl": [
            {"instance": {"content": "gs://b/images/2.jpg"}, "error": {"code": 3, "message": "the image is too large"}}
        ],
    }
    result, lines, metrics = conclude(storage, folder, rows, shards)
    classes = metrics["splits"]["test"]["classes"]
    assert [classes["Traffic light"][key] for key in ("tp", "fp", "fn")] == [1, 0, 1]
    assert [classes["car"][key] for key in ("tp", "fp", "fn")] == [0, 1, 1]
    assert result["counts"]["rows_without_prediction"] == 1 and result["counts"]["image_errors"] == 1
    assert result["metadata"]["rows_without_prediction"] == "1 of 4"
    assert "row_4_640_480" in {line["dataRow"]["id"] for line in lines}
    report = storage.read_text(result["outputs"]["report"])
    assert "the image is too large (1)" in report and "missed" in report and "row_2_640_480" in report


def test_bug_b15_no_prediction_at_all_is_a_result_and_not_a_failed_run(storage: Storage, folder: str) -> None:
    result, lines, _ = conclude(storage, folder, [row(1, "test", LIGHT), row(2, "validation", CAR)], {})
    assert result["counts"]["predictions"] == 0 and result["metrics"]["recall"] == 0.0
    assert all("metricName" in line for line in lines)
    shards = {"predictions_1.jsonl": [prediction(1)]}
    result, _, _ = conclude(storage, f"{folder}-empty", [row(1, "test", LIGHT)], shards)
    assert result["metrics"]["map_50"] == 0.0 and result["counts"]["rows_without_prediction"] == 0


def test_bug_b10_a_class_with_a_space_is_a_hit(storage: Storage, folder: str) -> None:
    boxes = (("Traffic light", LIGHT_BOX, 0.9), ("car", CAR_BOX, 0.9))
    shards = {"predictions_1.jsonl": [prediction(1, *boxes)]}
    result, _, _ = conclude(storage, folder, [row(1, "test", LIGHT, CAR)], shards)
    assert result["metrics"]["f1"] == 1.0


def test_rows_that_share_a_picture_share_its_prediction(storage: Storage, folder: str) -> None:
    rows = [row(1, "test", LIGHT), row(2, "test", LIGHT, image="gs://b/images/1.jpg")]
    shards = {"predictions_1.jsonl": [LIGHT_FOUND]}
    result, lines, _ = conclude(storage, folder, rows, shards)
    assert result["metrics"]["recall"] == 1.0
    assert len({line["uuid"] for line in lines if "bbox" in line}) == 2


def test_malformed_boxes_and_unknown_classes_are_counted(storage: Storage, folder: str) -> None:
    boxes = (
        ("Traffic light", LIGHT_BOX, 0.9),
        ("Traffic light", [0.3, 0.1, 0.1, 0.3], 0.9),
        ("Traffic light", [0.1, 0.3], 0.9),
        ("Traffic light", ["a", 0.3, 0.1, 0.2], 0.9),
        ("no longer there", CAR_BOX, 0.9),
        ("car", [-0.5, 0.5, 0.2, 1.5], 0.2),
    )
    shards = {"predictions_1.jsonl": [prediction(1, *boxes)], "predictions_2.jsonl": []}
    storage.write_text(f"{folder}/batch/predictions_3.jsonl", "{\n")
    result, lines, _ = conclude(storage, folder, [row(1, "test", LIGHT)], shards)
    counts = result["counts"]
    assert (counts["malformed_boxes"], counts["unknown_class"], counts["unreadable_lines"]) == (3, 1, 1)
    clipped = next(line["bbox"] for line in lines if line.get("schemaId") == "tool-car")
    assert clipped == pytest.approx({"left": 0, "top": 96, "width": 320, "height": 384})


def test_numbers_in_digits_are_numbers_and_lists_of_unequal_length_lose_their_rest(
    storage: Storage, folder: str
) -> None:
    digits = ("Traffic light", ["0.1", "0.3", "0.1", 0.3], "0.9")
    odd = [
        ("car", "0101", 0.9),
        ("car", [0.1, 0.3, float("nan"), 0.3], 0.9),
        ("car", CAR_BOX, "sure"),
        ("car", CAR_BOX, float("nan")),
        ("car", [0.5, 0.5, 0.1, 0.3], 0.9),
    ]
    short, without = prediction(2, ("car", CAR_BOX, 0.8), ("car", LIGHT_BOX, 0.7)), prediction(3, ("car", CAR_BOX, 0.8))
    del short["prediction"]["bboxes"][1], without["prediction"]["bboxes"]
    shards = {"predictions_1.jsonl": [prediction(1, digits, *odd), short, without]}
    rows = [row(1, "test", LIGHT), row(2, "test", CAR), row(3, "test", CAR)]
    result, lines, _ = conclude(storage, folder, rows, shards)
    assert {line["confidence"] for line in lines if "bbox" in line} == {0.9, 0.8}
    assert result["counts"]["malformed_boxes"] == len(odd) + 2
    assert result["counts"]["rows_without_prediction"] == 0 and result["metrics"]["precision"] == 1.0


def test_fifty_shards_of_two_thousand_pictures_are_read_whole(storage: Storage, folder: str) -> None:
    lines = [prediction(number, ("car", CAR_BOX, 0.9)) for number in range(2000)]
    for shard in range(50):
        write(storage, f"{folder}/batch/predictions_{shard:05d}-of-50.jsonl", lines[shard::50])
    with BoxPredictions() as predictions:
        predictions.read(storage, f"{folder}/batch")
        assert predictions.figures.prediction_files == 50 and predictions.figures.predictions == 2000
        found = predictions.boxes("gs://b/images/1999.jpg", 640, 480)
        assert found is not None and found.corners.tolist() == [[320.0, 240.0, 480.0, 360.0]]
        assert predictions.boxes("gs://b/images/2000.jpg", 640, 480) is None


def test_rows_reach_labelbox_and_a_refusal_does_not_fail_the_run(
    storage: Storage, folder: str, serve: Callable[[Path], object], tmp_path: Path
) -> None:
    sample = Sample(tmp_path / "sample")
    ids = [f"row_{number}_640_480" for number in (1, 2)]
    for row_id in ids:
        sample.add(row_id, "TEST", [("tool-light", (64.0, 48.0, 20.0, 20.0))])
    server = serve(sample.save())
    rows = [row(1, "test", LIGHT), row(2, "test", CAR)]
    shards = {"predictions_1.jsonl": [LIGHT_FOUND, prediction(2, ("car", CAR_BOX, 0.7))]}
    result, _, _ = conclude(storage, folder, rows, shards, "--sink=auto")
    assert (result["counts"]["uploaded"], result["counts"]["refused"]) == (4, 0)
    server.settings(refuse_predictions=True)
    result, _, _ = conclude(storage, f"{folder}-refused", rows, shards, "--sink=auto")
    assert result["counts"]["uploaded"] == 0 and "accepts no predictions" in result["metadata"]["upload"]


def test_as_many_boxes_are_asked_for_as_vertex_takes_in_training() -> None:
    text = (REPOSITORY / "functions" / "pipelines" / "bounding_box.yaml").read_text(encoding="utf-8")
    (batch,) = (job for stage in yaml.safe_load(text)["stages"] for job in stage["jobs"] if job["name"] == "batch")
    assert batch["model_parameters"] == {"confidenceThreshold": 0.01, "maxPredictions": MAX_BOXES_PER_IMAGE}
    assert {"confidence-threshold": "0.01", "max-predictions": str(MAX_BOXES_PER_IMAGE)} == own.OPTIONAL
