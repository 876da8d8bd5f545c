"""Named entities from export to upload: the three jobs, real clients over the wire, a real model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobkit.labelbox_rows import MAX_METRICS_PER_ROW
from jobkit.manifest import ManifestRow
from jobkit.storage import Storage
from tests.jobs import exports
from tests.jobs.conftest import SAMPLES, StartLabelbox
from tests.jobs.ner.notes import CITY, PERSON, Jobs, entity, good_rows, label, sample, tool
from tests.jobs.served import served_folder

SAMPLE = SAMPLES / "ner"
RUN_ID = "71d9e2b8-3f64-4a0c-9b57-c8e6a1f0d243"
WIDE = "🚀 Ada99 went to Paris99 today"


def tokens_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Data row id -> (start, end inclusive) -> token, as the export says them."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        (experiment,) = row["experiments"].values()
        (run,) = experiment["runs"].values()
        for one in run["labels"][:1]:
            for annotation in one["annotations"]["objects"]:
                place = annotation["location"]
                found.setdefault(row["data_row"]["id"], {})[place["start"], place["end"]] = place["token"]
    return found


def test_the_sample_is_learned_and_every_row_is_predicted_measured_and_uploaded(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    labelbox = start_labelbox(SAMPLE)
    jobs.run_id = RUN_ID
    assert jobs.etl("--minimum-examples=10") == 0
    assert jobs.report()["entities"]["skipped"] == {}
    assert jobs.train() == 0
    result = jobs.predict_with_model()
    assert result["metrics"]["micro_f1"] >= 0.7
    assert result["metrics"]["overlap_micro_f1"] >= result["metrics"]["micro_f1"]
    assert result["metrics"]["majority_baseline"] <= 0.4
    exported = [json.loads(line) for line in (SAMPLE / "export.ndjson").read_text(encoding="utf-8").splitlines()]
    assert result["counts"]["rows"] == len(exported)
    state = labelbox.run_state(RUN_ID)
    assert state["predictions"] == result["counts"]["predictions"] > 400
    assert state["metrics"] == result["counts"]["metric_rows"]
    assert result["counts"]["refused"] == 0

    predictions = [row for row in jobs.lines("inference/predictions.ndjson") if "location" in row]
    assert all(0.0 < row["confidence"] <= 1.0 for row in predictions)
    # Offsets are in the export's own unit with its inclusive ends: most predictions are a labelled place to the letter.
    places = tokens_of(exported)
    hits = [
        (row["location"]["start"], row["location"]["end"]) in places.get(row["dataRow"]["id"], {})
        for row in predictions
    ]
    assert sum(hits) / len(hits) > 0.9
    wide = {row["data_row"]["id"] for row in exported if max(row["data_row"]["row_data"]) > "\uffff"}
    assert any(hit for hit, row in zip(hits, predictions, strict=True) if row["dataRow"]["id"] in wide)

    text = {row["data_row"]["id"]: row["data_row"]["row_data"] for row in exported}
    narrow = [row for row in predictions if max(text[row["dataRow"]["id"]]) <= "\uffff"]  # one unit for all offsets
    asked = sorted({row["dataRow"]["id"] for row in narrow})
    with served_folder("inference.ner.serve", jobs.ending("train")["outputs"]["model"], tmp_path) as served:
        said = served.predict(*(text[data_row] for data_row in asked))
    found = [
        (data_row, int(start), int(end), confidence)
        for data_row, one in zip(asked, said, strict=True)
        for start, end, confidence in zip(
            one["textSegmentStartOffsets"], one["textSegmentEndOffsets"], one["confidences"], strict=True
        )
    ]
    expected = [
        (row["dataRow"]["id"], row["location"]["start"], row["location"]["end"], row["confidence"]) for row in narrow
    ]
    assert [one[:3] for one in sorted(found)] == [one[:3] for one in sorted(expected)]
    assert [one[3] for one in sorted(found)] == pytest.approx([one[3] for one in sorted(expected)], abs=2e-6)

    page = jobs.storage.read_text(result["outputs"]["report"])
    assert "baseline: names of the training rows" in page
    assert page.count("<mark") > 50
    assert not re.search(r"<script|https?://", page)

    labelbox.set(refuse_predictions=True)
    refused = jobs.predict_with_model(stage="again")
    assert "accepts no predictions" in refused["metadata"]["upload"]
    assert refused["metrics"] == result["metrics"]

    sure = jobs.predict_with_model("--upload-min-confidence=0.9", "--sink=metadata", stage="sure")
    assert sure["metrics"] == result["metrics"]  # evaluation uses every prediction
    assert sure["counts"]["below_upload_min_confidence"] > 0
    kept = [row for row in jobs.lines("sure/predictions.ndjson") if "location" in row]
    assert kept
    assert all(row["confidence"] >= 0.9 for row in kept)

    jobs.predict_with_model("--threshold=0.95", "--sink=metadata", stage="strict")  # a decision, without a training
    said = [row for row in jobs.lines("strict/predictions.ndjson") if "location" in row]
    assert 0 < len(said) < len(predictions)
    assert all(row["confidence"] >= 0.95 for row in said)


def automl(instance: object, *found: tuple[str, int, int, float]) -> str:
    """A line of AutoML's batch output: int64 as strings, both offsets inclusive; empty lists are left out."""
    columns = [list(column) for column in zip(*found, strict=True)] if found else [[], [], [], []]
    prediction = {
        "ids": [str(number) for number in range(len(found))],
        "displayNames": columns[0],
        "textSegmentStartOffsets": [str(start) for start in columns[1]],
        "textSegmentEndOffsets": [str(end) for end in columns[2]],
        "confidences": columns[3],
    }
    return json.dumps({"instance": instance, "prediction": {key: value for key, value in prediction.items() if value}})


