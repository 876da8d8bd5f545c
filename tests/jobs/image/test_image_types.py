"""Each image type from export to metrics over the wire, its jobs called with the arguments of its pipeline file."""

import base64
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

from inference.image_classification import main as inference
from jobkit.image.dataset import MULTI_LABEL_SCHEMA, dataset_client
from jobkit.manifest import read_manifest
from jobkit.storage import Storage
from jobkit.vertex import client_of
from orchestrator.parameters import settle
from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob, read_pipelines
from orchestrator.templates import in_words, render
from tests.jobs.served import served_version
from train.image_classification import main as trainer
from train.image_classification import predict as predictor

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
SINGLE, MULTI = "image_single_classification", "image_multi_classification"
MODEL_RUNS = {SINGLE: "b7d4e5a2-91c3-4f08-8d6b-2a7c5e1f3094", MULTI: "29f8b1c4-d05e-4a7b-b6c3-e1f4708a5d92"}
PARENT = "projects/local-project/locations/us-central1"


class PipelineRun:
    """Runs a pipeline's jobs one after another in this process, as the orchestrator would launch them."""

    def __init__(self, storage: Storage, folder: str, model_type: str, model_run: str, **parameters: object) -> None:
        self._storage, self._folder = storage, folder
        self._pipeline = read_pipelines()[model_type]
        settled, problems = settle(self._pipeline.parameters, parameters)
        assert not problems
        labels = f"lb_deployment=local,lb_run_key={model_type.replace('_', '-')},lb_attempt=etl-export-1-0a1b2c3d4e"
        self.values = {"run.model_run_id": model_run, "run.model_type": model_type, "run.labels": labels}
        repository = "us-central1-docker.pkg.dev/local-project/jobs/"
        self.values |= {name: repository + job.image.replace("/", "-") for name, job in self._pipeline.images()}
        self.values |= {f"parameters.{name}": value for name, value in settled.items()}
        self.endings: dict[str, dict] = {}

    def go(self) -> dict[str, dict]:
        """The jobs' results by `stage.job`."""
        for stage, job in self._pipeline.jobs():
            key = f"{stage.name}.{job.name}"
            self.values["job.data_uri"] = f"{self._folder}/{key}/"
            ending = self._custom(key, job) if isinstance(job, CustomJob) else self._managed(key, job)
            self.endings[key] = ending
            self.values |= {f"{key}.{name}": value for name, value in ending["outputs"].items()}
        return self.endings

    def _custom(self, key: str, job: CustomJob) -> dict:
        module = importlib.import_module(f"{job.image.replace('/', '.')}.main")
        words = [f"--{name}={in_words(render(value, self.values))}" for name, value in job.args.items()]
        return self._ended(key, module.main([*words, f"--ending-uri={self._folder}/endings/{key}/"]))

    def _managed(self, key: str, job: AutoMLImageTraining | BatchPrediction) -> dict:
        """What Vertex does, by the same commands as its stand-in."""
        out = f"{self._folder}/{key}/"
        if isinstance(job, AutoMLImageTraining):
            multi_label = "true" if job.objective == "multi_label_classification" else "false"
            file = self.values["etl.export.training_file"]
            words = [f"--training-file={file}", f"--output-uri={out}", f"--multi-label={multi_label}"]
            return self._ended(key, trainer.main([*words, f"--ending-uri={self._folder}/endings/{key}/"]))
        limit = f"--max-predictions={job.model_parameters['maxPredictions']}"
        words = [f"--model={render(job.model, self.values)}", f"--instances={render(job.instances, self.values)}"]
        assert predictor.main([*words, f"--output-uri={out}", limit]) == 0
        return {"outputs": {"predictions": out}}

    def _ended(self, key: str, code: int) -> dict:
        name = "result" if code == 0 else "error"
        ending = json.loads(self._storage.read_text(f"{self._folder}/endings/{key}/by-hand/{name}.json"))
        assert code == 0, ending
        return ending


@pytest.mark.parametrize(
    ("model_type", "sample", "figure"),
    [
        pytest.param("image_multi_classification", MULTI, "micro_f1"),
        pytest.param("image_multi_classification_custom", MULTI, "micro_f1"),
        pytest.param("image_single_classification_custom", SINGLE, "accuracy"),
        pytest.param("image_knn_classification", SINGLE, "accuracy"),
    ],
)
def test_a_type_goes_from_export_to_predictions_and_beats_the_majority(
    storage: Storage,
    folder: str,
    serve: Callable[[Path], object],
    vertex: object,
    tmp_path: Path,
    model_type: str,
    sample: str,
    figure: str,
) -> None:
    labelbox = serve(SAMPLES / sample)
    ended = PipelineRun(storage, folder, model_type, MODEL_RUNS[sample]).go()
    last = ended["inference.evaluate"]
    assert last["metrics"][figure] >= 0.8
    assert last["metrics"]["majority_baseline"] < 0.5
    rows = (SAMPLES / sample / "export.ndjson").read_text().count("\n")
    assert last["counts"]["rows"] == rows and last["counts"]["rows_without_prediction"] == 0
    counts = last["counts"]
    assert (counts["refused"], counts["uploaded"]) == (0, counts["predictions"] + counts["metric_rows"])
    assert labelbox.state()["model_runs"][MODEL_RUNS[sample]]["prediction_rows"] >= 0.9 * rows
    assert ("dataset" in ended["etl.export"]["outputs"]) == (model_type == "image_multi_classification")
    metrics = json.loads(storage.read_text(last["outputs"]["metrics"]))
    assert ("thresholds (chosen on validation)" in metrics["notes"]) == (sample == MULTI)
    if "train.fit" in ended:
        version = ended["train.fit"]["outputs"]["model_version"]
        assert version == f"{PARENT}/models/local-{model_type}@1"
        it_serves_what_the_batch_job_predicted(storage, version, ended["inference.predict"], tmp_path)


