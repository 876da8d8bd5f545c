"""What AutoML training and batch prediction guarantee: Vertex's requests and files, with a trainer of ours behind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions

from local.gcs import StorageServer
from local.vertex.automl_rules import (
    BOXES_SCHEMA,
    CLASSIFICATION,
    DETECTION,
    IMAGE_METADATA_SCHEMA,
    MULTI_LABEL_SCHEMA,
    SINGLE_LABEL_SCHEMA,
)
from tests.local.pubsub_world import World as PubSub
from tests.local.pubsub_world import pubsub_process
from tests.local.vertex_world import PARENT, Bucket, World, png, vertex_process, wait_until, world

ML_USE = "aiplatform.googleapis.com/ml_use"
SPLITS = ["training"] * 8 + ["validation", "test"]
INTERNAL = "gs://local-project-vertex-internal"


@dataclass
class Here:
    """A stand-in with real storage and images in a user's bucket."""

    world: World
    bucket: Bucket
    number: int = 0

    def images(self, label: str, first: int, number: int = 10, several: bool = False) -> list[dict[str, Any]]:
        lines = []
        for index in range(first, first + number):
            uri = self.bucket.write(f"images/{index}.png", png(index))
            line: dict[str, Any] = {"imageGcsUri": uri, "dataItemResourceLabels": {ML_USE: SPLITS[index % 10]}}
            annotation = {"displayName": label}
            line["classificationAnnotations" if several else "classificationAnnotation"] = (
                [annotation] if several else annotation
            )
            lines.append(line)
        return lines

    def dataset(self, lines: list[dict[str, Any]], schema: str = SINGLE_LABEL_SCHEMA) -> str:
        self.number += 1
        request = {"display_name": "d", "metadata_schema_uri": IMAGE_METADATA_SCHEMA}
        datasets = self.world.clients.datasets
        name = str(datasets.create_dataset(parent=PARENT, dataset=request).result(timeout=10).name)
        uri = self.bucket.write_lines(f"import-{self.number}.jsonl", lines)
        config = {"gcs_source": {"uris": [uri]}, "import_schema_uri": schema}
        datasets.import_data(name=name, import_configs=[config]).result(timeout=30)
        return name.rsplit("/", 1)[-1]

    def train(self, dataset_id: str, **fields: Any) -> str:
        pipeline = {**training(dataset_id), **fields}
        pipelines = self.world.clients.pipelines
        return str(pipelines.create_training_pipeline(parent=PARENT, training_pipeline=pipeline).name)

    def predict(self, model: str, instances: str, **fields: Any) -> str:
        job = {
            "display_name": "b",
            "model": model,
            "input_config": {"instances_format": "jsonl", "gcs_source": {"uris": [instances]}},
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": "gs://user-bucket/out/"},
            },
            **fields,
        }
        jobs = self.world.clients.jobs
        return str(jobs.create_batch_prediction_job(parent=PARENT, batch_prediction_job=job).name)


