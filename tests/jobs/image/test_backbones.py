"""Classifiers on other networks than EfficientNet-Lite0, with a tiny random one; and trainings that are broken off."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobkit.checkpoints import Checkpoints
from jobkit.image import tuning
from jobkit.image.encoder import Encoder
from jobkit.image.features import Recipe
from jobkit.image.model import load_model
from jobkit.image.pixel_table import PixelTable
from jobkit.image.pretrained import Scaling
from jobkit.image.tuning import Plan, Tuning
from jobkit.standing_file import Standing, StandingFile
from jobkit.storage import Storage
from tests.jobs.image.test_trainer import instance, line, predict, train
from tests.jobs.image.tiny_networks import make_detector, make_encoder
from train.image_classification import spatial
from train.image_classification.features import FeatureTable
from train.image_classification.tuned import ClassTask, part_of

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (20, 40, 220)}
SIDE_PX = 56


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
    make_encoder(folder / "tiny-dinov2")
    make_detector(folder / "tiny-dfine")
    return folder


@pytest.fixture
def in_the_image(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELS_DIR", str(models))
    return models


def coloured(storage: Storage, folder: str, count: int = 12) -> list[dict]:
    """Lines of pictures of one colour each, every fourth for validation."""
    lines, names = [], sorted(COLOURS)
    for number in range(count):
        name = names[number % len(names)]
        noise = np.random.default_rng(number).integers(-20, 20, (SIDE_PX, SIDE_PX, 3))
        pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        storage.write_bytes(f"{folder}/{number}.png", file.getvalue())
        split = "validation" if number % 4 == 3 else "training"
        lines.append(line(f"{folder}/{number}.png", name, ml_use=split))
    return lines


@pytest.mark.parametrize(
    ("more", "head", "tuned"),
    [
        pytest.param((), "softmax", False, id="one class"),
        pytest.param(("--fine-tune=true", "--epochs=2"), "softmax", True, id="one class, fine-tuned"),
        pytest.param(("--method=neighbours", "--neighbours=3"), "neighbours", False, id="nearest neighbours"),
        pytest.param(("--multi-label=true",), "spatial", False, id="any number"),
        pytest.param(("--multi-label=true", "--fine-tune=true", "--epochs=2"), "spatial", True, id="any, fine-tuned"),
    ],
)
def test_every_head_learns_on_a_network_of_the_image_and_its_model_holds_that_network(
    storage: Storage, folder: str, in_the_image: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...],
    head: str, tuned: bool,
) -> None:  # fmt: skip
    lines = coloured(storage, folder)
    code, ending = train(storage, folder, lines, "--backbone=hf:tiny-dinov2", f"--image-size={SIDE_PX}", *more)
    assert code == 0, ending
    assert ending["metadata"] == {"backbone": "hf:tiny-dinov2", "image_size": str(SIDE_PX)}
    saved = storage.read_bytes(f"{folder}/model/network/model.safetensors")
    assert (saved == (in_the_image / "tiny-dinov2" / "model.safetensors").read_bytes()) is not tuned
    monkeypatch.setenv("MODELS_DIR", "/nowhere")  # what predicts has no weights in its image
    assert load_model(storage, f"{folder}/model").head.kind == head
    found, errors = predict(storage, folder, [instance(one) for one in lines])
    assert len(found) == 12 and not errors
    names = [one["classificationAnnotations"][0]["displayName"] for one in lines]
    right = [one["prediction"]["displayNames"][0] == name for one, name in zip(found, names, strict=True)]
    assert sum(right) >= 10  # colours are easy even for a random network


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--backbone=hf:gone",), "No model of pictures 'gone' lies in this image (there: hf:tiny-dinov2)."),
        (("--backbone=hf:tiny-dfine",), "No model of pictures 'tiny-dfine'"),
        (("--backbone=resnet",), "--backbone must be lite0 or hf:NAME"),
        (("--backbone=hf:tiny-dinov2", "--image-size=42"), "multiple of 28"),
        (("--image-size=100",), "multiple of 32"),
        (("--fine-tune=true",), "lite0 is frozen"),
        (("--learning-rate=fast",), "--learning-rate must be from 0 to 1"),
    ],
)
def test_a_backbone_or_a_size_that_cannot_be_is_told_with_what_can(
    storage: Storage, folder: str, in_the_image: Path, more: tuple[str, ...], says: str
) -> None:
    code, error = train(storage, folder, [], *more)
    assert code == 1 and error["kind"] == "configuration" and says in error["sentence"]


def test_an_image_size_is_that_of_the_model(storage: Storage, folder: str) -> None:
    code, _ = train(storage, folder, coloured(storage, folder, 6), "--image-size=64")
    assert code == 0 and load_model(storage, f"{folder}/model").recipe.side_px == 64


def test_an_encoder_s_patches_stand_where_they_stand_in_the_picture(models: Path) -> None:
    encoder = Encoder(models / "tiny-dinov2")
    plain = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
    spot = plain.copy()
    spot[0, 14:28, 42:56] = 255  # the second line's last patch
    with torch.inference_mode():
        change = encoder.read(encoder.tensors(spot))[1] - encoder.read(encoder.tensors(plain))[1]
    strength = change.abs().sum(dim=1)[0].numpy()
    assert np.unravel_index(strength.argmax(), strength.shape) == (1, 3)


def test_pixels_are_scaled_as_the_folder_says(models: Path) -> None:
    pixels = np.array([[[[0, 255, 51]]]], np.uint8)
    encoder, detector = Scaling.of(models / "tiny-dinov2"), Scaling.of(models / "tiny-dfine")
    assert encoder.numbers(pixels).ravel() == pytest.approx([-1.0, 1.0, -0.6])
    assert detector.numbers(pixels).ravel() == pytest.approx([0.0, 1.0, 0.2])


def test_the_same_seed_gives_the_same_part_of_a_picture() -> None:
    plain = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(part_of(plain, 3), part_of(plain, 3)) and part_of(plain, 3).shape == plain.shape
    assert not np.array_equal(part_of(plain, 3), part_of(plain, 4))


class Broken(Exception):
    """The machine is taken away."""


class CountingTask(ClassTask):
    """Counts its steps, and breaks off after some."""

    def __init__(self, *parts: Any, most: int = 99) -> None:
        super().__init__(*parts)
        self.steps, self._most = 0, most

    def loss(self, prepared: Any) -> torch.Tensor:
        if self.steps == self._most:
            raise Broken
        self.steps += 1
        return super().loss(prepared)


def test_a_fine_tuning_that_was_broken_off_goes_on_to_the_very_same_network(
    storage: Storage, folder: str, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tuning, "CHECKPOINT_EVERY_S", 0.0)
    lines = coloured(storage, folder, 8)
    table = PixelTable.filled(storage, [one["imageGcsUri"] for one in lines], SIDE_PX, tmp_path / "pixels")
    truth = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    kept = Checkpoints(storage, f"{folder}/checkpoints")

    def fit(checkpoints: Checkpoints | None, most: int = 99) -> tuple[CountingTask, Tuning]:
        rows = (np.arange(6), np.arange(6, 8))
        task = CountingTask(Encoder(models / "tiny-dinov2"), table, truth, rows, False, 7, most=most)
        return task, Tuning(task, Plan(3, 3, 1e-3, 7), checkpoints)

    whole, through = fit(None)
    assert through.run() == "complete" and whole.steps == 6
    first, stopped = fit(kept, most=3)
    with pytest.raises(Broken):
        stopped.run()
    second, resumed = fit(kept)
    assert resumed.run() == "complete" and (first.steps, second.steps) == (3, 3)
    mine, other = second.module.state_dict(), whole.module.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in other.items())


class BreakingFile(StandingFile):
    """Breaks off after so many saves, as a machine that is taken away."""

    def __init__(self, checkpoints: Checkpoints, most: int) -> None:
        super().__init__(checkpoints)
        self.saves, self._most = 0, most

    def save(self, standing: Standing) -> None:
        super().save(standing)
        self.saves += 1
        if self.saves == self._most:
            raise Broken


def some_features(folder: Path, rows: int) -> FeatureTable:
    table = FeatureTable(folder, rows, Recipe(("s16", "s32"), 64, pooled=False))
    table.plain[:] = np.random.default_rng(8).normal(size=table.plain.shape)
    table.mirrored[:] = table.plain
    return table


@pytest.mark.parametrize("validation", [np.arange(16, 20), np.arange(0)], ids=["validation", "none"])
def test_rounds_of_a_head_that_were_done_are_not_done_again_and_the_head_is_the_same(
    storage: Storage, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, validation: np.ndarray
) -> None:
    monkeypatch.setattr(spatial, "CHECKPOINT_EVERY_S", 0.0)
    dice = np.random.default_rng(4)
    table = some_features(tmp_path, 20)
    truth = (dice.random((20, 2)) < 0.5).astype(np.float32)
    limits = spatial.Limits(rounds=6)

    def fit(kept: StandingFile | None) -> spatial.Fitted:
        return spatial.fit(table, truth, np.arange(16), validation, 5, limits, kept)

    whole = fit(None)
    kept = Checkpoints(storage, f"{folder}/checkpoints")
    with pytest.raises(Broken):
        fit(BreakingFile(kept, 4))
    second = BreakingFile(kept, 99)
    resumed = fit(second)
    assert second.saves == 2 and (resumed.round, resumed.validation_loss) == (whole.round, whole.validation_loss)
    for name in ("fine", "coarse", "hidden_bias", "out", "out_bias", "whole"):
        np.testing.assert_array_equal(getattr(resumed.head, name), getattr(whole.head, name))


def test_a_time_budget_ends_the_rounds_of_a_head(tmp_path: Path) -> None:
    table = some_features(tmp_path, 8)
    truth = np.eye(2, dtype=np.float32)[np.arange(8) % 2]
    limits = spatial.Limits(rounds=10_000, budget_s=0.05)
    fitted = spatial.fit(table, truth, np.arange(8), np.arange(0), 5, limits)
    assert 0 < fitted.round < 10_000