def it_serves_what_the_batch_job_predicted(storage: Storage, version: str, batch: dict, state: Path) -> None:
    """The registered version, served from what the registry says of it, in every form of an instance."""
    (shard, *_) = storage.list(f"{batch['outputs']['predictions']}predictions_")
    lines = [json.loads(line) for line in storage.read_lines(shard)][:20]
    model = client_of(ModelServiceClient, ModelServiceGrpcTransport).get_model(name=version)
    with served_version(model, state) as served:
        said = served.predict(*(line["instance"] for line in lines))
        for line, prediction in zip(lines, said, strict=True):
            assert prediction.keys() == line["prediction"].keys()
            expected = dict(zip(line["prediction"]["displayNames"], line["prediction"]["confidences"], strict=True))
            found = dict(zip(prediction["displayNames"], prediction["confidences"], strict=True))
            assert found == pytest.approx(expected, abs=2e-6)
        uri = lines[0]["instance"]["content"]
        content = base64.b64encode(storage.read_bytes(uri)).decode()
        forms = (uri, {"content": content, "mimeType": "image/jpeg"}, {"image_bytes": {"b64": content}})
        assert served.predict(*forms) == [served.predict(uri)[0]] * 3
        (surest,) = served.predict(uri, maxPredictions=1, confidenceThreshold=0.0)
        assert surest["displayNames"] == said[0]["displayNames"][:1]
        refusal = served.refusal(uri, {"content": "no base64!"}, "gs://elsewhere/a.jpg", {"b64": "aGVsbG8="}, 7, {})
        for number, words in enumerate(("base64", "none of the folders", "no JPEG", "must be", "must be"), start=1):
            assert f"instance {number}: " in refusal and words in refusal.split("; ")[number - 1]
        assert "confidenceThreshold" in served.refusal(uri, confidenceThreshold=2, color="red")
        assert "at most 128" in served.refusal(*[uri] * 129)


def test_multi_label_data_has_all_questions_classes_true_negatives_and_a_vertex_data_set(
    storage: Storage, folder: str, serve: Callable[[Path], object], vertex: object
) -> None:
    serve(SAMPLES / MULTI)
    run = PipelineRun(storage, folder, "image_multi_classification", MODEL_RUNS[MULTI])
    (_, job), *_ = run._pipeline.jobs()
    run.values["job.data_uri"] = f"{folder}/etl/"
    ended = run._custom("etl.export", job)
    lines = [json.loads(line) for line in storage.read_lines(ended["outputs"]["training_file"])]
    taught = [tuple(one["displayName"] for one in line["classificationAnnotations"]) for line in lines]
    assert {name for names in taught for name in names} == {
        *("Apple", "Bunch of grapes", "Pear", "Strawberry"),  # ticks of the checklist
        *("Brick wall", "Cat", "Cup of coffee"),  # answers to the radio question
    }
    assert taught.count(()) == 5  # the labeler looked and ticked nothing
    assert max(map(len, taught)) == 4
    report = json.loads(storage.read_text(ended["outputs"]["dataset_report"]))
    assert report["task"] == "multiple" and {one["kind"] for one in report["classes"]} == {"checklist", "radio"}
    rows = list(read_manifest(storage, ended["outputs"]["manifest"]))
    assert sum(not row.labelled for row in rows) == 2
    assert sum(row.labelled and not row.labels for row in rows) == 5
    held = dataset_client().get_dataset(name=f"{PARENT}/datasets/{ended['outputs']['dataset']}")
    assert held.data_item_count == len(lines)
    assert MULTI_LABEL_SCHEMA.endswith("image_classification_multi_label_io_format_1.0.0.yaml")


def test_thresholds_are_chosen_on_validation_rows_and_never_on_test_rows(storage: Storage, folder: str) -> None:
    classes = [
        {"display_name": name, "feature_schema_id": name, "name": name, "question": "q", "kind": "checklist"}
        for name in ("a", "b")
    ]
    report = {"task": "multiple", "classes": classes, "rows": {"seen": 60, "labelled": 60, "skipped": 0}}
    manifest, lines = [], []
    for number in range(60):
        split = ("validation", "test")[number % 2]
        labelled = number % 4 < 2  # on validation and test alike
        # Validation rows of the class have 0.3, others 0.1; test rows say the opposite.
        sure = 0.3 if labelled == (split == "validation") else 0.1
        uri = f"gs://b/{number}.jpg"
        row = {"data_row_id": f"r{number}", "content": uri, "split": split}
        manifest.append({**row, "labels": ["a"] if labelled else [], "labelled": True})
        answer = {"displayNames": ["a", "b"], "confidences": [sure, 0.0]}
        lines.append({"instance": {"content": uri}, "prediction": answer})
    storage.write_text(f"{folder}/manifest.jsonl", "".join(json.dumps(row) + "\n" for row in manifest))
    storage.write_text(f"{folder}/batch/predictions_1.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    storage.write_text(f"{folder}/report.json", json.dumps(report))
    code = inference.main(
        [
            "--model-run-id=run",
            f"--manifest={folder}/manifest.jsonl",
            f"--predictions={folder}/batch/",
            f"--dataset-report={folder}/report.json",
            f"--output-uri={folder}/out/",
            f"--ending-uri={folder}/endings/",
            "--sink=metadata",
        ]
    )
    assert code == 0
    metrics = json.loads(storage.read_text(f"{folder}/out/metrics.json"))
    assert metrics["splits"]["validation"]["micro_f1"] == 1.0
    assert metrics["splits"]["test"]["micro_f1"] == 0.0
