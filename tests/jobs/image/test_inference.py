"""Batch prediction output of any shape is read whole; what is missing is counted, never fatal."""

import json

import pytest

from inference.image_classification import main as inference
from jobkit.batch_files import confidence_of
from jobkit.dataset_report import ClassEntry
from jobkit.image.predictions import ImagePredictions
from jobkit.manifest import ManifestRow
from jobkit.storage import Storage

CLASSES = ("Red apple", "Pear")
REPORT = {
    "version": 1,
    "task": "single",
    "classes": [
        {"display_name": name, "feature_schema_id": f"option-{i}", "name": name, "question": "q", "kind": "radio"}
        for i, name in enumerate(CLASSES)
    ],
    "rows": {"seen": 4, "labelled": 3, "skipped": 0},
}


def prediction(uri: str, **answers: float) -> dict:
    names = {"apple": "Red apple", "pear": "Pear", "gone": "No longer there"}
    return {
        "instance": {"content": uri, "mimeType": "image/jpeg"},
        "prediction": {
            "ids": [str(i) for i in range(len(answers))],
            "displayNames": [names[name] for name in answers],
            "confidences": list(answers.values()),
        },
    }


def error(uri: str, message: str = "the image is too large") -> dict:
    return {"instance": {"content": uri, "mimeType": "image/jpeg"}, "error": {"code": 3, "message": message}}


def row(number: int, image: str, split: str, *labels: str) -> ManifestRow:
    return ManifestRow(
        f"row_{number}_640_480", None, image, split, labels, bool(labels), "" if labels else "unlabelled"
    )


ROWS = [
    row(1, "gs://b/images/1.jpg", "test", "Red apple"),
    row(2, "gs://b/images/2.jpg", "test", "Pear"),
    row(3, "gs://b/images/2.jpg", "training", "Pear"),
    row(4, "gs://b/images/4.jpg", "training"),
]


def write(storage: Storage, uri: str, lines: list[dict]) -> None:
    storage.write_text(uri, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def conclude(storage: Storage, folder: str, shards: dict[str, list[dict]], *more: str) -> tuple[dict, list[dict]]:
    """Runs the job on these shards without an upload; its result, and the rows for Labelbox."""
    for name, lines in shards.items():
        write(storage, f"{folder}/batch/{name}", lines)
    storage.write_text(f"{folder}/manifest.jsonl", "".join(one.to_line() + "\n" for one in ROWS))
    storage.write_text(f"{folder}/dataset_report.json", json.dumps(REPORT))
    code = inference.main(
        [
            "--model-run-id=run",
            f"--manifest={folder}/manifest.jsonl",
            f"--predictions={folder}/batch/",
            f"--dataset-report={folder}/dataset_report.json",
            f"--output-uri={folder}/out/",
            f"--ending-uri={folder}/endings/",
            "--sink=metadata",
            *more,
        ]
    )
    assert code == 0
    ended = json.loads(storage.read_text(f"{folder}/endings/by-hand/result.json"))
    written = [json.loads(line) for line in storage.read_lines(ended["outputs"]["predictions"])]
    return ended, written


def said(written: list[dict]) -> dict[str, tuple[str, float]]:
    return {
        line["dataRow"]["id"]: (line["answer"]["schemaId"], line["answer"]["confidence"])
        for line in written
        if "answer" in line
    }


def test_rows_are_known_by_the_manifest_and_not_by_file_names(storage: Storage, folder: str) -> None:
    shards = {
        "predictions_00001.jsonl": [prediction("gs://b/images/1.jpg", apple=0.9, pear=0.1)],
        "predictions_00002.jsonl": [
            prediction("gs://b/images/2.jpg", apple=0.6, pear=0.4),
            prediction("gs://b/images/4.jpg", pear=0.7),
        ],
    }
    ended, written = conclude(storage, folder, shards)
    assert said(written) == {
        "row_1_640_480": ("option-0", 0.9),
        "row_2_640_480": ("option-0", 0.6),
        "row_3_640_480": ("option-0", 0.6),
        "row_4_640_480": ("option-1", 0.7),
    }
    assert ended["metrics"]["accuracy"] == 0.5
    assert ended["counts"]["rows"] == ended["counts"]["predictions"] == 4
    assert ended["counts"]["rows_without_prediction"] == 0


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("predictions_0001.jsonl",), id="four digits"),
        pytest.param(("predictions_1.jsonl",), id="no padding"),
        pytest.param(("prediction-m-2026-11-23T16:00:00.000Z/predictions_00001.jsonl",), id="in the folder below"),
    ],
)
def test_shards_are_found_by_prefix_alone(storage: Storage, folder: str, names: tuple[str, ...]) -> None:
    lines = [prediction(one.content, pear=0.8) for one in ROWS[:1]]
    _, written = conclude(storage, folder, dict.fromkeys(names, lines))
    assert set(said(written)) == {"row_1_640_480"}


