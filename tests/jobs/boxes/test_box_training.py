"""What the detector is taught and how its maps are read, without torch; then one small training in the job's image."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jobkit.boxes.decoding import decode
from jobkit.boxes.features import BoxRecipe, fitting_side
from jobkit.boxes.model import BoxModel, load_model, save_model
from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration, BadData
from jobkit.splits import ML_USE
from jobkit.standing_file import Standing, StandingFile
from jobkit.storage import Storage
from local.environments import ensure
from tests.jobs.boxes.scenes import TOOLS, drawing, jpeg
from train.bounding_boxes.cache import FeatureCache, Look, Reading, filled, views_for
from train.bounding_boxes.examples import examples, taught
from train.bounding_boxes.judging import best_cut, exponent_for
from train.bounding_boxes.targets import target
from train.bounding_boxes.views import View, views

REPOSITORY = Path(__file__).resolve().parents[3]
JOB = REPOSITORY / "jobs" / "train" / "bounding_boxes"
CORNERS = np.array([[0.1, 0.2, 0.5, 0.4], [0.55, 0.5, 0.95, 0.99], [0.05, 0.7, 0.1, 0.74]])
CLASSES = np.array([0, 1, 0])


def test_what_is_taught_decodes_to_the_same_boxes() -> None:
    goal = target(Look(CORNERS, CLASSES), classes=2, cells=32)
    found = decode(goal.centres, goal.distances, threshold=0.99, most=10)
    by_left = np.argsort(found.corners[:, 0])
    order = np.argsort(CORNERS[:, 0])
    assert found.corners[by_left] == pytest.approx(CORNERS[order], abs=1e-6)
    assert found.classes[by_left].tolist() == CLASSES[order].tolist()


def test_every_box_weighs_the_same_whatever_its_size_and_the_smaller_one_is_taught_where_they_overlap() -> None:
    goal = target(Look(np.array([[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 0.7, 0.7]]), np.array([0, 0])), 1, 32)
    assert goal.weights[:13, :13].sum() == pytest.approx(1) and goal.weights[13:, 13:].sum() == pytest.approx(1)
    inner = target(Look(np.array([[0.45, 0.45, 0.55, 0.55], [0.0, 0.0, 1.0, 1.0]]), np.array([0, 0])), 1, 32)
    assert inner.distances[:, 16, 16] == pytest.approx(np.array([2.1, 2.1, 1.1, 1.1]), abs=1e-5)


def test_an_empty_picture_teaches_that_nothing_is_there() -> None:
    goal = target(Look(np.empty((0, 4)), np.empty(0, np.intp)), 3, 16)
    assert not goal.centres.any() and not goal.weights.any()
    assert len(decode(goal.centres, goal.distances, 0.0, 5).scores) == 0


def test_a_less_sure_box_of_the_same_object_is_left_out_and_one_of_another_class_is_not() -> None:
    chances = np.zeros((2, 8, 8), np.float32)
    chances[0, 2, 2], chances[0, 2, 4], chances[1, 2, 2], chances[0, 6, 6] = 0.9, 0.8, 0.7, 0.6
    distances = np.full((4, 8, 8), 3.0, np.float32)
    distances[0, 2, 4], distances[2, 2, 4] = 5.0, 1.0  # the same box, measured from two cells to the right
    found = decode(chances, distances, 0.05, 10, exponent=2.0)
    assert found.classes.tolist() == [0, 1, 0] and found.scores == pytest.approx([0.81, 0.49, 0.36])
    assert len(decode(chances, distances, 0.5, 10).scores) == 3
    assert len(decode(chances, distances, 0.05, 1).scores) == 1


@pytest.mark.parametrize(
    "view", [View(), View(mirrored=True), View(False, 1.3, 0.1, -0.1), View(True, 0.7, -0.15, 0.2)], ids=str
)
def test_a_view_moves_boxes_with_the_picture(view: View) -> None:
    pixels = np.full((128, 128, 3), 127, np.uint8)
    box = np.array([[0.4, 0.5, 0.6, 0.65]])
    pixels[64:83, 51:77] = (250, 0, 0)
    seen = view.pixels(pixels)
    (corners,), (visible,) = view.corners(box)
    rows, columns = np.nonzero(seen[:, :, 0] > 190)
    assert visible
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 128
    assert corners == pytest.approx(found, abs=0.02)


def test_a_box_that_a_view_hardly_shows_is_not_taught_there() -> None:
    _, visible = View(zoom=1.3, right=0.2).corners(np.array([[0.0, 0.4, 0.4, 0.6], [0.6, 0.4, 0.9, 0.6]]))
    assert visible.tolist() == [False, True]


def test_the_same_seed_gives_the_same_views_and_many_pictures_get_fewer() -> None:
    assert views(4, np.random.default_rng([3, 1])) == views(4, np.random.default_rng([3, 1]))
    assert views(4, np.random.default_rng([3, 1])) != views(4, np.random.default_rng([4, 1]))
    assert (views_for(60), views_for(5_000), views_for(1_000_000)) == (4, 2, 1)


def test_confidences_are_bent_so_that_the_best_cut_is_a_half() -> None:
    scores, hits = np.array([0.9, 0.3, 0.28, 0.1, 0.05]), np.array([True, True, True, False, False])
    cut = best_cut(scores, hits, labelled=3)
    assert 0.1 < cut <= 0.3 and cut ** exponent_for(cut) == pytest.approx(0.5)
    assert best_cut(np.empty(0), np.empty(0, bool), 5) == 0.5


def test_the_image_size_fits_the_pictures_within_what_is_affordable() -> None:
    assert [fitting_side([size]) for size in ((256, 200), (300, 400), (4000, 3000), (50, 50))] == [256, 384, 512, 256]
    with pytest.raises(ValueError, match="multiple of 32"):
        BoxRecipe(250)


def test_the_cache_gives_back_what_was_put_in(tmp_path: Path) -> None:
    recipe = BoxRecipe(64)
    cache = FeatureCache.on_disk(tmp_path, recipe, 3)
    maps = [np.random.default_rng(1).normal(size=(3, *recipe.map_shape(i))).astype(np.float32) for i in range(3)]
    maps[0][0, 0, 0, 0] = 1e9  # more than a half float holds
    cache.add([values[:2] for values in maps], [Look(CORNERS, CLASSES)] * 2)
    cache.add([values[2:] for values in maps], [Look(CORNERS, CLASSES)])
    back = cache.batch(np.array([2, 0]))
    assert back[1] == pytest.approx(maps[1][[2, 0]], abs=0.01) and np.isfinite(back[0]).all()


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"boundingBoxAnnotations": []}', '{"imageGcsUri": "gs://b/1", "boundingBoxAnnotations": [{}]}']
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(BadData, match="Line 2"):
        list(examples(['{"imageGcsUri": "gs://b/1"}', line]))


def test_a_training_file_without_a_box_in_training_is_refused(storage: Storage, folder: str) -> None:
    storage.write_text(f"{folder}/t.jsonl", '{"imageGcsUri": "gs://b/1"}\n')
    with pytest.raises(BadData, match="no box"):
        taught(storage, f"{folder}/t.jsonl")


def test_a_checkpoint_is_that_of_the_same_file_and_settings_only(storage: Storage, folder: str) -> None:
    file = f"{folder}/training.jsonl"
    storage.write_text(file, "{}\n")

    def standing_file(seed: int) -> StandingFile:
        return StandingFile(Checkpoints.of(storage, file, {"seed": seed}))

    assert standing_file(1).load() is None
    standing = Standing({"network.a": np.arange(3.0), "best.a": np.zeros(2)}, {"epoch": 4, "best": 0.5})
    standing_file(1).save(standing)
    back = standing_file(1).load()
    assert back is not None and back.figures == standing.figures
    assert back.tensors["network.a"].tolist() == [0, 1, 2]
    assert standing_file(2).load() is None
    (uri,) = storage.list(f"{folder}/checkpoints/")
    storage.write_bytes(uri, b"cut off")
    assert standing_file(1).load() is None


class Broken(Exception):
    """The machine is taken away."""


class BreakingStorage:
    """The storage, until so many pictures were read; it counts them."""

    def __init__(self, storage: Storage, most: int) -> None:
        self._storage, self._most, self.reads = storage, most, 0

    def read_bytes(self, uri: str) -> bytes:
        if self.reads == self._most:
            raise Broken
        self.reads += 1
        return self._storage.read_bytes(uri)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside the training file", "where Vertex says"])
def test_features_that_an_attempt_left_are_taken_from_its_checkpoints(
    storage: Storage, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    if elsewhere:
        monkeypatch.setenv("AIP_CHECKPOINT_DIR", f"{folder}/elsewhere/")
    monkeypatch.setattr("train.bounding_boxes.cache.CHUNK", 4)
    monkeypatch.setattr("train.bounding_boxes.cache.WORTH_KEEPING", 4)
    upload(storage, folder, 10)
    lines = list(storage.read_lines(f"{folder}/training.jsonl"))
    pictures = list(examples(lines[-1:] + lines[:-1]))  # the broken one first
    made = {}
    for attempt, most in (("whole", 99), ("broken off", 9), ("second", 99)):
        counting = BreakingStorage(storage, most)
        reading = Reading(counting, ("car",), BoxRecipe(64), 2, seed=3)  # type: ignore[arg-type]
        apart = "whole" if attempt == "whole" else "spot"
        kept = Checkpoints.of(storage, f"{folder}/training.jsonl", {"of": apart})
        try:
            made[attempt] = filled(reading, pictures, tmp_path / attempt, kept)
        except Broken:
            assert attempt == "broken off"
        if attempt == "second":
            assert counting.reads == 3  # of 11: two chunks of four were left
    whole, second = made["whole"], made["second"]
    assert second.unreadable == whole.unreadable == 1 and len(second.looks) == len(whole.looks) == 20
    for mine, other in zip(second.looks, whole.looks, strict=True):
        assert mine.corners == pytest.approx(other.corners) and mine.classes.tolist() == other.classes.tolist()
    assert all(np.array_equal(mine, other) for mine, other in zip(second.maps, whole.maps, strict=True))
    assert any(storage.list(f"{folder}/{'elsewhere' if elsewhere else 'checkpoints'}/"))


def test_a_model_comes_back_as_it_was_and_a_foreign_one_is_refused(storage: Storage, folder: str) -> None:
    model = BoxModel(("Traffic light", "car"), BoxRecipe(64), {"centre.bias": np.ones(2, np.float32)}, 0.75)
    save_model(storage, folder, model)
    back = load_model(storage, folder)
    assert (back.labels, back.recipe, back.exponent) == (model.labels, model.recipe, 0.75)
    storage.write_text(f"{folder}/labels.json", '["one"]')
    with pytest.raises(BadConfiguration, match="own labels"):
        load_model(storage, folder)
    storage.write_bytes(f"{folder}/model.safetensors", b"\x80\x04pickle")
    with pytest.raises(BadConfiguration, match="cannot be read"):
        load_model(storage, folder)


RESUMED = """
import sys
import numpy as np
from pathlib import Path
from jobkit.boxes.features import BoxRecipe
from train.bounding_boxes import fitting
from tests.jobs.boxes.scenes import TOOLS, drawing, jpeg
from train.bounding_boxes.cache import FeatureCache, Look
from train.bounding_boxes.fitting import Fitting, Plan
from train.bounding_boxes.judging import Judge

