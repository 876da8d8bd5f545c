"""Texts are fine-tuned, saved and loaded on the same command lines as without a transformer, and no hub is met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.text_classification.main import main as predict
from jobkit.dataset_report import ClassEntry, DatasetReport
from jobkit.errors import BadConfiguration, BadData
from jobkit.splits import ML_USE, TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.text.model import TextModel
from jobkit.text.training import Corpus, Examples, train
from jobkit.transformer.backbones import folder_of, text_models
from jobkit.transformer.options import Options
from jobkit.transformer.windows import cut
from tests.jobs.transformer.corpora import WORDS, corpus
from train.text_classification.main import main as train_job

QUICK = Options(epochs=2, learning_rate=5e-3, batch_size=8, max_tokens=32, seed=1)


@pytest.mark.parametrize("kind", ["modernbert", "bert"])
@pytest.mark.parametrize("single", [True, False], ids=["single", "several"])
def test_a_fine_tuned_model_scores_the_same_after_it_is_saved_and_loaded(
    tmp_path: Path, kind: str, single: bool
) -> None:
    model = train(corpus(single), f"hf:tiny-{kind}", options=QUICK).model
    model.save(tmp_path)
    again = TextModel.load(tmp_path)
    texts = ["iron and tin", "", "half \ud83d of a pair", "😀 zoe\u0308 " * 100]
    np.testing.assert_array_equal(again.scores(texts), model.scores(texts))
    assert [again.decide(row) for row in again.scores(texts)] == [model.decide(row) for row in model.scores(texts)]
    assert model.name == "transformer" and (single or len(model.thresholds) == 2)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    config = json.loads((tmp_path / "transformer" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "fruit", "1": "metal"}


def test_it_learns_and_the_end_of_a_long_text_counts() -> None:
    best = train(corpus(False, rows=80), "hf:tiny-modernbert", options=Options(4, 1e-2, 8, 24, seed=2))
    assert best.figures["macro_f1"] > 0.9
    plain, with_end = best.model.scores(["apple pear plum " * 60, "apple pear plum " * 60 + "iron copper zinc " * 4])
    assert with_end[1] > plain[1] + 0.3 and with_end[0] > 0.5


@pytest.mark.parametrize("length", [1, 20, 30, 31, 300])
def test_every_piece_of_a_text_is_decided_about_in_one_window_and_read_with_what_is_around_it(
    models: Path, length: int
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(models / "tiny-modernbert"), local_files_only=True)
    text = " ".join(["plum"] * length)
    whole = [place for place in tokenizer(text, return_offsets_mapping=True)["offset_mapping"] if place != (0, 0)]
    windows = cut(tokenizer, ["", text, ""], 32)
    assert (windows[0].text, windows[-1].text) == (0, 2)
    of_text = [window for window in windows if window.text == 1]
    decided = [
        tuple(window.offsets[piece].tolist()) for window in of_text for piece in range(window.first, window.after)
    ]
    assert decided == whole
    assert all(len(window.ids) <= 32 for window in windows)
    for window in of_text[1:]:
        assert window.first >= 3  # the mark, and some pieces of what came before


BAD_BACKBONES = {
    "not there": ("hf:of-a-hub", "(there: hf:tiny-bert, hf:tiny-modernbert)"),
    "an address of a hub": ("hf:google/bert", "No model of texts 'google/bert'"),
    "a way out of the folder": ("hf:../models", "No model of texts"),
    "not a model of texts": ("hf:pictures", "No model of texts 'pictures'"),
    "no such word": ("gpt", "--backbone must be one of auto, none, minilm, or hf:NAME"),
}


@pytest.mark.parametrize(("backbone", "said"), BAD_BACKBONES.values(), ids=BAD_BACKBONES)
def test_a_backbone_that_is_not_in_the_image_is_refused_with_those_that_are(
    folder: str, backbone: str, said: str
) -> None:
    error = Jobs(folder).fails(f"--backbone={backbone}")
    assert said in error["sentence"] and error["kind"] == "configuration"
    if backbone.startswith("hf:"):
        assert "models.txt" in error["hint"]


def test_an_image_without_models_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "nothing"))
    assert text_models() == ()
    with pytest.raises(BadConfiguration, match=r"\(there: none\)"):
        folder_of("hf:x")


def test_a_damaged_model_is_named(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (models / "tiny-bert").iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 40 if file.suffix == ".safetensors" else None])
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    with pytest.raises(BadConfiguration, match="The model broken cannot be read"):
        train(corpus(), "hf:broken", options=QUICK)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(BadData):
        train(Corpus(("a",), True, {TRAINING: Examples(), VALIDATION: Examples()}), "hf:tiny-bert", options=QUICK)


def test_without_validation_rows_the_last_weights_stay_and_nothing_is_measured() -> None:
    given = corpus()
    alone = Corpus(given.classes, True, {TRAINING: given.splits[TRAINING], VALIDATION: Examples()})
    assert train(alone, "hf:tiny-bert", options=QUICK).figures == {}


class Jobs:
    """The training and the predicting job on a corpus of this file, in a bucket."""

    def __init__(self, folder: str) -> None:
        self.folder, self.storage = folder, Storage()
        given = corpus()
        lines, manifest = [], []
        for split, examples in given.splits.items():
            for text, label in zip(examples.texts, examples.labels, strict=True):
                name = given.classes[label[0]]
                line = {"textContent": text, "classificationAnnotation": {"displayName": name}}
                lines.append(json.dumps({**line, "dataItemResourceLabels": {ML_USE: split}}))
                row = {"data_row_id": f"r{len(lines)}", "global_key": "", "content": text, "split": split}
                manifest.append(json.dumps({**row, "labels": [name], "labelled": True}))
        self.storage.write_text(f"{folder}/data/training.jsonl", "\n".join(lines))
        self.storage.write_text(f"{folder}/data/manifest.jsonl", "\n".join(manifest))

    def train(self, *more: str, attempt: int = 1) -> int:
        place = f"{self.folder}/attempt-{attempt}"
        training_file = f"--training-file={self.folder}/data/training.jsonl"
        return train_job([training_file, f"--output-uri={place}/", f"--ending-uri={place}/ending/", *more])

    def ending(self, name: str, attempt: int = 1) -> dict[str, Any]:
        return json.loads(self.storage.read_text(f"{self.folder}/attempt-{attempt}/ending/7001/{name}.json"))

    def fails(self, *more: str) -> dict[str, Any]:
        assert self.train(*more) == 1
        return self.ending("error")

    def predict(self, attempt: int = 1) -> list[dict[str, Any]]:
        """What the predicting job says of every row."""
        classes = tuple(ClassEntry(name, f"id-{name}", name, "question", "radio") for name in WORDS)
        DatasetReport("text_single_classification", classes).write(self.storage, f"{self.folder}/data/report.json")
        code = predict(
            [
                "--model-run-id=c0a1f6d4-8e3b-47a9-b1d2-94e5f7a3c608",
                f"--manifest={self.folder}/data/manifest.jsonl",
                f"--dataset-report={self.folder}/data/report.json",
                f"--model={self.ending('result', attempt)['outputs']['model']}",
                f"--output-uri={self.folder}/predicted/",
                f"--ending-uri={self.folder}/predicted/ending/",
                "--sink=metadata",
            ]
        )
        assert code == 0
        lines = self.storage.read_lines(f"{self.folder}/predicted/predictions.ndjson")
        return [json.loads(line) for line in lines]


TUNING = ("--backbone=hf:tiny-bert", "--epochs=2", "--learning-rate=0.005", "--batch-size=8", "--max-tokens=32")


def test_the_job_trains_the_predicting_job_reads_and_a_second_attempt_trains_nothing_again(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(folder)
    assert jobs.train(*TUNING) == 0
    first = capsys.readouterr().out
    assert first.count('"message": "Epoch"') == 2 and '"left_s"' in first and '"validation_score"' in first
    assert jobs.ending("result")["metadata"]["model_kind"] == "transformer"
    assert jobs.train(*TUNING, attempt=2) == 0  # as a retry of the orchestrator: other folders, the same training file
    second = capsys.readouterr().out
    assert "goes on from its checkpoint" in second and '"message": "Epoch"' not in second
    name = "model/transformer/model.safetensors"
    bytes_of = [jobs.storage.read_bytes(f"{folder}/attempt-{number}/{name}") for number in (1, 2)]
    assert bytes_of[0] == bytes_of[1]
    answered = [row for row in jobs.predict() if "answer" in row]
    assert len(answered) == 40 and all(0.5 <= row["answer"]["confidence"] <= 1.0 for row in answered)


def test_a_threshold_that_was_set_holds_and_below_it_nothing_is_said() -> None:
    given = corpus(False)
    assert train(given, "none", threshold=0.7).model.thresholds == (0.7, 0.7)
    single = train(corpus(), "none", threshold=0.99).model
    assert single.decide(single.scores(["nothing known"])[0]) == []
    assert single.decide(np.array([0.995, 0.005])) == ["fruit"]