def prepared(jobs: Jobs, start_labelbox: StartLabelbox, path: Path, rows: list[dict[str, Any]], *tools: Any) -> Any:
    all_tools = [tool(PERSON), tool(CITY), *tools]
    labelbox = start_labelbox(sample(path / "sample", [*rows, *good_rows()], all_tools))
    assert jobs.etl("--minimum-examples=1") == 0
    return labelbox


def perfect_lines(rows: dict[str, ManifestRow]) -> list[str]:
    """AutoML's output if it had found exactly what the labels say; of every other row, in a file of its own."""
    lines = []
    for number, row in enumerate(rows.values()):
        instance: object = {"content": f"gs://bucket/texts/{row.data_row_id}.txt", "mimeType": "text/plain"}
        if number % 2:
            instance = {"content": row.content, "mimeType": "text/plain"}
        entities = (row.details or {}).get("entities", ())
        found = [(one["name"].replace(" ", "_"), one["start"], one["end"] - 1, 0.9) for one in entities]
        lines.append(automl(instance, *found))
    return lines


def upload(storage: Storage, uri: str, lines: list[str]) -> None:
    storage.write_text(uri, "\n".join(lines) + "\n", "application/jsonl")


def test_baseline_b10_b11_perfect_automl_predictions_are_all_right_whatever_the_class_is_called(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    text = "A traffic light at X"
    spaced = [entity(text, "traffic light", "t1"), entity(text, "X", CITY)]
    rows = [exports.row(f"s{n}", f"{text}{n}", [label(*spaced)], exports.split_of(n)) for n in range(40)]
    prepared(jobs, start_labelbox, tmp_path, rows, tool("t1", "traffic light"))
    lines = perfect_lines(jobs.manifest())
    folder = f"{jobs.folder}/batch/prediction-m-2022/"
    upload(jobs.storage, f"{folder}predictions_0001.jsonl", lines[:50])
    upload(jobs.storage, f"{folder}predictions_0002.jsonl", lines[50:])
    assert jobs.predict(f"--predictions={jobs.folder}/batch/") == 0
    metrics = jobs.json("inference/metrics.json")
    for figures in metrics["splits"].values():
        assert figures["micro_f1"] == figures["row_accuracy"] == 1.0
        assert all(one["fp"] == one["fn"] == 0 for one in figures["classes"].values())
    uploaded = {
        (row["location"]["start"], row["location"]["end"], row["schemaId"])
        for row in jobs.lines("inference/predictions.ndjson")
        if row["dataRow"]["id"] == "s0" and "location" in row
    }
    assert uploaded == {(2, 14, "t1"), (19, 19, CITY)}  # Labelbox's own inclusive ends, also of one letter


def test_automl_output_is_taken_literally_errors_and_empty_predictions_included(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    labels = [label(entity(WIDE, "Ada99"), entity(WIDE, "Paris99", CITY))]
    prepared(jobs, start_labelbox, tmp_path, [exports.row("wide", WIDE, labels, "TEST")])
    instance = {"content": WIDE, "mimeType": "text/plain"}
    good = {"key": "good9"}
    lines = [
        automl(instance, ("Person", 2, 6, 0.7), ("City", 16, 22, 0.6), ("Person", 20, 400, 0.5), ("Gone", 0, 0, 0.4)),
        automl(instance),  # the text comes twice: the first counts
        automl(good),
        json.dumps({"instance": {"key": "good19"}, "error": {"code": 3, "message": "[10, 10000]"}}),
        json.dumps({"instance": {"key": "good29"}, "prediction": {"displayNames": ["Person"], "confidences": [2]}}),
        "not json",
        "[]",
        "",
    ]
    upload(jobs.storage, f"{jobs.folder}/ner-1.txt", lines)
    assert jobs.predict(f"--predictions={jobs.folder}/ner-1.txt") == 0
    result = jobs.ending("inference")
    figures = jobs.json("inference/metrics.json")["splits"]["test"]
    assert figures["rows"] == 5
    assert figures["rows_without_prediction"] == 2  # one that AutoML refused, one that it never saw
    person, city, gone = (figures["classes"][name] for name in ("Person", "City", "Gone"))
    assert (person["tp"], person["fp"], person["fn"]) == (1, 0, 4)
    assert (city["tp"], city["fp"], city["fn"]) == (1, 0, 4)
    assert (gone["tp"], gone["fp"], gone["fn"]) == (0, 1, 0)
    assert result["counts"]["unknown_class"] == 1
    notes = jobs.json("inference/metrics.json")["notes"]["predictions read"]
    assert notes == "3 predictions, 1 errors, 2 unreadable lines, 1 repeated, 2 unusable entities"


def test_baseline_b15_no_prediction_at_all_is_a_result(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    labelbox = prepared(jobs, start_labelbox, tmp_path, [])
    assert jobs.predict(f"--predictions={jobs.folder}/nothing/") == 0
    result = jobs.ending("inference")
    assert result["counts"]["predictions"] == 0
    assert result["metrics"]["micro_f1"] == 0.0
    metrics = jobs.json("inference/metrics.json")
    assert metrics["splits"]["test"]["rows_without_prediction"] == metrics["splits"]["test"]["rows"] == 4
    assert labelbox.run_state(exports.RUN_ID)["predictions"] == 0


def test_baseline_b12_b14_every_prediction_has_its_confidence_and_every_labelled_row_its_counts(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    labels = [label(entity("Ada and Bo", "Ada"), entity("Ada and Bo", "Bo"))]
    prepared(jobs, start_labelbox, tmp_path, [exports.row("two", "Ada and Bo", labels, "TEST")])
    upload(
        jobs.storage, f"{jobs.folder}/p.jsonl", [automl({"key": "two"}, ("Person", 0, 2, 0.55), ("City", 4, 6, 0.0))]
    )
    assert jobs.predict(f"--predictions={jobs.folder}/p.jsonl") == 0
    lines = jobs.lines("inference/predictions.ndjson")
    assert [row["confidence"] for row in lines if "location" in row] == [0.55, 0.0]
    counts = {
        row["featureName"]: row["metricValue"]
        for row in lines
        if row.get("dataRow", {}).get("id") == "two" and "metricName" in row
    }
    assert counts["Person"]["0.5"] == [1, 0, 0, 1]
    assert counts["Person"]["0.6"] == [0, 0, 0, 2]
    assert counts["City"]["0.1"] == [0, 0, 0, 0]
    assert jobs.predict(f"--predictions={jobs.folder}/p.jsonl", "--threshold=0.5") == 0
    lines = jobs.lines("inference/predictions.ndjson")
    assert [row["confidence"] for row in lines if "location" in row] == [0.55]
    missed = [row for row in lines if row["dataRow"]["id"] == "good9"]
    assert {row["featureName"]: row["metricValue"]["0.1"] for row in missed} == {
        "Person": [0, 0, 0, 1],
        "City": [0, 0, 0, 1],
    }


def test_metric_rows_are_at_most_twenty_a_row_and_the_cut_is_told(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    text = " ".join(f"word{number}" for number in range(25))
    tools = [tool(f"t{number}", f"class {number}") for number in range(25)]
    spans = [entity(text, f"word{number}", f"t{number}") for number in range(25)]
    spans = [one | {"location": place(text, number)} for number, one in enumerate(spans)]
    rows = [exports.row(f"m{n}", text, [label(*spans)], exports.split_of(n)) for n in range(10)]
    labelbox = prepared(jobs, start_labelbox, tmp_path, rows, *tools)
    assert jobs.predict(f"--predictions={jobs.folder}/nothing/") == 0
    result = jobs.ending("inference")
    assert result["counts"]["metric_rows_cut"] == 10 * 5
    per_row = [row["dataRow"]["id"] for row in jobs.lines("inference/predictions.ndjson")]
    assert max(per_row.count(name) for name in set(per_row)) == MAX_METRICS_PER_ROW
    assert labelbox.run_state(exports.RUN_ID)["metrics"] == result["counts"]["metric_rows"]


def place(text: str, number: int) -> dict[str, Any]:
    found = re.search(rf"\bword{number}\b", text)
    assert found
    return {"start": found.start(), "end": found.end() - 1, "token": found[0]}


def test_baseline_b16_a_class_that_left_the_ontology_is_counted_and_not_fatal(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    prepared(jobs, start_labelbox, tmp_path, [])
    assert jobs.train() == 0
    report = jobs.report()
    report["classes"] = [entry for entry in report["classes"] if entry["display_name"] != "City"]
    jobs.storage.write_text(f"{jobs.folder}/etl/dataset_report.json", json.dumps(report))
    result = jobs.predict_with_model()
    assert result["counts"]["unknown_class"] > 0
    assert result["counts"]["refused"] == 0
    assert {row["schemaId"] for row in jobs.lines("inference/predictions.ndjson") if "location" in row} == {PERSON}


def test_predictions_of_texts_with_emoji_use_the_unit_of_the_labels(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    shifted = [
        entity(WIDE, "Ada99") | {"location": {"start": 3, "end": 7, "token": "Ada99"}},
        entity(WIDE, "Paris99", CITY) | {"location": {"start": 17, "end": 23, "token": "Paris99"}},
    ]
    rows = [exports.row("labelled", WIDE, [label(*shifted)]), exports.row("nobody", WIDE)]
    prepared(jobs, start_labelbox, tmp_path, rows)
    assert jobs.train() == 0
    jobs.predict_with_model()
    for name in ("labelled", "nobody"):
        found = [
            (row["location"]["start"], row["location"]["end"])
            for row in jobs.lines("inference/predictions.ndjson")
            if row["dataRow"]["id"] == name and "location" in row
        ]
        assert found == [(3, 7), (17, 23)]


@pytest.mark.parametrize("arguments", [(), ("--model=gs://b/m/", "--predictions=gs://b/p/")], ids=["none", "both"])
def test_inference_wants_either_a_model_or_predictions(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    prepared(jobs, start_labelbox, tmp_path, [])
    assert jobs.predict(*arguments) == 1
    assert jobs.ending("inference", "error.json")["kind"] == "configuration"


def test_the_report_shows_hostile_texts_as_texts(jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    text = "<img src=x onerror=alert(1)> Ada </table>"
    prepared(
        jobs,
        start_labelbox,
        tmp_path,
        [exports.row("hostile", text, [label(entity(text, "img"), entity(text, "Ada"))], "TEST")],
    )
    upload(
        jobs.storage,
        f"{jobs.folder}/p.jsonl",
        [automl({"key": "hostile"}, ("Person", 0, 3, 0.9), ("Person", 29, 31, 0.8))],
    )
    assert jobs.predict(f"--predictions={jobs.folder}/p.jsonl") == 0
    page = jobs.storage.read_text(jobs.ending("inference")["outputs"]["report"])
    assert "<img" not in page
    assert re.search(r"Ada<sub>(<span[^>]*>[^<]*</span>)+ Person 0\.80</sub>", page)  # its sign, and the sign in words
    assert page.count("</table>") == page.count("<table>")


def texts_by_split() -> dict[str, list[set[str]]]:
    found: dict[str, list[set[str]]] = {}
    for line in (SAMPLE / "export.ndjson").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (experiment,) = row["experiments"].values()
        (run,) = experiment["runs"].values()
        words = set(re.findall(r"\w+", row["data_row"]["row_data"].lower()))
        found.setdefault(run["split"], []).append(words)
    return found


def test_no_note_of_the_sample_has_a_near_twin_in_another_split() -> None:
    splits = texts_by_split()
    closest = max(
        len(a & b) / len(a | b)
        for split, own in splits.items()
        for a in own
        for other, sets in splits.items()
        if other != split
        for b in sets
    )
    assert closest < 0.6


def test_the_samples_names_belong_to_one_split_each() -> None:
    source = json.loads((SAMPLE / "notes.json").read_text(encoding="utf-8"))
    for values in source["values"].values():
        names = [name for split in values.values() for name in split]
        assert len(names) == len(set(names))


def test_the_samples_script_writes_the_same_bytes_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SAMPLE / "make.py"), str(tmp_path)], check=True, timeout=60)
    for name in ("export.ndjson", "ontology.json"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()
