"""Detectors of the DETR family from a folder, with tiny random ones: taught, broken off, saved, read again, served."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobkit.boxes.decoding import decode_queries
from jobkit.boxes.model import load_model
from jobkit.boxes.queries import QueryNetwork
from jobkit.checkpoints import Checkpoints
from jobkit.image import tuning
from jobkit.image.pixel_table import PixelTable
from jobkit.image.tuning import Plan, Tuning
from jobkit.storage import Storage
from tests.jobs.boxes.test_box_training import upload
from tests.jobs.image.tiny_networks import make_detector, make_encoder
from train.bounding_boxes import main as trainer
from train.bounding_boxes import predict as predictor
from train.bounding_boxes.examples import examples
from train.bounding_boxes.judging import Judge
from train.bounding_boxes.tuned import BoxTask, Pictures, middles_and_sizes, target


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost a network this small a hundred times what they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As /models in an image."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("d_fine", "rt_detr_v2"):
        make_detector(folder / f"tiny-{kind}", kind)
    make_encoder(folder / "tiny-dinov2")
    return folder


def train(storage: Storage, folder: str, *more: str) -> tuple[int, dict]:
    """The job on the uploaded file; its exit code and its ending."""
    code = trainer.main(
        [
            f"--training-file={folder}/training.jsonl", f"--output-uri={folder}/model/",
            f"--ending-uri={folder}/endings/", *more,
        ]
    )  # fmt: skip
    return code, json.loads(storage.read_text(f"{folder}/endings/by-hand/{'error' if code else 'result'}.json"))


@pytest.mark.parametrize("kind", ["d_fine", "rt_detr_v2"])
def test_a_detector_of_the_image_is_fine_tuned_saved_whole_and_predicts_in_vertex_s_format(
    storage: Storage, folder: str, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(models))
    upload(storage, folder, 8)
    code, ending = train(storage, folder, f"--backbone=hf:tiny-{kind}", "--epochs=2", "--batch-size=4", "--seed=3")
    assert code == 0, ending
    assert ending["counts"] == {"training_images": 6, "validation_images": 2, "classes": 2, "unreadable_images": 1}
    assert ending["metadata"]["image_size"] == "64"  # the network's own preprocessing says so
    assert 0 <= ending["metrics"]["validation_map_50_95"] <= 1 and ending["metrics"]["epochs"] == 2
    files = {uri.removeprefix(f"{folder}/model/") for uri in storage.list(f"{folder}/model/")}
    network = {"network/config.json", "network/model.safetensors", "network/preprocessor_config.json"}
    assert files == network | {"labels.json", "preprocessing.json"}

    monkeypatch.setenv("MODELS_DIR", str(tmp_path))  # what predicts has no weights in its image
    assert load_model(storage, f"{folder}/model").labels == ("Traffic light", "car")
    assert (
        predictor.main(
            [
                f"--model={folder}/model/", f"--instances={folder}/instances.jsonl", f"--output-uri={folder}/out/",
                "--max-predictions=3",
            ]
        )
        == 0
    )  # fmt: skip
    found = [json.loads(line)["prediction"] for line in storage.read_lines(f"{folder}/out/predictions_00001.jsonl")]
    assert len(found) == 8 and all(0 < len(one["bboxes"]) <= 3 for one in found)
    for prediction in found:
        assert set(prediction["displayNames"]) <= {"Traffic light", "car"}
        assert prediction["confidences"] == sorted(prediction["confidences"], reverse=True)
        assert all(0 <= a < b <= 1 and 0 <= c < d <= 1 for a, b, c, d in prediction["bboxes"])


class Broken(Exception):
    """The machine is taken away."""


class CountingTask(BoxTask):
    """Counts its steps, and breaks off after some."""

    def __init__(self, *parts: Any, most: int = 99) -> None:
        super().__init__(*parts)
        self.steps, self._most = 0, most

    def loss(self, prepared: Any) -> torch.Tensor:
        if self.steps == self._most:
            raise Broken
        self.steps += 1
        return super().loss(prepared)


def test_a_fine_tuning_that_was_broken_off_goes_on_to_the_very_same_weights(
    storage: Storage, folder: str, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tuning, "CHECKPOINT_EVERY_S", 0.0)
    upload(storage, folder, 8)
    lines = list(examples(storage.read_lines(f"{folder}/training.jsonl")))[:-1]
    table = PixelTable.filled(storage, [one.uri for one in lines], 64, tmp_path / "pixels")
    pictures = Pictures(storage, lines, ("Traffic light", "car"), table)
    checkpoints = Checkpoints.of(storage, f"{folder}/training.jsonl", {})

    def fit(kept: Checkpoints | None, most: int = 99) -> tuple[CountingTask, Tuning]:
        network = QueryNetwork.begin(models / "tiny-d_fine", ("Traffic light", "car"), 5)
        judge = Judge(pictures.looks, ("Traffic light", "car"), 64)
        task = CountingTask(network, pictures, pictures, judge, most=most)
        return task, Tuning(task, Plan(2, 4, 1e-3, 5), kept)

    whole, through = fit(None)
    assert through.run() == "complete" and whole.steps == 4
    first, stopped = fit(checkpoints, most=3)  # in the middle of the second epoch
    with pytest.raises(Broken):
        stopped.run()
    second, resumed = fit(checkpoints)
    assert resumed.run() == "complete" and (first.steps, second.steps) == (3, 1)
    assert resumed.state.best_epoch == through.state.best_epoch
    mine, other = second.module.state_dict(), whole.module.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in other.items())


def test_a_time_budget_ends_the_training_with_the_best_weights_so_far(
    storage: Storage, folder: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(models))
    upload(storage, folder, 4)
    code, ending = train(storage, folder, "--backbone=hf:tiny-d_fine", "--epochs=1000", "--time-budget-s=1")
    assert code == 0 and ending["metadata"]["training_end"] in ("time budget", "early stop")
    assert load_model(storage, f"{folder}/model").folder is not None


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        ("hf:gone", "No detector 'gone' lies in this image (there: hf:tiny-d_fine, hf:tiny-rt_detr_v2)."),
        ("hf:tiny-dinov2", "No detector 'tiny-dinov2'"),
        ("hf:../tiny-d_fine", "No detector"),
        ("organisation/name", "--backbone must be lite0 or hf:NAME"),
    ],
)
def test_a_detector_that_is_not_there_is_told_with_what_is(
    storage: Storage, folder: str, models: Path, monkeypatch: pytest.MonkeyPatch, backbone: str, says: str
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(models))
    code, error = train(storage, folder, f"--backbone={backbone}")
    assert code == 1 and error["kind"] == "configuration" and says in error["sentence"]


def test_targets_are_middles_and_sizes_in_parts_of_the_sides() -> None:
    corners = np.array([[0.1, 0.2, 0.5, 0.4]])
    assert middles_and_sizes(corners) == pytest.approx(np.array([[0.3, 0.3, 0.4, 0.2]]))
    from train.bounding_boxes.cache import Look

    nothing = target(Look(np.empty((0, 4)), np.empty(0, np.intp)))
    assert nothing["boxes"].shape == (0, 4) and nothing["class_labels"].dtype == torch.int64


def test_queries_become_boxes_the_surest_first_cut_at_the_picture_s_edges() -> None:
    chances = np.array([[0.2, 0.9], [0.8, 0.7], [0.99, 0.0]], np.float32)
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.05, 0.5, 0.2, 0.2], [0.5, 0.5, 0.0, 0.3]], np.float32)
    found = decode_queries(chances, boxes, threshold=0.5, most=10, exponent=2.0)
    assert found.scores == pytest.approx([0.81, 0.64], abs=1e-6) and found.classes.tolist() == [1, 0]
    assert found.corners == pytest.approx(np.array([[0.4, 0.3, 0.6, 0.7], [0.0, 0.4, 0.15, 0.6]]), abs=1e-6)
    assert len(decode_queries(chances, boxes, 0.0, 3).scores) == 3  # one query may say two classes
    assert not len(decode_queries(chances, boxes, 1.0, 3).scores)