def training(dataset_id: str) -> dict[str, Any]:
    label = f"labels.{ML_USE}"
    return {
        "display_name": "t",
        "labels": {"lb_run": "a"},
        "training_task_definition": CLASSIFICATION,
        "training_task_inputs": {"modelType": "CLOUD", "budgetMilliNodeHours": 8000},
        "input_data_config": {
            "dataset_id": dataset_id,
            "filter_split": {
                "training_filter": f"{label}=training",
                "validation_filter": f"{label}=validation",
                "test_filter": f"{label}=test",
            },
        },
        "model_to_upload": {"display_name": "the model", "labels": {"lb_run": "a"}},
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("vertex")
    with StorageServer(folder / "storage") as storage, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", storage.host)
        bucket = Bucket(storage.host, "user-bucket")
        with world(folder) as opened:
            yield Here(opened, bucket)
        bucket.close()


@pytest.fixture(scope="module")
def dataset_id(here: Here) -> str:
    return here.dataset([*here.images("daisy", 0), *here.images("rose", 10)])


@pytest.fixture(scope="module")
def model(here: Here, dataset_id: str) -> str:
    return str(here.world.clients.ended(here.train(dataset_id)).model_to_upload.name)


def test_training_makes_a_model_with_its_labels_and_its_way_back(here: Here, dataset_id: str) -> None:
    name = here.train(dataset_id, model_id="lb-abc")
    queued = here.world.clients.get(name)
    assert queued.model_to_upload.name == ""
    ended = here.world.clients.ended(name)
    assert (ended.state.name, ended.error.message) == ("PIPELINE_STATE_SUCCEEDED", "")
    assert ended.model_to_upload.name == f"{PARENT}/models/lb-abc"
    assert ended.start_time <= ended.end_time
    model = here.world.clients.models.get_model(name=ended.model_to_upload.name)
    assert (model.display_name, dict(model.labels)) == ("the model", {"lb_run": "a"})
    assert model.training_pipeline == name
    assert model.version_id == "1"
    listed = here.world.clients.models.list_models(request={"parent": PARENT, "filter": "labels.lb_run=a"})
    assert model.name in [found.name for found in listed]


def test_its_figures_say_that_they_are_not_automls(here: Here, model: str) -> None:
    found = here.world.clients.models.get_model(name=model)
    pipeline = here.world.clients.pipelines.get_training_pipeline(name=found.training_pipeline)
    assert "local stand-in" in found.description
    assert pipeline.training_task_metadata["source"] == "local stand-in"
    assert dict(pipeline.training_task_metadata["localStandInMetrics"]) == {"accuracy": 0.5}


def model_file(here: Here, pipeline: str) -> dict[str, Any]:
    folder = f"{INTERNAL}/training-pipelines/{pipeline.rsplit('/', 1)[-1]}/model/"
    return here.bucket.lines(f"{folder}model.json")[0]


def test_the_trainer_gets_the_splits_that_the_filters_make(here: Here, dataset_id: str) -> None:
    config = training(dataset_id)["input_data_config"]
    config["filter_split"]["test_filter"] = "-"
    name = here.train(dataset_id, input_data_config=config)
    here.world.clients.ended(name)
    trained = model_file(here, name)
    assert trained["splits"] == {"training": 16, "validation": 2}
    assert trained["options"]["multi-label"] == "false"
    assert trained["labels"] == ["daisy", "rose"]


def test_multi_label_training_gets_all_labels_of_an_image(here: Here) -> None:
    lines = [*here.images("a", 20, several=True), *here.images("b", 20, several=True)]
    dataset_id = here.dataset(lines, MULTI_LABEL_SCHEMA)
    inputs = {**training(dataset_id)["training_task_inputs"], "multiLabel": True}
    name = here.train(dataset_id, training_task_inputs=inputs)
    assert here.world.clients.ended(name).state.name == "PIPELINE_STATE_SUCCEEDED"
    trained = model_file(here, name)
    assert trained["labels"] == ["a", "b"]
    assert sum(trained["splits"].values()) == 10


def test_the_users_bucket_holds_nothing_of_the_stand_ins_own(here: Here, model: str) -> None:
    assert sorted(here.bucket.buckets()) == ["local-project-vertex-internal", "user-bucket"]
    assert not [uri for uri in here.bucket.under("gs://user-bucket/") if "training-pipelines" in uri]


@pytest.mark.parametrize(
    ("label", "sentence"),
    [("broken", "The label broken is broken."), ("silent", "ended without a result")],
)
def test_a_failed_training_says_the_trainers_sentence_and_makes_no_model(here: Here, label: str, sentence: str) -> None:
    dataset_id = here.dataset(here.images(label, 40 if label == "broken" else 50))
    ended = here.world.clients.ended(here.train(dataset_id, model_id=f"model-{label}"))
    assert ended.state.name == "PIPELINE_STATE_FAILED"
    assert sentence in ended.error.message
    assert ended.model_to_upload.name == ""
    with pytest.raises(exceptions.NotFound):
        here.world.clients.models.get_model(name=f"{PARENT}/models/model-{label}")


def test_too_few_images_of_a_label_fail_the_training(here: Here) -> None:
    dataset_id = here.dataset([*here.images("many", 60), *here.images("few", 70, number=9)])
    ended = here.world.clients.ended(here.train(dataset_id))
    assert (ended.state.name, ended.error.code) == ("PIPELINE_STATE_FAILED", 3)
    assert "few" in ended.error.message


def test_detection_trains_and_predicts_with_the_detector_and_the_boxes_that_vertex_keeps(here: Here) -> None:
    box = {"displayName": "a", "xMin": 0.1, "yMin": 0.125, "xMax": 0.9, "yMax": 1.0}
    tiny = {**box, "xMax": 0.15}
    lines = []
    for number in range(11):
        uri = here.bucket.write(f"boxes/{number}.png", png(5000 + number, 64, 64))
        labels = {ML_USE: "training" if number else "validation"}
        boxes = [] if number == 10 else [box, tiny]
        lines.append({"imageGcsUri": uri, "boundingBoxAnnotations": boxes, "dataItemResourceLabels": labels})
    dataset_id = here.dataset(lines, BOXES_SCHEMA)
    inputs = {"modelType": "CLOUD_HIGH_ACCURACY_1", "budgetMilliNodeHours": 20000}
    name = here.train(dataset_id, training_task_definition=DETECTION, training_task_inputs=inputs)
    ended = here.world.clients.ended(name)
    assert ended.state.name == "PIPELINE_STATE_SUCCEEDED", ended.error.message
    trained = model_file(here, name)
    assert "multi-label" not in trained["options"] and trained["splits"] == {"training": 10, "validation": 1}
    assert sorted(trained["boxes"], key=len) == [[], *[[box]] * 10]
    instances = here.bucket.write_lines("boxes.jsonl", [{"content": lines[0]["imageGcsUri"], "mimeType": "image/png"}])
    done = here.world.clients.ended(here.predict(ended.model_to_upload.name, instances))
    (line,) = here.bucket.lines(f"{done.output_info.gcs_output_directory}/predictions_00001.jsonl")
    assert line["prediction"]["bboxes"] == []


def test_a_training_pipeline_can_be_cancelled(here: Here, dataset_id: str) -> None:
    trainer = here.world.folder / "jobs" / "train" / "image_classification" / "main.py"
    text = trainer.read_text()
    trainer.write_text("import time; time.sleep(600)")
    try:
        name = here.train(dataset_id, model_id="never")
        here.world.clients.reach(name, "PIPELINE_STATE_RUNNING")
        here.world.clients.pipelines.cancel_training_pipeline(name=name)
        ended = here.world.clients.ended(name)
    finally:
        trainer.write_text(text)
    assert (ended.state.name, ended.error.code) == ("PIPELINE_STATE_CANCELLED", 1)


def test_neither_training_nor_prediction_announces_its_end(
    here: Here, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pubsub_process(tmp_path) as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{pubsub.port}")
        messages = PubSub(pubsub.port)
        topic = messages.topic("job-state")
        subscription = messages.subscribe(topic)
        with world(tmp_path, job_events_topic=topic) as own:
            other = Here(own, here.bucket, 1000)
            pipeline = own.clients.ended(other.train(other.dataset(here.images("daisy", 0))))
            instances = instance_file(here, "announced.jsonl")
            own.clients.ended(other.predict(pipeline.model_to_upload.name, instances))
            custom = own.clients.create().name
            pulled = wait_until(
                lambda: (
                    messages.subscriber.pull(subscription=subscription, max_messages=9, timeout=30).received_messages
                )
            )
        messages.publisher.stop()
        messages.publisher.transport.close()
        messages.subscriber.close()
    ids = [json.loads(received.message.data)["resource"]["labels"]["job_id"] for received in pulled]
    assert ids == [custom.rsplit("/", 1)[-1]]


# --- batch prediction ---


def instance_file(here: Here, name: str, *bad: Any, number: int = 5) -> str:
    lines: list[Any] = []
    for index in range(number):
        uri = here.bucket.write(f"predict/{index}.png", png(index))
        lines.append({"content": uri, "mimeType": "image/png"})
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in (*lines, *bad))
    return here.bucket.write(name, text)


def test_predictions_come_in_vertexs_folder_and_shards(here: Here, model: str) -> None:
    name = here.predict(model, instance_file(here, "instances.jsonl"))
    ended = here.world.clients.ended(name)
    assert (ended.state.name, ended.error.message) == ("JOB_STATE_SUCCEEDED", "")
    directory = ended.output_info.gcs_output_directory
    created = ended.create_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    assert directory == f"gs://user-bucket/out/prediction-the model-{created}Z"
    files = here.bucket.under(directory)
    assert files == [f"{directory}/predictions_0000{number}.jsonl" for number in (1, 2, 3)]
    predictions = [line for file in files for line in here.bucket.lines(file)]
    assert {line["instance"]["content"] for line in predictions} == {
        f"gs://user-bucket/predict/{number}.png" for number in range(5)
    }
    assert predictions[0]["prediction"]["displayNames"] == ["daisy", "rose"]
    assert (ended.completion_stats.successful_count, ended.completion_stats.failed_count) == (5, 0)


@pytest.mark.parametrize(
    ("parameters", "names", "threshold"),
    [({}, ["daisy", "rose"], "0.0"), ({"confidenceThreshold": 0.25, "maxPredictions": 1}, ["daisy"], "0.25")],
)
def test_model_parameters_reach_the_predictor(
    here: Here, model: str, parameters: dict[str, Any], names: list[str], threshold: str
) -> None:
    name = here.predict(model, instance_file(here, "parameters.jsonl", number=1), model_parameters=parameters)
    directory = here.world.clients.ended(name).output_info.gcs_output_directory
    (line,) = here.bucket.lines(f"{directory}/predictions_00001.jsonl")
    assert line["prediction"]["displayNames"] == names
    assert line["prediction"]["threshold"] == threshold


def test_predictions_are_ten_at_most_unless_asked(here: Here) -> None:
    labels = [f"label{number:02d}" for number in range(11)]
    lines = [line for number, label in enumerate(labels) for line in here.images(label, 200 + 10 * number)]
    model = here.world.clients.ended(here.train(here.dataset(lines))).model_to_upload.name
    name = here.predict(model, instance_file(here, "ten.jsonl", number=1))
    directory = here.world.clients.ended(name).output_info.gcs_output_directory
    (line,) = here.bucket.lines(f"{directory}/predictions_00001.jsonl")
    assert line["prediction"]["displayNames"] == labels[:10]


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        ("{not json", "not valid JSON"),
        ('["gs://user-bucket/predict/0.png"]', "not a JSON object"),
        ({"content": "aGVsbG8=", "mimeType": "image/png"}, "content must be gs://"),
        ({"mimeType": "image/png"}, "content must be gs://"),
        ({"content": "gs://user-bucket/predict/0.png"}, "mimeType None is not supported"),
        ({"content": "gs://user-bucket/predict/0.png", "mimeType": "text/plain"}, "mimeType 'text/plain'"),
        ({"content": "gs://user-bucket/missing.png", "mimeType": "image/png"}, "the image is not found"),
        ({"content": "gs://user-bucket/large.png", "mimeType": "image/png"}, "larger than 1.5 MB"),
        ({"content": "gs://user-bucket/undecodable.png", "mimeType": "image/png"}, "cannot decode"),
    ],
)
def test_a_bad_instance_is_a_line_of_the_errors_file_and_not_a_failure(
    here: Here, model: str, instance: Any, words: str
) -> None:
    here.bucket.write("large.png", png(0) + b"\x00" * 1_600_000)
    here.bucket.write("undecodable.png", png(1))
    name = here.predict(model, instance_file(here, "bad.jsonl", instance, number=2))
    ended = here.world.clients.ended(name)
    assert ended.state.name == "JOB_STATE_SUCCEEDED"
    (line,) = here.bucket.lines(f"{ended.output_info.gcs_output_directory}/errors_00001.jsonl")
    assert words in line["error"]["message"]
    assert line["instance"] == (instance if isinstance(instance, dict) else _read(instance))
    assert (ended.completion_stats.successful_count, ended.completion_stats.failed_count) == (2, 1)
    assert words in ended.partial_failures[0].message


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