@pytest.mark.parametrize(
    ("threshold", "labelled_right", "said_of"),
    [("auto", 1, {1, 2, 3, 4}), ("0.65", 1, {1, 4}), ("0.95", 0, set())],
)
def test_a_class_is_said_from_the_run_s_threshold_on(
    storage: Storage, folder: str, threshold: str, labelled_right: int, said_of: set[int]
) -> None:
    shard = [
        prediction("gs://b/images/1.jpg", apple=0.9, pear=0.1),
        prediction("gs://b/images/2.jpg", apple=0.6, pear=0.4),
        prediction("gs://b/images/4.jpg", pear=0.7),
    ]
    ended, written = conclude(storage, folder, {"predictions_1.jsonl": shard}, f"--threshold={threshold}")
    assert set(said(written)) == {f"row_{number}_640_480" for number in said_of}
    assert ended["metrics"]["accuracy"] == labelled_right / 2


def test_a_threshold_of_the_run_holds_for_every_class_of_a_checklist() -> None:
    classes = tuple(ClassEntry(name, f"option-{name}", name, "q", "checklist") for name in CLASSES)
    rule = inference.rule_of(0.3, classes, lambda: dict.fromkeys(CLASSES, 0.9))
    assert rule.decided({"Red apple": 0.35, "Pear": 0.3}) == ("Red apple", "Pear")
    assert rule.decided({"Red apple": 0.29}) == ()
    chosen = inference.rule_of(None, classes, lambda: dict.fromkeys(CLASSES, 0.9))
    assert chosen.decided({"Red apple": 0.95, "Pear": 0.3}) == ("Red apple",)
    assert "set by the run" in "".join(rule.note()) and "validation" in "".join(chosen.note())


def test_a_partly_failed_batch_goes_on_with_what_there_is(storage: Storage, folder: str) -> None:
    shards = {
        "predictions_00001.jsonl": [prediction("gs://b/images/1.jpg", apple=0.9)],
        "errors_00001.jsonl": [error("gs://b/images/2.jpg"), error("gs://b/images/4.jpg")],
    }
    ended, written = conclude(storage, folder, shards)
    assert set(said(written)) == {"row_1_640_480"}
    assert ended["counts"]["rows_without_prediction"] == 3
    assert ended["counts"]["image_errors"] == 2
    assert ended["metrics"]["accuracy"] == 0.5  # a row that was not predicted counts as missed
    assert ended["metadata"]["rows_without_prediction"] == "3 of 4"
    report = storage.read_text(ended["outputs"]["report"])
    assert "the image is too large (2)" in report


@pytest.mark.parametrize(
    "shards",
    [
        pytest.param({}, id="no file at all"),
        pytest.param({"predictions_00001.jsonl": []}, id="an empty shard"),
        pytest.param({"errors_00001.jsonl": [error(one.content) for one in ROWS]}, id="errors only"),
        pytest.param(
            {"predictions_00001.jsonl": [prediction(one.content) for one in ROWS]}, id="nothing above the threshold"
        ),
    ],
)
def test_no_prediction_at_all_is_a_result(storage: Storage, folder: str, shards: dict[str, list[dict]]) -> None:
    ended, written = conclude(storage, folder, shards)
    assert said(written) == {}
    assert ended["metrics"]["accuracy"] == 0.0
    assert ended["counts"]["predictions"] == 0


def test_a_class_that_left_the_ontology_is_counted(storage: Storage, folder: str) -> None:
    shards = {"predictions_00001.jsonl": [prediction("gs://b/images/1.jpg", gone=0.9, apple=0.1)]}
    ended, written = conclude(storage, folder, shards)
    assert said(written) == {}
    assert ended["counts"]["unknown_class"] == 1


def test_lines_of_another_shape_are_counted_and_a_repeated_image_counts_once(storage: Storage, folder: str) -> None:
    uri = f"{folder}/batch/predictions_00001.jsonl"
    good = json.dumps(prediction("gs://b/1", apple=0.9))
    again = json.dumps(prediction("gs://b/1", pear=0.9))
    strange = ['{"instance": 5, "prediction": {}}', "not json", "[]", '{"instance": {"content": "x"}}', "", "\u2028"]
    storage.write_text(uri, "\n".join([good, *strange, again]))
    with ImagePredictions() as predictions:
        predictions.read(storage, f"{folder}/batch")
        assert predictions.answers("gs://b/1") == {"Red apple": 0.9}
        assert predictions.answers("gs://b/2") is None
        assert predictions.figures.predictions == predictions.figures.repeated == 1
        assert predictions.figures.unreadable_lines == 4