fitting.CHECKPOINT_EVERY_S = 0.0
recipe, work = BoxRecipe(64), Path(sys.argv[1])

def cache(name, rows):
    made = FeatureCache.on_disk(work / name, recipe, rows)
    dice = np.random.default_rng(len(name))
    for number in range(rows):
        maps = [dice.normal(size=(1, *recipe.map_shape(i))).astype(np.float32) for i in range(3)]
        made.add(maps, [Look(np.array([[0.1, 0.1, 0.6, 0.7]]), np.array([number % 2]))])
    return made

class Stopped(Exception):
    pass

class Kept:
    def __init__(self, stop_at=0):
        self.standing, self.stop_at, self.saves = None, stop_at, 0
    def load(self):
        return self.standing
    def save(self, standing):
        self.standing, self.saves = standing, self.saves + 1
        if self.saves == self.stop_at:
            raise Stopped

training, validation = cache("training", 8), cache("validation", 2)
judge = Judge(validation.looks, ("a", "b"), 64)

def fit():
    return Fitting(training, validation, judge, recipe, 2, Plan(4, 4, 7, 0.0))

whole = fit()
assert whole.run(Kept()) == "complete"
kept = Kept(stop_at=2)
try:
    fit().run(kept)
except Stopped:
    pass
resumed = fit()
kept.stop_at = 0
assert resumed.run(kept) == "complete" and resumed.state.epoch == 4
assert resumed.state.best_epoch == whole.state.best_epoch
same = [np.array_equal(resumed.state.weights[name], value) for name, value in whole.state.weights.items()]
final = [np.array_equal(resumed._weights()[name], value) for name, value in whole._weights().items()]
assert all(same) and all(final), "the resumed training differs"
assert fit().run(Kept()) == "complete"
hasty = Fitting(training, validation, judge, recipe, 2, Plan(1000, 4, 7, 0.5))
assert hasty.run(Kept()) in ("time_budget", "early_stop")
print("the same")
"""


@dataclass(frozen=True)
class Image:
    """The trainer's own environment, as its image would have it."""

    python: Path
    storage_host: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY / "jobs"),
            "STORAGE_EMULATOR_HOST": self.storage_host,
            "GOOGLE_CLOUD_PROJECT": "local-project",
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "2",
        }
        return subprocess.run(
            [self.python, *words], env=environment, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture
def image(storage_server: object) -> Image:
    """Installed at its first use, for minutes, as `make run` would do it."""
    return Image(ensure(JOB / "requirements.txt", REPOSITORY / ".local" / "envs"), storage_server.host)  # type: ignore[attr-defined]


def test_a_training_that_was_broken_off_goes_on_to_the_very_same_weights(image: Image, tmp_path: Path) -> None:
    done = image.run("-c", RESUMED, str(tmp_path))
    assert done.returncode == 0 and "the same" in done.stdout, done.stderr[-2000:]


def upload(storage: Storage, folder: str, count: int) -> None:
    """Pictures of shapes, the training file that describes them, and the instances to predict."""
    lines, instances = [], []
    dice = np.random.default_rng(5)
    for number in range(count):
        boxes = []
        for tool in TOOLS:
            width, height = dice.integers(30, 60, 2).tolist()
            left, top = int(dice.integers(0, 160 - width)), int(dice.integers(0, 120 - height))
            boxes.append((tool, (float(left), float(top), float(width), float(height))))
        uri = f"{folder}/pictures/{number}.jpg"
        storage.write_bytes(uri, jpeg(drawing(boxes, seed=number)), "image/jpeg")
        annotations = [
            {"displayName": TOOLS[tool], "xMin": x / 160, "yMin": y / 120, "xMax": (x + w) / 160, "yMax": (y + h) / 120}
            for tool, (x, y, w, h) in boxes
        ]
        split = ("training", "training", "training", "validation")[number % 4]
        lines.append(
            {"imageGcsUri": uri, "boundingBoxAnnotations": annotations, "dataItemResourceLabels": {ML_USE: split}}
        )
        instances.append({"content": uri, "mimeType": "image/jpeg"})
    broken = f"{folder}/pictures/broken.jpg"
    storage.write_bytes(broken, b"no picture", "image/jpeg")
    lines.append({"imageGcsUri": broken, "boundingBoxAnnotations": [], "dataItemResourceLabels": {ML_USE: "training"}})
    instances.append({"content": broken, "mimeType": "image/jpeg"})
    instances.append({"content": f"{folder}/pictures/gone.jpg", "mimeType": "image/jpeg"})
    for name, rows in (("training", lines), ("instances", instances)):
        storage.write_text(f"{folder}/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_a_small_training_in_the_job_s_own_image_finds_shapes_and_predicts_in_vertex_s_format(
    image: Image, storage: Storage, folder: str
) -> None:
    upload(storage, folder, 24)
    done = image.run(
        "-m", "train.bounding_boxes.main",
        f"--training-file={folder}/training.jsonl", f"--output-uri={folder}/model/",
        f"--ending-uri={folder}/endings/", "--seed=3", "--image-size=128", "--epochs=12",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    result = json.loads(storage.read_text(f"{folder}/endings/by-hand/result.json"))
    assert result["counts"] == {"training_images": 18, "validation_images": 6, "classes": 2, "unreadable_images": 1}
    assert result["metrics"]["validation_map_50"] > 0.8
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()].count("Epoch") == 12
    assert load_model(storage, f"{folder}/model").labels == ("Traffic light", "car")
    done = image.run(
        "-m", "train.bounding_boxes.predict", f"--model={folder}/model/", f"--instances={folder}/instances.jsonl",
        f"--output-uri={folder}/out/", "--confidence-threshold=0.3", "--max-predictions=3",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = [json.loads(line) for line in storage.read_lines(f"{folder}/out/predictions_00001.jsonl")]
    assert len(lines) == 24 and all(set(line) == {"instance", "prediction"} for line in lines)
    errors = [
        json.loads(line)["instance"]["content"] for line in storage.read_lines(f"{folder}/out/errors_00001.jsonl")
    ]
    assert sorted(uri.rpartition("/")[2] for uri in errors) == ["broken.jpg", "gone.jpg"]
    for prediction in (line["prediction"] for line in lines):
        assert len(prediction["bboxes"]) == len(prediction["displayNames"]) == len(prediction["confidences"]) <= 3
        assert all(0 <= a < b <= 1 and 0 <= c < d <= 1 for a, b, c, d in prediction["bboxes"])
        assert all(score >= 0.3 for score in prediction["confidences"])


def test_settings_that_cannot_be_are_told_to_the_user(storage: Storage, folder: str, image: Image) -> None:
    storage.write_text(
        f"{folder}/training.jsonl",
        json.dumps(
            {
                "imageGcsUri": f"{folder}/1.jpg",
                "boundingBoxAnnotations": [{"displayName": "a", "xMin": 0, "yMin": 0, "xMax": 1, "yMax": 1}],
            }
        ),
    )
    done = image.run(
        "-m", "train.bounding_boxes.main", f"--training-file={folder}/training.jsonl",
        f"--output-uri={folder}/model/", f"--ending-uri={folder}/endings/", "--image-size=100",
    )  # fmt: skip
    error = json.loads(storage.read_text(f"{folder}/endings/by-hand/error.json"))
    assert done.returncode == 1 and error["kind"] == "configuration" and "multiple of 32" in error["sentence"]