@pytest.mark.parametrize("mime_type", ["jpeg", "gif", "png", "webp", "bmp", "tiff", "vnd.microsoft.icon"])
def test_the_documented_mime_types_are_accepted(here: Here, model: str, mime_type: str) -> None:
    uri = here.bucket.write("predict/0.png", png(0))
    instances = here.bucket.write_lines("mime.jsonl", [{"content": uri, "mimeType": f"image/{mime_type}"}])
    assert here.world.clients.ended(here.predict(model, instances)).completion_stats.successful_count == 1


def test_failed_instances_end_partially_succeeded_where_that_is_set(here: Here, model: str) -> None:
    here.world.control.set(partial_batch=True)
    try:
        ended = here.world.clients.ended(here.predict(model, instance_file(here, "partial.jsonl", "{not json")))
        whole = here.world.clients.ended(here.predict(model, instance_file(here, "whole.jsonl")))
    finally:
        here.world.control.set(partial_batch=False)
    assert ended.state.name == "JOB_STATE_PARTIALLY_SUCCEEDED"
    assert whole.state.name == "JOB_STATE_SUCCEEDED"


@pytest.mark.parametrize("bad", ["{not json", {"content": "gs://user-bucket/undecodable.png", "mimeType": "image/png"}])
def test_a_prediction_whose_instances_all_fail_is_failed(here: Here, model: str, bad: Any) -> None:
    here.bucket.write("undecodable.png", png(1))
    ended = here.world.clients.ended(here.predict(model, instance_file(here, "all-bad.jsonl", bad, number=0)))
    assert ended.state.name == "JOB_STATE_FAILED"
    assert "All instances failed" in ended.error.message


