"""Boxes through all jobs of the container pipeline over the wire, and the sample that is drawn for them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from etl.bounding_boxes import main as etl
from inference.bounding_boxes import main as inference
from jobkit.storage import Storage
from local.environments import ensure
from local.gcs import StorageServer
from tests.jobs.boxes.scenes import MODEL_RUN, Sample

REPOSITORY = Path(__file__).resolve().parents[3]
MAKE = REPOSITORY / "samples" / "bounding_box" / "make.py"


def run_in_image(job: str, host: str, *words: str) -> None:
    """A job's command line in its own environment, as Vertex would start it."""
    python = ensure(REPOSITORY / "jobs" / job / "requirements.txt", REPOSITORY / ".local" / "envs")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY / "jobs"),
        "STORAGE_EMULATOR_HOST": host,
        "GOOGLE_CLOUD_PROJECT": "local-project",
        "OMP_NUM_THREADS": "2",
    }
    command = [python, "-m", f"{job.replace('/', '.')}.main", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_an_export_becomes_boxes_in_labelbox_for_every_row(
    storage: Storage, storage_server: StorageServer, folder: str, serve: Callable[[Path], object], tmp_path: Path
) -> None:
    sample = Sample(tmp_path / "sample")
    sample.fill(36)
    sample.add("unlabelled", "TEST", [], labels=[])
    sample.add("broken", "TRAINING", [("tool-car", (10.0, 10.0, 40.0, 40.0))], data=b"no picture")
    labelbox = serve(sample.save())

    def result(job: str) -> dict:
        return json.loads(storage.read_text(f"{folder}/endings/{job}/by-hand/result.json"))

    assert etl.main(
        [
            f"--model-run-id={MODEL_RUN}", f"--output-uri={folder}/data/", "--trainer=container",
            f"--ending-uri={folder}/endings/etl/",
        ]
    ) == 0  # fmt: skip
    data = result("etl")["outputs"]
    assert result("etl")["counts"]["skipped"] == 1
    run_in_image(
        "train/bounding_boxes", storage_server.host, f"--training-file={data['training_file']}",
        f"--output-uri={folder}/model/", f"--ending-uri={folder}/endings/train/", "--image-size=160", "--epochs=14",
    )  # fmt: skip
    run_in_image(
        "inference/box_prediction", storage_server.host, f"--model={result('train')['outputs']['model']}",
        f"--instances={data['prediction_instances']}", f"--output-uri={folder}/batch/",
        f"--ending-uri={folder}/endings/predict/",
    )  # fmt: skip
    assert result("predict")["counts"] == {"predicted": 37, "image_errors": 0}
    assert inference.main(
        [
            f"--model-run-id={MODEL_RUN}", f"--manifest={data['manifest']}", f"--output-uri={folder}/{MODEL_RUN}/",
            f"--predictions={result('predict')['outputs']['predictions']}", f"--ending-uri={folder}/endings/end/",
            f"--dataset-report={data['dataset_report']}", "--upload-min-confidence=0.1",
        ]
    ) == 0  # fmt: skip
    ended = result("end")
    assert ended["metrics"]["map_50"] >= 0.8 and ended["metrics"]["map_50_95"] >= 0.4
    assert ended["counts"]["rows"] == 37 and ended["counts"]["rows_without_prediction"] == 0
    lines = list(storage.read_lines(ended["outputs"]["predictions"]))
    assert ended["counts"]["uploaded"] == len(lines)
    held = labelbox.state()["model_runs"][MODEL_RUN]  # type: ignore[attr-defined]
    assert held["predictions"] == ended["counts"]["predictions"] >= 60


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    subprocess.run([sys.executable, MAKE, folder], check=True, timeout=120)
    return folder


def rows(folder: Path) -> list[tuple[dict, dict]]:
    """(the row, its run) of an export."""
    found = []
    for line in (folder / "export.ndjson").read_text().splitlines():
        row = json.loads(line)
        (experiment,) = row["experiments"].values()
        found.append((row, *experiment["runs"].values()))
    return found


def test_the_sample_is_drawn_the_same_every_time(drawn: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, MAKE, tmp_path], check=True, timeout=120)
    files = sorted(path.relative_to(drawn) for path in drawn.rglob("*") if path.is_file())
    assert files and all((drawn / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)


def test_the_sample_has_enough_of_every_class_and_all_that_boxes_can_be(drawn: Path) -> None:
    counts: dict[tuple[str, str], int] = {}
    empty = sideways = unlabelled = 0
    for row, run in rows(drawn):
        with Image.open(io.BytesIO((drawn / row["data_row"]["row_data"]).read_bytes())) as picture:
            sideways += picture.getexif().get(0x0112, 1) != 1
            assert picture.size == (256, 256)
        unlabelled += not run["labels"]
        objects = [entry for label in run["labels"] for entry in label["annotations"]["objects"]]
        empty += bool(run["labels"]) and not objects
        assert len(objects) <= 5
        for entry in objects:
            box = entry["bounding_box"]
            assert box["left"] >= 0 and box["left"] + box["width"] <= 256 and min(box["width"], box["height"]) >= 8
            assert box["top"] >= 0 and box["top"] + box["height"] <= 256
        for name in {entry["name"] for entry in objects}:
            counts[name, run["split"]] = counts.get((name, run["split"]), 0) + 1
    names = {name for name, _ in counts}
    assert len(names) == 6 and "Bunch of grapes" in names
    assert all(counts[name, "TRAINING"] >= 10 and counts[name, "TEST"] >= 2 for name in names)
    assert empty >= 2 and sideways == 1 and unlabelled == 2
