"""The ETL job against real servers with exports that go wrong, and with a data set that is there already."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1 import Dataset

from etl.image_classification import main as etl
from jobkit.errors import BadData, Transient
from jobkit.image.dataset import IMAGE_METADATA_SCHEMA, VertexDatasets, dataset_client
from jobkit.manifest import ManifestRow, read_manifest
from jobkit.storage import Storage

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification"
MODEL_RUN = "b7d4e5a2-91c3-4f08-8d6b-2a7c5e1f3094"
PARENT = "projects/local-project/locations/us-central1"


class Export:
    """A copy of the sample to spoil."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SAMPLE, folder)
        self.rows = [json.loads(line) for line in (folder / "export.ndjson").read_text().splitlines()]

    def run(self, row: dict) -> dict:
        (experiment,) = row["experiments"].values()
        return experiment["runs"][MODEL_RUN]

    def labelled(self, split: str, count: int) -> list[dict]:
        """Some labelled rows of a split."""
        found = [row for row in self.rows if self.run(row)["split"] == split and self.run(row)["labels"]]
        return found[:count]

    def file(self, row: dict) -> Path:
        return self.folder / row["data_row"]["row_data"]

    def save(self) -> Path:
        (self.folder / "export.ndjson").write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return self.folder


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path / "sample")


def prepare(storage: Storage, folder: str, *more: str) -> tuple[int, dict]:
    code = etl.main(
        [
            f"--model-run-id={MODEL_RUN}",
            f"--output-uri={folder}/data",
            f"--ending-uri={folder}/endings/",
            f"--labels=lb_run_key={hashlib.sha256(folder.encode()).hexdigest()[:16]}",
            *more,
        ]
    )
    ending = "result" if code == 0 else "error"
    return code, json.loads(storage.read_text(f"{folder}/endings/by-hand/{ending}.json"))


def manifest(storage: Storage, ended: dict) -> dict[str, ManifestRow]:
    return {row.data_row_id: row for row in read_manifest(storage, ended["outputs"]["manifest"])}


def report_of(storage: Storage, ended: dict) -> dict:
    return json.loads(storage.read_text(ended["outputs"]["dataset_report"]))


