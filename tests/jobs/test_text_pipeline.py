"""Text classification from export to upload: the three jobs, real clients over the wire, a real model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl.text_classification.main import main as single_etl
from etl.text_multi_classification.main import main as multi_etl
from inference.text_classification.main import main as inference
from jobkit.manifest import read_manifest
from jobkit.storage import Storage
from tests.jobs.conftest import SAMPLES, StartLabelbox
from tests.jobs.served import served_folder
from train.text_classification.main import main as train

SAMPLE = SAMPLES / "text_single_classification"
MULTI_SAMPLE = SAMPLES / "text_multi_classification"
RUN_ID = "c0a1f6d4-8e3b-47a9-b1d2-94e5f7a3c608"
MULTI_RUN_ID = "e47c9a15-70b2-4f6d-8a3c-5b1d2e9f0846"


class Pipeline:
    """The three jobs, one after the other, each handing its outputs on."""

    def __init__(self, folder: str, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage
        self.etl = single_etl
        self.run_id = RUN_ID

    def ending(self, stage: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.storage.read_text(f"{self.folder}/{stage}/ending/7001/result.json"))
        return body

    def _places(self, stage: str) -> list[str]:
        return [f"--output-uri={self.folder}/{stage}/", f"--ending-uri={self.folder}/{stage}/ending/"]

    def learn(self) -> None:
        assert self.etl([f"--model-run-id={self.run_id}", "--minimum-examples=10", *self._places("etl")]) == 0
        training_file = self.ending("etl")["outputs"]["training_file"]
        assert train([f"--training-file={training_file}", *self._places("train")]) == 0

    def predict(self, *more: str, stage: str = "inference") -> dict[str, Any]:
        data, model = self.ending("etl")["outputs"], self.ending("train")["outputs"]
        arguments = [
            f"--model-run-id={self.run_id}",
            f"--manifest={data['manifest']}",
            f"--dataset-report={data['dataset_report']}",
            f"--model={model['model']}",
            *self._places(stage),
            *more,
        ]
        assert inference(arguments) == 0
        return self.ending(stage)

    @property
    def manifest(self) -> str:
        return str(self.ending("etl")["outputs"]["manifest"])

    def rows(self, stage: str = "inference") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.storage.read_lines(f"{self.folder}/{stage}/predictions.ndjson")]


@pytest.fixture
def pipeline(folder: str) -> Iterator[Pipeline]:
    storage = Storage()
    yield Pipeline(folder, storage)
    storage.close()


def test_the_sample_is_learned_and_every_row_is_predicted_measured_and_uploaded(
    pipeline: Pipeline, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    labelbox = start_labelbox(SAMPLE)
    pipeline.learn()
    result = pipeline.predict()
    assert result["metrics"]["accuracy"] >= 0.8
    assert result["metrics"]["majority_baseline"] <= 0.4
    exported = (SAMPLE / "export.ndjson").read_text(encoding="utf-8").count("\n")
    assert result["counts"]["rows"] == result["counts"]["predictions"] == exported
    state = labelbox.run_state(RUN_ID)
    assert state["predictions"] == exported
    assert state["metrics"] == result["counts"]["metric_rows"]
    predictions = [row for row in pipeline.rows() if "answer" in row]
    assert len({row["dataRow"]["id"] for row in predictions}) == exported
    assert all(0.0 < row["answer"]["confidence"] <= 1.0 for row in predictions)
    metrics = json.loads(pipeline.storage.read_text(result["outputs"]["metrics"]))
    assert set(metrics["splits"]) == {"training", "validation", "test"}
    assert metrics["splits"]["test"]["rows"] == 35
    page = pipeline.storage.read_text(result["outputs"]["report"])
    assert "majority baseline" in page
    assert not re.search(r"<script|https?://", page)

    with served_folder(
        "inference.text_classification.serve", pipeline.ending("train")["outputs"]["model"], tmp_path
    ) as served:
        rows = {row.data_row_id: row.content for row in read_manifest(pipeline.storage, pipeline.manifest)}
        said = served.predict(*(rows[row["dataRow"]["id"]] for row in predictions))
    surest = [one["confidences"][0] for one in said]
    assert surest == pytest.approx([row["answer"]["confidence"] for row in predictions], abs=2e-6)

    labelbox.set(refuse_predictions=True)
    refused = pipeline.predict(stage="again")
    assert "accepts no predictions" in refused["metadata"]["upload"]
    assert refused["metrics"] == result["metrics"]

    only_sure = pipeline.predict("--upload-min-confidence=0.9", "--sink=metadata", stage="sure")
    assert only_sure["metrics"] == result["metrics"]  # evaluation uses every prediction
    assert 0 < only_sure["counts"]["below_upload_min_confidence"] < exported
    sure = [row for row in pipeline.rows("sure") if "answer" in row]
    assert all(row["answer"]["confidence"] >= 0.9 for row in sure)

    strict = pipeline.predict("--threshold=0.9", "--sink=metadata", stage="strict")  # a decision, without a training
    assert strict["metrics"]["accuracy"] < result["metrics"]["accuracy"]


def test_a_checklist_is_learned_and_a_row_without_a_tick_is_a_result(
    pipeline: Pipeline, start_labelbox: StartLabelbox
) -> None:
    labelbox = start_labelbox(MULTI_SAMPLE)
    pipeline.etl, pipeline.run_id = multi_etl, MULTI_RUN_ID
    pipeline.learn()
    result = pipeline.predict()
    assert result["metrics"]["micro_f1"] >= 0.8
    assert result["metrics"]["majority_baseline"] <= 0.4
    state = labelbox.run_state(MULTI_RUN_ID)
    assert state["predictions"] == result["counts"]["predictions"] < result["counts"]["rows"]
    assert result["counts"]["refused"] == 0
    answers = [row["answer"] for row in pipeline.rows() if "answer" in row]
    assert any(len(answer) > 1 for answer in answers)
    assert all(0.0 < one["confidence"] <= 1.0 for answer in answers for one in answer)
    pipeline.predict("--sink=metadata", "--threshold=0.001", stage="low")  # below those that evaluation looks at
    low = [one["confidence"] for row in pipeline.rows("low") if "answer" in row for one in row["answer"]]
    assert len(low) > len(answers) and 0.001 <= min(low) < 0.1


def texts_by_split(sample: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (sample / "export.ndjson").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (experiment,) = row["experiments"].values()
        (run,) = experiment["runs"].values()
        found.setdefault(run["split"], []).append(row["data_row"]["row_data"])
    return found


def twins(sample: Path) -> float:
    """The largest share of words that two texts of different splits have in common."""
    words = {
        split: [set(re.findall(r"\w+", text.lower())) for text in texts]
        for split, texts in texts_by_split(sample).items()
    }
    return max(
        len(a & b) / len(a | b)
        for split, own in words.items()
        for a in own
        for other, sets in words.items()
        if other != split
        for b in sets
    )


@pytest.mark.parametrize("sample", [SAMPLE, MULTI_SAMPLE], ids=["single", "multi"])
def test_no_text_of_a_sample_has_a_near_twin_in_another_split(sample: Path) -> None:
    assert twins(sample) < 0.6


@pytest.mark.parametrize("sample", [SAMPLE, MULTI_SAMPLE], ids=["single", "multi"])
def test_a_samples_script_writes_the_same_bytes_again(sample: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(sample / "make.py"), str(tmp_path)], check=True, timeout=60)
    for name in ("export.ndjson", "ontology.json"):
        assert (tmp_path / name).read_bytes() == (sample / name).read_bytes()
