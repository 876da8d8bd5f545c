"""Boxes through all jobs of the container pipeline over the wire, and the sample that is drawn for them."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport
from PIL import Image

from etl.bounding_boxes import main as etl
from inference.bounding_boxes import main as inference
from jobkit.storage import Storage
from jobkit.vertex import client_of
from local.environments import ensure
from local.gcs import StorageServer
from tests.jobs.boxes.scenes import MODEL_RUN, Sample
from tests.jobs.served import served_version

REPOSITORY = Path(__file__).resolve().parents[3]
MAKE = REPOSITORY / "samples" / "bounding_box" / "make.py"


def python_of(job: str) -> Path:
    """The interpreter of the environment that a job's image would have."""
    return ensure(REPOSITORY / "jobs" / job / "requirements.txt", REPOSITORY / ".local" / "envs")


def run_in_image(job: str, host: str, *words: str) -> None:
    """A job's command line in its own environment, as Vertex would start it."""
    python = python_of(job)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY / "jobs"),
        "STORAGE_EMULATOR_HOST": host,
        "GOOGLE_CLOUD_PROJECT": "local-project",
        "VERTEX_ENDPOINT": os.environ.get("VERTEX_ENDPOINT", ""),
        "OMP_NUM_THREADS": "2",
    }
    command = [python, "-m", f"{job.replace('/', '.')}.main", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_an_export_becomes_boxes_in_labelbox_for_every_row(
    storage: Storage,
    storage_server: StorageServer,
    folder: str,
    serve: Callable[[Path], object],
    vertex: object,
    tmp_path: Path,
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
        "--register-model=true", "--model-type=bounding_box_custom", f"--model-run-id={MODEL_RUN}",
        "--labels=lb_deployment=local,lb_attempt=train-fit-1-0a1b2c3d4e", "--serving-image=us-docker.pkg.dev/p/r/boxes",
        "--serving-command=python -m inference.box_prediction.serve",
    )  # fmt: skip
    run_in_image(
        "inference/box_prediction", storage_server.host, f"--model={result('train')['outputs']['model']}",
        f"--instances={data['prediction_instances']}", f"--output-uri={folder}/batch/",
        f"--ending-uri={folder}/endings/predict/",
    )  # fmt: skip
    assert result("predict")["counts"] == {"predicted": 37, "image_errors": 0}
    version = result("train")["outputs"]["model_version"]
    it_serves_what_the_batch_job_found(storage, version, f"{folder}/batch/", tmp_path)
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


def it_serves_what_the_batch_job_found(storage: Storage, version: str, batch: str, state: Path) -> None:
    """The registered version, served from what the registry says of it, by images in the request and in the bucket."""
    (shard,) = storage.list(f"{batch}predictions_")
    lines = [json.loads(line) for line in storage.read_lines(shard)][:12]
    model = client_of(ModelServiceClient, ModelServiceGrpcTransport).get_model(name=version)
    with served_version(model, state, python_of("inference/box_prediction")) as served:
        said = served.predict(*(line["instance"] for line in lines))
        for line, prediction in zip(lines, said, strict=True):
            expected = line["prediction"]
            assert prediction["displayNames"] == expected["displayNames"] and prediction["ids"] == expected["ids"]
            assert prediction["confidences"] == pytest.approx(expected["confidences"], abs=2e-6)
            for found, box in zip(prediction["bboxes"], expected["bboxes"], strict=True):  # xMin, xMax, yMin, yMax
                assert found == pytest.approx(box, abs=1e-5)
        assert any(prediction["bboxes"] for prediction in said)
        content = base64.b64encode(storage.read_bytes(lines[0]["instance"]["content"])).decode()
        (alone,) = served.predict({"content": content, "mimeType": "image/jpeg"}, confidenceThreshold=0.5)
        assert alone["confidences"] == pytest.approx([one for one in said[0]["confidences"] if one >= 0.5], abs=2e-6)
        assert "instance 1: " in served.refusal({"content": content}, {"content": content[:400]})


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
