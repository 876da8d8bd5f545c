"""The heads of image classifiers: gradients by hand are right, scaling folds away, neighbours share, models last."""

import json
import pickletools
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration
from jobkit.image.features import Recipe
from jobkit.image.heads import HEADS, NeighbourHead, SpatialHead, above, split_maps
from jobkit.image.model import TENSORS, ImageClassifier, load_model, save_model
from jobkit.storage import Storage
from jobkit.thresholds import GRID, ThresholdChooser
from train.image_classification import features, spatial
from train.image_classification.features import FeatureTable
from train.image_classification.lines import Example
from train.image_classification.neighbours import neighbour_head
from train.image_classification.spatial import Scale, folded, gradients, new_head

TINY = Recipe(taps=("s16", "s32"), side_px=64, pooled=False)  # maps of 4 x 4 and 2 x 2 places


def maps(dice: np.random.Generator, count: int, kind: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    return dice.normal(size=(count, 16, 3)).astype(kind), dice.normal(size=(count, 4, 5)).astype(kind)


def small_head(dice: np.random.Generator, classes: int = 2) -> SpatialHead:
    """In float64, so that differences are exact enough."""
    head = new_head(dice, [3, 5], classes)
    arrays = {field.name: getattr(head, field.name).astype(np.float64) for field in fields(head)}
    arrays["whole"] = dice.normal(size=arrays["whole"].shape)
    return SpatialHead(**arrays)


def loss(head: SpatialHead, fine: np.ndarray, coarse: np.ndarray, truth: np.ndarray) -> float:
    _, scores = gradients(head, fine, coarse, truth)
    return float((np.logaddexp(0, scores) - truth * scores).sum() / len(truth))


@pytest.mark.parametrize("layer", ["fine", "coarse", "hidden_bias", "out", "out_bias", "whole"])
def test_the_gradients_by_hand_are_those_of_small_differences(layer: str) -> None:
    dice = np.random.default_rng(4)
    head, (fine, coarse) = small_head(dice), maps(dice, 3)
    truth = np.array([[1.0, 0], [0, 0], [1, 1]])
    found, _ = gradients(head, fine, coarse, truth)
    value = getattr(head, layer)
    for place in list(np.ndindex(value.shape))[:: max(1, value.size // 25)]:
        step = np.zeros_like(value)
        step[place] = 1e-6
        up, down = (loss(replace(head, **{layer: value + sign * step}), fine, coarse, truth) for sign in (1, -1))
        assert found[layer][place] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-7)


def test_a_head_with_its_scaling_folded_in_says_the_same_of_raw_maps() -> None:
    dice = np.random.default_rng(5)
    head = small_head(dice)
    fine, coarse = maps(dice, 4)
    scale = Scale(dice.normal(size=3), dice.uniform(0.5, 2, 3), dice.normal(size=5), dice.uniform(0.5, 2, 5))
    _, scores = gradients(head, fine, coarse, np.zeros((4, 2)))
    raw_fine, raw_coarse = fine * scale.fine_spread + scale.fine_mean, coarse * scale.coarse_spread + scale.coarse_mean
    flat = [raw.transpose(0, 2, 1).reshape(4, -1) for raw in (raw_fine, raw_coarse)]
    said = folded(head, scale).confidences(np.concatenate(flat, axis=1))
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-scores)), atol=1e-5)


def test_maps_are_taken_apart_as_they_were_put_together_and_places_lie_above_their_quarters() -> None:
    fine, coarse = np.arange(2 * 3 * 16.0).reshape(2, 3, 16), -np.arange(2 * 5 * 4.0).reshape(2, 5, 4)
    together = np.concatenate([fine.reshape(2, -1), coarse.reshape(2, -1)], axis=1)
    again_fine, again_coarse = split_maps(together, 3, 5)
    np.testing.assert_array_equal(again_fine, fine.transpose(0, 2, 1))
    np.testing.assert_array_equal(again_coarse, coarse.transpose(0, 2, 1))
    assert above(16).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]


@pytest.fixture
def lesson(tmp_path: Path) -> tuple[FeatureTable, np.ndarray]:
    """Pictures of the first class are bright in ten channels at one random place, those of the second all over."""
    dice = np.random.default_rng(6)
    table = FeatureTable(tmp_path, 80, TINY)
    truth = (dice.random((80, 2)) < 0.5).astype(np.float32)
    fine, coarse = dice.normal(0, 0.3, (80, 112, 16)), dice.normal(0, 0.3, (80, 320, 4))
    for row in range(80):
        fine[row, :10, dice.integers(16)] += 3 * truth[row, 0]
        coarse[row, :10] += truth[row, 1]
    table.plain[:] = np.concatenate([fine.reshape(80, -1), coarse.reshape(80, -1)], axis=1)
    table.mirrored[:] = table.plain
    table.readable[:] = True
    return table, truth


def test_classes_shown_at_any_one_place_or_all_over_are_learned(lesson: tuple[FeatureTable, np.ndarray]) -> None:
    table, truth = lesson
    training, validation = np.arange(60), np.arange(60, 80)
    fitted = spatial.fit(table, truth, training, validation, seed=1)
    said = fitted.head.confidences(np.asarray(table.plain[validation], np.float32)) >= 0.5
    assert (said == truth[validation].astype(bool)).mean(axis=0).min() >= 0.9
    again = spatial.fit(table, truth, training, validation, seed=1)
    np.testing.assert_array_equal(again.head.out, fitted.head.out)
    assert spatial.fit(table, truth, training, validation[:0], seed=1).validation_loss is None