def test_fifty_shards_with_errors_among_them_are_read_whole(storage: Storage, folder: str) -> None:
    for shard in range(50):
        uris = [f"gs://b/{shard}-{number}" for number in range(20)]
        write(storage, f"{folder}/batch/predictions_{shard:05d}.jsonl", [prediction(uri, apple=0.5) for uri in uris])
        if shard % 10 == 0:
            write(storage, f"{folder}/batch/errors_{shard:05d}.jsonl", [error(f"gs://b/bad-{shard}")])
    with ImagePredictions() as predictions:
        predictions.read(storage, f"{folder}/batch/")
        figures = predictions.figures
        assert (figures.prediction_files, figures.error_files) == (50, 5)
        assert (figures.predictions, figures.errors) == (1000, 5)
        assert predictions.error("gs://b/bad-40") == "the image is too large"


def test_baseline_b17_names_of_question_and_answer_are_those_of_the_2022_service(
    storage: Storage, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [{**entry, "question_name": "Fruit", "value": f"slug_{entry['name']}"} for entry in REPORT["classes"]]
    monkeypatch.setitem(REPORT, "classes", entries)
    name = entries[0]["name"]
    line = prediction("gs://b/images/1.jpg", apple=0.1)
    line["prediction"]["displayNames"] = [f"Fruit_{name}", "no_label", "Fruit_?"]
    line["prediction"]["confidences"] = [0.9, 0.1, None]
    ended, written = conclude(storage, folder, {"predictions_00001.jsonl": [line]})
    assert said(written)["row_1_640_480"] == (entries[0]["feature_schema_id"], 0.9)
    assert ended["counts"]["unknown_class"] == 0


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param("predictions_00001.jsonl", "errors_00001.jsonl", id="AutoML"),
        pytest.param("prediction.results-00000-of-00050", "prediction.errors_stats-00000-of-00001", id="containers"),
        pytest.param("predictions_00001.jsonl", "predictions_00002.jsonl", id="errors among the predictions"),
    ],
)
def test_a_line_is_taken_for_what_it_says_in_whichever_file(storage: Storage, folder: str, good: str, bad: str) -> None:
    failed = {"instance": {"content": "gs://b/images/2.jpg"}, "status": {"code": 3, "message": "cannot be read"}}
    late = error("gs://b/images/1.jpg", "was tried again")
    shards = {good: [prediction("gs://b/images/1.jpg", apple=0.9)], bad: [late, failed, error("gs://b/images/4.jpg")]}
    ended, written = conclude(storage, folder, shards)
    assert set(said(written)) == {"row_1_640_480"}
    assert (ended["counts"]["image_errors"], ended["counts"]["unreadable_lines"]) == (2, 0)
    report = storage.read_text(ended["outputs"]["report"])
    assert "cannot be read (1)" in report and "the image is too large (1)" in report and "tried again" not in report


def test_one_file_may_be_named_in_the_place_of_a_folder(storage: Storage, folder: str) -> None:
    write(storage, f"{folder}/classes.txt", [prediction("gs://b/1", apple=0.9), error("gs://b/2")])
    with ImagePredictions() as predictions:
        predictions.read(storage, f"{folder}/classes.txt")
        assert predictions.answers("gs://b/1") == {"Red apple": 0.9}
        assert (predictions.figures.prediction_files, predictions.figures.errors) == (1, 1)


def test_hostile_lines_cost_themselves_alone(storage: Storage, folder: str) -> None:
    good = json.dumps(prediction("gs://b/1", apple=0.9)).encode()
    lines = [
        b"\xff\xfe not UTF-8",
        b"[" * 100_000,
        b'{"instance": {"content": "gs://b/\\ud800"}, "error": {"code": 3, "message": "\\ud800"}}',
        b'{"instance": {"content": "gs://b/2"}, "prediction": {"displayNames": 5, "confidences": {"a": 1}}}',
        b'{"instance": {"content": "gs://b/3"}, "prediction": {"displayNames": ["\\ud800"], "confidences": [0.5]}}',
        good,
    ]
    storage.write_bytes(f"{folder}/batch/predictions_1.jsonl", b"\n".join(lines))
    with ImagePredictions() as predictions:
        predictions.read(storage, f"{folder}/batch")
        found = [predictions.answers(f"gs://b/{number}") for number in (1, 2, 3)]
        assert found == [{"Red apple": 0.9}, {}, {"?": 0.5}]
        assert (predictions.figures.unreadable_lines, predictions.figures.errors) == (2, 1)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (0.25, 0.25),
        ("0.25", 0.25),
        (1.0000001, 1.0),
        (-1e-9, 0.0),
        (0, 0.0),
        *((none, None) for none in (float("nan"), float("inf"), "NaN", "", None, True, [0.5], 7, -0.5, 10**400)),
    ],
)
def test_a_confidence_is_a_number_from_0_to_1_also_one_in_digits(written: object, taken: float | None) -> None:
    assert confidence_of(written) == taken
