"""The sample through the image jobs over the wire: export, Vertex data set, training, batch prediction, evaluation."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from etl.image_classification import main as etl
from inference.image_classification import main as inference
from jobkit.image.dataset import dataset_client
from jobkit.manifest import read_manifest
from jobkit.storage import Storage
from train.image_classification import main as trainer
from train.image_classification import predict as predictor

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification"
MODEL_RUN = "b7d4e5a2-91c3-4f08-8d6b-2a7c5e1f3094"
PARENT = "projects/local-project/locations/us-central1"
LABELS = "lb_run_key=abc123,lb_model_run=b7d4e5a2,lb_run_number=1,lb_attempt=etl-prepare-1-0a1b2c3d4e"


def prepare(storage: Storage, folder: str, *more: str, labels: str = LABELS) -> tuple[int, dict]:
    """The ETL job's command line; its exit code and its ending."""
    code = etl.main(
        [
            f"--model-run-id={MODEL_RUN}",
            f"--output-uri={folder}/data/",
            f"--ending-uri={folder}/endings/etl/",
            f"--labels={labels}",
            *more,
        ]
    )
    ending = "result" if code == 0 else "error"
    return code, json.loads(storage.read_text(f"{folder}/endings/etl/by-hand/{ending}.json"))


def json_lines(storage: Storage, uri: str) -> list[dict]:
    return [json.loads(line) for line in storage.read_lines(uri)]


def export() -> dict[str, dict]:
    """Data row id -> split and class of the sample's export."""
    rows = {}
    for line in (SAMPLE / "export.ndjson").read_text().splitlines():
        row = json.loads(line)
        (experiment,) = row["experiments"].values()
        (run,) = experiment["runs"].values()
        names = [label["annotations"]["classifications"][0]["radio_answer"]["name"] for label in run["labels"]]
        rows[row["data_row"]["id"]] = {"split": run["split"].lower(), "label": names[0] if names else None}
    return rows


def test_the_sample_goes_from_export_to_predictions_of_every_row(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object
) -> None:
    labelbox = serve(SAMPLE)
    code, prepared = prepare(storage, folder)
    assert code == 0, prepared
    outputs = prepared["outputs"]
    rows = export()

    lines = json_lines(storage, outputs["training_file"])
    assert len({line["imageGcsUri"] for line in lines}) == len(lines) == sum(1 for r in rows.values() if r["label"]) - 1
    manifest = list(read_manifest(storage, outputs["manifest"]))
    assert {row.data_row_id: (row.split, row.labels[0] if row.labels else None) for row in manifest} == {
        key: (row["split"], row["label"]) for key, row in rows.items()
    }
    dataset = dataset_client().get_dataset(name=f"{PARENT}/datasets/{outputs['dataset']}")
    assert dataset.data_item_count == len(lines) == prepared["counts"]["imported_images"]
    assert dataset.labels["lb_attempt"] == "etl-prepare-1-0a1b2c3d4e"

    assert trainer.main(
        [
            f"--training-file={outputs['training_file']}",
            f"--output-uri={folder}/model/",
            f"--ending-uri={folder}/endings/train/",
        ]
    ) == 0  # fmt: skip
    batch = f"{folder}/batch/prediction-fruit-2026-11-23T16:00:00.000Z/"
    model = f"--model={folder}/model/"
    assert predictor.main([model, f"--instances={outputs['prediction_instances']}", f"--output-uri={batch}"]) == 0
    code = inference.main(
        [
            f"--model-run-id={MODEL_RUN}",
            f"--manifest={outputs['manifest']}",
            f"--predictions={batch}",
            f"--dataset-report={outputs['dataset_report']}",
            f"--output-uri={folder}/inference-1/",
            f"--ending-uri={folder}/endings/inference/",
        ]
    )
    assert code == 0
    ended = json.loads(storage.read_text(f"{folder}/endings/inference/by-hand/result.json"))
    assert ended["metrics"]["accuracy"] >= 0.8
    assert ended["counts"]["rows"] == ended["counts"]["predictions"] == len(rows)
    assert ended["counts"]["rows_without_prediction"] == 0
    written = json_lines(storage, ended["outputs"]["predictions"])
    said = {line["dataRow"]["id"]: line["answer"] for line in written if "answer" in line}
    assert set(said) == set(rows)
    assert all(0 < answer["confidence"] <= 1 for answer in said.values())
    assert ended["counts"]["uploaded"] == len(written), ended
    assert "<html" in storage.read_text(ended["outputs"]["report"])
    held = labelbox.state()["model_runs"][MODEL_RUN]
    assert held["predictions"] == held["prediction_rows"] == len(rows)
    assert held["metrics"] == ended["counts"]["metric_rows"] > 0


def test_the_same_export_twice_fetches_no_image_and_makes_no_second_data_set(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object, tmp_path: Path
) -> None:
    labels = LABELS.replace("abc123", "twice")
    copy = tmp_path / "sample"
    shutil.copytree(SAMPLE, copy)
    serve(copy)
    code, first = prepare(storage, folder, labels=labels)
    assert code == 0, first
    shutil.rmtree(copy / "files")  # whoever fetches now is answered 404
    code, second = prepare(storage, f"{folder}/again", labels=labels.replace("prepare-1", "prepare-2"))
    assert code == 0, second
    assert second["outputs"]["dataset"] == first["outputs"]["dataset"]
    assert second["counts"] == first["counts"]
    training, again = (storage.read_text(ended["outputs"]["training_file"]) for ended in (first, second))
    assert training == again
