"""AutoML's batch predictions of text classes, evaluated by the inference job over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from etl.text_classification.main import main as single_etl
from etl.text_multi_classification.main import main as multi_etl
from inference.text_classification.main import main as inference
from jobkit.class_names import ClassNames
from jobkit.storage import Storage
from jobkit.text.automl import answers_of_prediction
from tests.jobs import exports
from tests.jobs.conftest import StartLabelbox

NAMES = exports.options("a b", "c")


def as_bytes(one: str | bytes) -> bytes:
    return one if isinstance(one, bytes) else one.encode()


class Run:
    """ETL with our own rows, then inference on AutoML's lines."""

    def __init__(self, folder: str, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage

    def _places(self, stage: str) -> list[str]:
        return [
            f"--model-run-id={exports.RUN_ID}",
            f"--output-uri={self.folder}/{stage}/",
            f"--ending-uri={self.folder}/{stage}/ending/",
        ]

    def evaluate(self, etl: Any, lines: Sequence[str | bytes], *arguments: str) -> dict[str, Any]:
        assert etl([*self._places("etl"), "--minimum-examples=1"]) == 0
        self.storage.write_bytes(f"{self.folder}/batch/predictions_00001.jsonl", b"\n".join(map(as_bytes, lines)))
        data = [
            f"--manifest={self.folder}/etl/manifest.jsonl",
            f"--dataset-report={self.folder}/etl/dataset_report.json",
        ]
        assert inference([*self._places("inference"), *data, f"--predictions={self.folder}/batch/", *arguments]) == 0
        body: dict[str, Any] = json.loads(self.storage.read_text(f"{self.folder}/inference/metrics.json"))
        return body


@pytest.fixture
def run(folder: str) -> Iterator[Run]:
    storage = Storage()
    yield Run(folder, storage)
    storage.close()


def line(text: str, **answers: float) -> str:
    prediction = {
        "ids": ["1"],
        "displayNames": [name.replace("_", " ") for name in answers],
        "confidences": list(answers.values()),
    }
    return json.dumps(
        {"instance": {"content": text, "mimeType": "text/plain"}, "prediction": prediction if answers else {}}
    )


def test_a_radio_takes_the_best_answer_and_texts_without_prediction_are_missed(
    run: Run, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [
        exports.row(
            f"r{n}", f"text {n}", [exports.label(exports.radio("q", ("a b", "c")[n % 2]))], exports.split_of(n // 2)
        )
        for n in range(40)
    ]
    labelbox = start_labelbox(exports.sample(tmp_path / "sample", rows, [exports.question("q", "radio", NAMES)]))
    lines = [line(f"text {n}", **{("A_B", "C")[n % 2]: 0.3, ("C", "A_B")[n % 2]: 0.2}) for n in range(38)]
    lines.append(json.dumps({"instance": {"content": "text 38"}, "error": {"message": "too short"}}))
    metrics = run.evaluate(single_etl, lines)
    assert metrics["splits"]["training"]["accuracy"] == 1.0
    test = metrics["splits"]["test"]
    assert (test["rows"], test["rows_without_prediction"], test["accuracy"]) == (4, 2, 0.5)
    assert labelbox.run_state(exports.RUN_ID)["predictions"] == 38
    assert metrics["notes"]["predictions read"].startswith("38 predictions, 1 errors")
    strict = run.evaluate(single_etl, lines, "--threshold=0.31")
    assert strict["splits"]["training"]["accuracy"] == 0.0


def test_a_checklist_takes_every_tick_above_the_threshold_and_none_is_a_result(
    run: Run, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [
        exports.row(
            f"r{n}",
            f"text {n}",
            [exports.label(exports.checklist("q", ["a b", "c"][: n % 3]))],
            exports.split_of(n // 3),
        )
        for n in range(60)
    ]
    start_labelbox(exports.sample(tmp_path / "sample", rows, [exports.question("q", "checklist", NAMES)]))
    lines = [line(f"text {n}", **dict(list({"a_b": 0.9, "c": 0.21}.items())[: n % 3])) for n in range(60)]
    lines += [line("unknown text", c=1.0)]
    metrics = run.evaluate(multi_etl, lines)
    assert {figures["micro_f1"] for figures in metrics["splits"].values()} == {1.0}
    strict = run.evaluate(multi_etl, lines, "--threshold=0.5")
    test = strict["splits"]["test"]["classes"]
    assert test["a b"]["fn"] == 0 and test["c"]["tp"] == 0 and test["c"]["fn"] > 0
    assert metrics["splits"]["test"]["classes"]["c"]["by_confidence"]["0.3"][3] > 0  # its 0.21 does not reach 0.3


def test_answers_of_no_use_are_counted_and_harm_nothing() -> None:
    prediction = {"displayNames": ["a", "b", 3, "A"], "confidences": [0.5, "high", 0.2, 0.7, 0.1]}
    assert answers_of_prediction(prediction, ClassNames(["a", "b"])) == ({"a": 0.7}, 3)
    assert answers_of_prediction({}, ClassNames(["a"])) == ({}, 0)
    assert answers_of_prediction({"displayNames": ["a"], "confidences": ["0.5"]}, ClassNames(["a"])) == ({"a": 0.5}, 0)
    assert ClassNames(["a-b", "a b"]).find("a_b") == "a_b"  # either could be meant


def test_a_file_that_somebody_damaged_costs_its_damaged_lines_alone(
    run: Run, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [
        exports.row(
            f"r{n}", f"text {n}", [exports.label(exports.radio("q", ("a b", "c")[n % 2]))], exports.split_of(n // 2)
        )
        for n in range(40)
    ]
    start_labelbox(exports.sample(tmp_path / "sample", rows, [exports.question("q", "radio", NAMES)]))
    odd = [
        json.dumps({"instance": {"content": f"text {n}"}, "prediction": {"displayNames": names, "confidences": sure}})
        for n, names, sure in [(2, 5, [0.5]), (3, "c", "0.5"), (4, {"a": 1}, None), (5, ["c", None], ["0.25", 0.5])]
    ]
    lines: list[str | bytes] = [
        b"\xef\xbb\xbf" + line("text 0", a_b=0.9).encode() + b"\r",
        b"\xff\xfe not UTF-8",
        b'{"instance": {"content": "text 1", "text": "caf' + b'\xe9"}}',
        *odd,
        json.dumps({"instance": {"key": "half \ud800"}, "prediction": {}}),
        line("text 6", a_b=0.9)[:40],
    ]
    metrics = run.evaluate(single_etl, lines)
    training = metrics["splits"]["training"]
    assert (training["rows"], training["rows_without_prediction"]) == (32, 27)
    assert training["accuracy"] == round(2 / 32, 6)
    read = "6 predictions, 0 errors, 3 unreadable lines, 0 repeated, 2 unusable answers"
    assert metrics["notes"]["predictions read"] == read