def test_training_stops_when_validation_no_longer_gets_better(lesson: tuple[FeatureTable, np.ndarray]) -> None:
    table, truth = lesson
    noise = np.random.default_rng(1).permutation(truth)  # nothing that is learned holds for other pictures
    fitted = spatial.fit(table, noise, np.arange(60), np.arange(60, 80), seed=1)
    assert 1 <= fitted.round < spatial.PATIENCE


def test_baseline_knn_a_picture_that_training_has_divides_by_no_zero() -> None:
    dice = np.random.default_rng(7)
    vectors = dice.normal(size=(12, 6)).astype(np.float32)
    head = neighbour_head(vectors, vectors, np.arange(12) % 3, (5, 3))
    said = head.confidences(vectors)
    assert np.isfinite(said).all() and (said.argmax(axis=1) == np.arange(12) % 3).all()
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
    same = neighbour_head(np.ones((4, 6), np.float32), np.ones((4, 6), np.float32), np.array([0, 0, 1, 1]), (4, 2))
    np.testing.assert_allclose(same.confidences(np.ones((1, 6), np.float32)), [[0.5, 0.5]])


def test_confidences_of_neighbours_are_their_shares_of_the_weight() -> None:
    eye = np.eye(3, dtype=np.float32)
    head = NeighbourHead(np.zeros(3, np.float32), eye, eye, np.array([0, 1, 1]), np.array([2, 2]))
    point = np.array([[0.8, 0.6, 0.0]], np.float32)
    weight = [1 / np.sqrt(2 - 2 * 0.8), 1 / np.sqrt(2 - 2 * 0.6)]
    np.testing.assert_allclose(head.confidences(point), [np.array(weight) / sum(weight)], rtol=1e-4)
    more = replace(head, count=np.array([99, 2]))  # more neighbours than there are pictures: all of them vote
    assert more.confidences(point)[0, 1] > head.confidences(point)[0, 1]


def classifier(kind: str) -> ImageClassifier:
    dice = np.random.default_rng(8)
    if kind == "spatial":
        recipe = Recipe(taps=("s16", "s32"), pooled=False)
        return ImageClassifier(("a", "b"), recipe, new_head(dice, [112, 320], 2), {"a": 0.3, "b": 0.6})
    recipe = Recipe()
    if kind == "neighbours":
        vectors = dice.normal(size=(6, recipe.size)).astype(np.float32)
        return ImageClassifier(("a", "b"), recipe, neighbour_head(vectors, vectors, np.arange(6) % 2, (3, 2)))
    weights = dice.normal(size=(recipe.size, 2)).astype(np.float32)
    return ImageClassifier(("a", "b"), recipe, HEADS[kind](weights, np.zeros(2, np.float32)))


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_baseline_pickle_a_model_is_numbers_and_words_and_says_the_same_when_loaded(
    storage: Storage, folder: str, kind: str
) -> None:
    model = classifier(kind)
    save_model(storage, folder, model)
    for uri in storage.list(folder):
        with pytest.raises((ValueError, AttributeError)):  # no file of the model is a pickle
            list(pickletools.genops(storage.read_bytes(uri)))
    loaded = load_model(storage, folder)
    pictures = np.random.default_rng(9).normal(size=(3, model.recipe.size)).astype(np.float32)
    np.testing.assert_array_equal(loaded.head.confidences(pictures), model.head.confidences(pictures))
    assert (loaded.labels, loaded.thresholds, loaded.recipe) == (model.labels, model.thresholds, model.recipe)
    storage.write_text(f"{folder}/labels.json", json.dumps(["a", "b", "c"]))
    with pytest.raises(BadConfiguration):
        load_model(storage, folder)
    storage.write_bytes(f"{folder}/{TENSORS}", b"no tensors")
    with pytest.raises(BadConfiguration, match="cannot be read"):
        load_model(storage, folder)


def test_features_of_a_finished_chunk_are_not_made_again(
    storage: Storage, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK", 3)
    backgrounds = Path(__file__).resolve().parents[3] / "samples" / "material" / "backgrounds"
    taught = []
    for number, path in enumerate(sorted(backgrounds.glob("*.jpg"))[:5]):
        uri = f"{folder}/images/{number}.jpg"
        storage.write_bytes(uri, path.read_bytes())
        taught.append(Example(uri, ("a",), "training" if number % 2 else "validation"))
    tables = []
    for turn in ("first", "second"):
        (tmp_path / turn).mkdir()
        kept = Checkpoints(storage, f"{folder}/checkpoints")
        tables.append(features.extract(storage, kept, taught, Recipe(), tmp_path / turn))
        for number in range(3):  # whoever reads a picture of the first chunk again finds nothing
            storage.write_bytes(f"{folder}/images/{number}.jpg", b"")
    np.testing.assert_array_equal(tables[0].plain, tables[1].plain)
    np.testing.assert_array_equal(tables[0].mirrored, tables[1].mirrored)
    assert tables[1].readable.all()


def test_a_threshold_is_the_best_of_the_grid_when_examples_abound() -> None:
    dice = np.random.default_rng(10)
    truth = dice.random(4000) < 0.3
    scores = np.clip(np.where(truth, dice.normal(0.55, 0.2, 4000), dice.normal(0.3, 0.15, 4000)), 0, 1)
    chooser = ThresholdChooser(["a", "b"])
    for true, score in zip(truth.tolist(), scores.tolist(), strict=True):
        chooser.add(["a"] if true else [], {"a": score, "unknown": 1.0})

    def f1(threshold: float) -> float:
        said = scores >= threshold
        return 2 * (said & truth).sum() / (said.sum() + truth.sum())

    best = max(GRID, key=f1)
    found = chooser.thresholds()
    assert found["a"] == pytest.approx(best, abs=0.01)
    assert found["b"] == pytest.approx(best, abs=0.01)  # nothing of its own: the common one
    assert ThresholdChooser(["a"]).thresholds() == {"a": 0.5}