def test_bad_files_cost_their_row_and_nothing_else(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object, export: Export
) -> None:
    cut, page, gone, inside, strange = export.labelled("TRAINING", 5)
    export.file(cut).write_bytes(export.file(cut).read_bytes()[:-500])
    export.file(page).write_text("<html>please log in</html>")
    export.file(gone).unlink()
    inside["data_row"]["row_data"] = "http://169.254.169.254/computeMetadata/v1/"
    strange["data_row"]["row_data"] = "gs://somebody-elses-bucket/a.jpg"
    serve(export.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    report = report_of(storage, ended)
    reasons = {reason: entry["ids"] for reason, entry in report["skipped"].items()}
    ids = {name: row["data_row"]["id"] for name, row in zip("cpgis", (cut, page, gone, inside, strange), strict=True)}
    assert sorted(reasons["unreadable_image"]) == sorted([ids["c"], ids["p"]])
    assert reasons["not_found"] == [ids["g"]]
    assert reasons["address_refused"] == [ids["i"]]
    assert reasons["bucket_refused"] == [ids["s"]]
    assert ended["counts"]["skipped"] == 5
    assert len(manifest(storage, ended)) == len(export.rows) - 5
    assert "skipped_rows" in ended["metadata"]


def test_labels_that_do_not_count_leave_their_row_to_be_predicted(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object, export: Export
) -> None:
    twin, unassigned, unlabelled = export.labelled("TRAINING", 3)
    (other,) = [
        row
        for row in export.labelled("TEST", 100)
        if name_of(export, row) != name_of(export, twin)
    ][:1]  # fmt: skip
    shutil.copyfile(export.file(other), export.file(twin))
    export.run(unassigned)["split"] = "UNASSIGNED"
    export.run(unlabelled)["labels"] = []
    serve(export.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    rows = manifest(storage, ended)
    assert len(rows) == len(export.rows)
    notes = {name: rows[row["data_row"]["id"]].note for name, row in
             {"twin": twin, "other": other, "unassigned": unassigned, "unlabelled": unlabelled}.items()}  # fmt: skip
    assert notes == {
        "twin": "same_image_labelled_differently",
        "other": "same_image_labelled_differently",
        "unassigned": "no_split",
        "unlabelled": "unlabelled",
    }
    training = storage.read_text(ended["outputs"]["training_file"])
    assert rows[other["data_row"]["id"]].details["image"] not in training


def test_baseline_nested_answers_are_in_the_manifest(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object, export: Export
) -> None:
    asked, plain = export.labelled("TRAINING", 2)
    answer = export.run(asked)["labels"][0]["annotations"]["classifications"][0]["radio_answer"]
    ripe = {"feature_schema_id": "ripe", "name": "ripe", "value": "ripe", "classifications": []}
    answer["classifications"] = [{"feature_schema_id": "state", "name": "state", "checklist_answers": [ripe]}]
    serve(export.save())
    code, ended = prepare(storage, folder)
    assert code == 0, ended
    rows = manifest(storage, ended)
    below = {"under": answer["feature_schema_id"], "question": "state", "answers": ["ripe"]}
    assert rows[asked["data_row"]["id"]].details["nested"] == [below]
    assert "nested" not in rows[plain["data_row"]["id"]].details


def name_of(export: Export, row: dict) -> str:
    return export.run(row)["labels"][0]["annotations"]["classifications"][0]["radio_answer"]["name"]


def test_classes_that_were_not_asked_for_are_left_out(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object
) -> None:
    serve(SAMPLE)
    code, ended = prepare(storage, folder, "--classes=Pear,bunch_of_grapes")
    assert code == 0, ended
    report = report_of(storage, ended)
    assert {entry["display_name"] for entry in report["classes"]} == {"Pear", "Bunch of grapes"}
    rows = manifest(storage, ended).values()
    assert {label for row in rows for label in row.labels} == {"Pear", "Bunch of grapes"}
    assert {row.note for row in rows if not row.labelled} == {"class_not_chosen", "unlabelled"}


@pytest.mark.parametrize(
    ("more", "kind", "says"),
    [
        pytest.param(("--question=colour",), "configuration", "'colour' is not there", id="unknown question"),
        pytest.param(("--classes=Mango",), "configuration", "'Mango'", id="unknown class"),
        pytest.param(("--minimum-examples=1000",), "bad_data", "Fewer than two classes", id="too few examples"),
        pytest.param(("--minimum-examples=none",), "configuration", "whole number", id="no number"),
        pytest.param(("--labels=A=B",), "configuration", "no label of a Vertex", id="bad label"),
    ],
)
def test_what_the_user_can_mend_is_said(
    storage: Storage,
    folder: str,
    serve: Callable[[Path], object],
    vertex: object,
    more: tuple[str, ...],
    kind: str,
    says: str,
) -> None:
    serve(SAMPLE)
    code, ended = prepare(storage, folder, *more)
    assert (code, ended["kind"]) == (1, kind)
    assert says in ended["sentence"]


def test_no_usable_image_at_all_is_bad_data(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object, export: Export
) -> None:
    for row in export.rows:
        export.file(row).write_text("gone")
    serve(export.save())
    code, ended = prepare(storage, folder)
    assert (code, ended["kind"]) == (1, "bad_data")
    assert "None of the 111 images can be used" in ended["sentence"]


def test_an_empty_data_set_of_the_run_is_found_and_filled(storage: Storage, folder: str, vertex: object) -> None:
    client = dataset_client()
    made = Dataset(display_name="d", metadata_schema_uri=IMAGE_METADATA_SCHEMA, labels={"lb_run_key": "found-again"})
    name = client.create_dataset(parent=PARENT, dataset=made).result(timeout=30).name
    datasets = VertexDatasets(client, PARENT)
    assert datasets.find("found-again") == name
    assert datasets.find("another") is None
    lines = []
    for number, path in enumerate(sorted((SAMPLE / "files").glob("*.jpg"))[:12]):
        storage.write_bytes(f"{folder}/{path.name}", path.read_bytes(), "image/jpeg")
        label = {"displayName": "ab"[number % 2]}
        lines.append({"imageGcsUri": f"{folder}/{path.name}", "classificationAnnotation": label})
    lines.append({"imageGcsUri": f"{folder}/nowhere.jpg", "classificationAnnotation": {"displayName": "a"}})
    storage.write_text(f"{folder}/import.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    filled = datasets.fill(name, f"{folder}/import.jsonl", images=13)
    assert (filled.dataset_id, filled.items) == (name.rpartition("/")[2], 12)
    assert len(filled.failures) == 1
    assert datasets.fill(name, f"{folder}/import.jsonl", images=12).failures == ()


def test_a_deployments_key_encrypts_its_data_sets(vertex: object, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    client = dataset_client()
    plain = client.get_dataset(name=VertexDatasets(client, PARENT).create("d", {"lb_run_key": "google-s-key"}))
    assert not plain.encryption_spec.kms_key_name
    monkeypatch.setenv("KMS_KEY_NAME", key)
    name = VertexDatasets(client, PARENT).create("d", {"lb_run_key": "own-key"})
    assert client.get_dataset(name=name).encryption_spec.kms_key_name == key


def test_a_restarted_job_finds_its_own_data_set_while_lists_lag(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object
) -> None:
    serve(SAMPLE)
    vertex.set(list_lag_s=3600.0, operation_delay_s=0.7)
    first, second = (prepare(storage, folder)[1] for _ in range(2))
    assert first["outputs"]["dataset"] == second["outputs"]["dataset"]
    assert first["counts"] == second["counts"]


def test_a_vertex_that_is_down_is_waited_for_and_then_told_as_transient(vertex: object) -> None:
    vertex.set(unavailable=True)
    datasets = VertexDatasets(dataset_client(), PARENT, patience_s=1.5)
    with pytest.raises(Transient, match="Vertex is busy or down"):
        datasets.find("any")
    with pytest.raises(Transient, match="Vertex is busy or down"):
        datasets.create("d", {"lb_run_key": "any"})


def test_what_vertex_refuses_is_told_in_its_words(vertex: object, folder: str) -> None:
    datasets = VertexDatasets(dataset_client(), PARENT)
    with pytest.raises(BadData, match="Vertex refused the data set"):
        datasets.create("d", {"Bad Label": "x"})