def test_a_missing_instance_file_fails_the_job(here: Here, model: str) -> None:
    ended = here.world.clients.ended(here.predict(model, "gs://user-bucket/no-such-file.jsonl"))
    assert (ended.state.name, ended.error.code) == ("JOB_STATE_FAILED", 5)


def test_a_model_of_a_foreign_container_is_not_predicted_with(here: Here) -> None:
    uploaded = {"display_name": "m", "container_spec": {"image_uri": "us-docker.pkg.dev/p/r/serve:1"}}
    model = here.world.clients.models.upload_model(parent=PARENT, model=uploaded).result(timeout=10).model
    ended = here.world.clients.ended(here.predict(model, instance_file(here, "foreign.jsonl")))
    assert ended.state.name == "JOB_STATE_FAILED"
    assert "local stand-in" in ended.error.message


def test_a_deleted_model_is_gone(here: Here) -> None:
    uploaded = {"display_name": "m", "container_spec": {"image_uri": "us-docker.pkg.dev/p/r/serve:1"}}
    model = here.world.clients.models.upload_model(parent=PARENT, model=uploaded).result(timeout=10).model
    here.world.clients.models.delete_model(name=model).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        here.world.clients.models.get_model(name=model)


def test_a_training_that_outlived_a_kill_still_makes_its_model(here: Here, tmp_path: Path) -> None:
    lines = [*here.images("daisy", 0), *here.images("rose", 10)]
    with vertex_process(tmp_path) as vertex:
        trainer = tmp_path / "jobs" / "train" / "image_classification" / "main.py"
        gate = f"import os, time\nopen({str(tmp_path / 'began')!r}, 'w').close()\n"
        gate += f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
        trainer.write_text(gate + trainer.read_text())
        other = Here(vertex.world, here.bucket, 2000)
        name = other.train(other.dataset(lines), model_id="survivor")
        wait_until((tmp_path / "began").exists)
        vertex.kill()
        vertex.start()
        (tmp_path / "go").touch()
        ended = vertex.world.clients.ended(name)
        assert (ended.state.name, ended.error.message) == ("PIPELINE_STATE_SUCCEEDED", "")
        assert vertex.world.clients.models.get_model(name=f"{PARENT}/models/survivor").training_pipeline == name
