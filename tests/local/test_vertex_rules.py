"""What Vertex refuses, the stand-in refuses, with the same status: one case a rule, over the wire, with real clients.

Beside each table stands the request that every rule accepts, so that a case shows exactly what is wrong.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api_core import exceptions

from tests.local.vertex_world import PARENT, World, custom_job, world

SCHEMAS = "gs://google-cloud-aiplatform/schema/"
METADATA = f"{SCHEMAS}dataset/metadata/image_1.0.0.yaml"
SINGLE = f"{SCHEMAS}dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml"
CLASSIFICATION = f"{SCHEMAS}trainingjob/definition/automl_image_classification_1.0.0.yaml"
DETECTION = f"{SCHEMAS}trainingjob/definition/automl_image_object_detection_1.0.0.yaml"
ML_USE = "labels.aiplatform.googleapis.com/ml_use"

Request = dict[str, Any]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """No slot runs anything here: what is accepted waits in the queue."""
    with world(tmp_path_factory.mktemp("vertex"), slots=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def dataset_id(here: World) -> str:
    operation = here.clients.datasets.create_dataset(parent=PARENT, dataset=dataset())
    return str(operation.result(timeout=10).name.rsplit("/", 1)[-1])


@pytest.fixture(scope="module")
def model(here: World) -> str:
    operation = here.clients.models.upload_model(parent=PARENT, model=uploaded_model())
    return str(operation.result(timeout=10).model)


def changed(request: Request, path: str, value: Any) -> Request:
    """A copy of a request with one value put at a dotted path; `...` takes the value away."""
    request = copy.deepcopy(request)
    *parents, last = path.split(".")
    place: Any = request
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return request


def refused(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)


POOL = "job_spec.worker_pool_specs.0"
LABEL_CASES = [
    ("an uppercase key", {"Key": "v"}, "Label keys and values"),
    ("an uppercase value", {"key": "Value"}, "Label keys and values"),
    ("a time with colons", {"key": "12:30"}, "Label keys and values"),
    ("a space", {"key": "a b"}, "Label keys and values"),
    ("a key that starts with a digit", {"1key": "v"}, "Label keys and values"),
    ("an empty key", {"": "v"}, "Label keys and values"),
    ("a key too long", {"k" * 65: "v"}, "Label keys and values"),
    ("a value too long", {"key": "v" * 65}, "Label keys and values"),
    ("too many", {f"key{number}": "v" for number in range(65)}, "At most 64 labels"),
]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"key": ""},
        {"k" * 64: "v" * 64},
        {"lb_model_run": "0d7f1f6e-1111-2222-3333-444455556666"},
        {"ключ": "значение"},
        {f"key{number}": "v" for number in range(64)},
    ],
)
def test_legal_labels_are_accepted(here: World, labels: dict[str, str]) -> None:
    assert dict(here.clients.create(labels=labels).labels) == labels


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        *[pytest.param("labels", labels, words, id=f"labels with {name}") for name, labels, words in LABEL_CASES],
        ("display_name", "", "custom_job.display_name; Message: Required"),
        ("display_name", "n" * 129, "at most 128"),
        ("job_spec.worker_pool_specs", [], "worker_pool_specs; Message: Required"),
        (f"{POOL}.container_spec.image_uri", "", "image_uri; Message: Required"),
        (f"{POOL}.container_spec.image_uri", "just-a-name", "image uri is invalid"),
        (f"{POOL}.container_spec.image_uri", "host/p/a b", "image uri is invalid"),
        (f"{POOL}.machine_spec.machine_type", "", "machine_type; Message: Required"),
        (f"{POOL}.machine_spec.accelerator_count", 1, "accelerator_type; Message: Required"),
        (f"{POOL}.replica_count", 0, "replica_count"),
        (f"{POOL}.replica_count", 2, "exactly 1 replica"),
        (f"{POOL}.container_spec.env", [{"name": f"V{n}", "value": ""} for n in range(101)], "At most 100"),
        (f"{POOL}.container_spec.env", [{"name": "a-b", "value": ""}], "C identifier"),
        (f"{POOL}.disk_spec", {"boot_disk_type": "floppy"}, "boot_disk_type"),
        (f"{POOL}.disk_spec", {"boot_disk_size_gb": 10}, "boot_disk_size_gb"),
        ("job_spec.base_output_directory", {"output_uri_prefix": "/tmp/x"}, "uri is invalid"),
        ("job_spec.scheduling", {"timeout": {"seconds": 0}}, "timeout must be positive"),
    ],
)
def test_a_bad_custom_job_is_an_invalid_argument(here: World, path: str, value: Any, words: str) -> None:
    job = changed(custom_job(), path, value)
    refused(
        lambda: here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job), exceptions.InvalidArgument, words
    )


def test_env_of_100_and_a_name_of_128_are_accepted(here: World) -> None:
    job = changed(custom_job(), "display_name", "n" * 128)
    job = changed(job, f"{POOL}.container_spec.env", [{"name": f"V{n}", "value": ""} for n in range(100)])
    assert here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job).name


def test_all_problems_are_told_at_once(here: World) -> None:
    job = changed(changed(custom_job(), "display_name", ""), "labels", {"A": "b"})
    with pytest.raises(exceptions.InvalidArgument, match=r"List of found errors:\t1\.Field: .*\t2\.Field: "):
        here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job)


@pytest.mark.parametrize(
    ("parent", "kind"),
    [
        ("projects/local-project/locations/europe-west4", exceptions.InvalidArgument),
        ("projects/other-project/locations/us-central1", exceptions.PermissionDenied),
        ("us-central1", exceptions.InvalidArgument),
    ],
)
def test_another_place_is_refused(here: World, parent: str, kind: type[Exception]) -> None:
    refused(lambda: here.clients.jobs.create_custom_job(parent=parent, custom_job=custom_job()), kind, parent[-8:])
    refused(lambda: here.clients.jobs.list_custom_jobs(parent=parent), kind, parent[-8:])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{PARENT}/customJobs/1", exceptions.NotFound),
        (f"{PARENT}/models/1", exceptions.InvalidArgument),
        ("1", exceptions.InvalidArgument),
    ],
)
def test_a_name_that_is_unknown_or_none_is_refused(here: World, name: str, kind: type[Exception]) -> None:
    refused(lambda: here.clients.jobs.get_custom_job(name=name), kind, name)
    refused(lambda: here.clients.jobs.cancel_custom_job(name=name), kind, name)


def test_what_the_stand_in_does_not_have_is_unimplemented(here: World) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        here.clients.jobs.create_hyperparameter_tuning_job(parent=PARENT, hyperparameter_tuning_job={})
    job = custom_job()
    job["job_spec"]["worker_pool_specs"] *= 2
    with pytest.raises(exceptions.MethodNotImplemented):
        here.clients.jobs.create_custom_job(parent=PARENT, custom_job=job)


# --- data sets ---


def dataset() -> Request:
    return {"display_name": "images", "metadata_schema_uri": METADATA, "labels": {"lb_run": "a"}}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("display_name", "", "Required"),
        ("display_name", "n" * 129, "at most 128"),
        ("labels", {"A": "b"}, "Label keys and values"),
        ("metadata_schema_uri", "", "Not supported"),
        ("metadata_schema_uri", METADATA.replace("image", "text"), "Not supported"),
    ],
)
def test_a_bad_data_set_is_an_invalid_argument(here: World, path: str, value: Any, words: str) -> None:
    wrong = changed(dataset(), path, value)
    refused(
        lambda: here.clients.datasets.create_dataset(parent=PARENT, dataset=wrong), exceptions.InvalidArgument, words
    )


def import_config() -> Request:
    return {"gcs_source": {"uris": ["gs://a-bucket/import.jsonl"]}, "import_schema_uri": SINGLE}


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ([], "import_configs; Message: Required"),
        ([changed(import_config(), "import_schema_uri", METADATA)], "Unknown schema"),
        ([changed(import_config(), "gcs_source.uris", [])], "uris; Message: Required"),
        ([changed(import_config(), "gcs_source.uris", ["https://x/y"])], "uri is invalid"),
        ([changed(import_config(), "data_item_labels", {"dataRowId": "x"})], "Label keys and values"),
    ],
)
def test_a_bad_import_is_an_invalid_argument(here: World, dataset_id: str, configs: list[Request], words: str) -> None:
    name = f"{PARENT}/datasets/{dataset_id}"
    refused(
        lambda: here.clients.datasets.import_data(name=name, import_configs=configs), exceptions.InvalidArgument, words
    )


def test_an_import_into_an_unknown_data_set_is_not_found(here: World) -> None:
    name = f"{PARENT}/datasets/1"
    refused(
        lambda: here.clients.datasets.import_data(name=name, import_configs=[import_config()]),
        exceptions.NotFound,
        name,
    )


# --- training pipelines ---


def pipeline(dataset_id: str, definition: str = CLASSIFICATION) -> Request:
    detection = definition == DETECTION
    return {
        "display_name": "t",
        "labels": {"lb_run": "a"},
        "training_task_definition": definition,
        "training_task_inputs": {
            "modelType": "CLOUD_HIGH_ACCURACY_1" if detection else "CLOUD",
            "budgetMilliNodeHours": 20000 if detection else 8000,
            "disableEarlyStopping": False,
        },
        "input_data_config": {
            "dataset_id": dataset_id,
            "filter_split": {
                "training_filter": f"{ML_USE}=training",
                "validation_filter": f"{ML_USE}=validation",
                "test_filter": "-",
            },
        },
        "model_to_upload": {"display_name": "m", "labels": {"lb_run": "a"}},
    }


INPUTS = "training_task_inputs"
DATA = "input_data_config"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("display_name", "", "training_pipeline.display_name; Message: Required"),
        ("labels", {"A": "b"}, "training_pipeline.labels"),
        ("model_to_upload", ..., "model_to_upload.display_name; Message: Required"),
        ("model_to_upload.display_name", "n" * 129, "at most 128"),
        ("model_to_upload.labels", {"A": "b"}, "model_to_upload.labels"),
        ("model_id", "1model", "model id"),
        ("model_id", "-model", "model id"),
        ("model_id", "Model", "model id"),
        ("model_id", "m" * 64, "model id"),
        ("training_task_definition", CLASSIFICATION.replace("image", "text"), "Unknown"),
        ("training_task_definition", "", "Unknown"),
        (f"{INPUTS}.modelType", "CLOUD_HIGH_ACCURACY_1", "Unknown model type"),
        (f"{INPUTS}.modelType", ..., "Unknown model type"),
        (f"{INPUTS}.budgetMilliNodeHours", 7999, "8,000 to 800,000"),
        (f"{INPUTS}.budgetMilliNodeHours", 800001, "8,000 to 800,000"),
        (f"{INPUTS}.budgetMilliNodeHours", 8000.5, "whole number"),
        (f"{INPUTS}.budgetMilliNodeHours", "much", "whole number"),
        (f"{INPUTS}.multiLabel", "yes", "true or false"),
        (f"{INPUTS}.learningRate", 1, "Unknown field"),
        (f"{DATA}.dataset_id", "", "bare numeric id"),
        (f"{DATA}.dataset_id", f"{PARENT}/datasets/1", "bare numeric id"),
        (f"{DATA}.filter_split.test_filter", "", "Required"),
        (f"{DATA}.filter_split.test_filter", "ml_use=test", "Invalid filter"),
        (f"{DATA}.filter_split.training_filter", f"{ML_USE}=train", "Unknown ml_use 'train'"),
    ],
)
def test_a_bad_training_pipeline_is_an_invalid_argument(
    here: World, dataset_id: str, path: str, value: Any, words: str
) -> None:
    wrong = changed(pipeline(dataset_id), path, value)
    refused(
        lambda: here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=wrong),
        exceptions.InvalidArgument,
        words,
    )


@pytest.mark.parametrize(
    "split",
    [
        {"fraction_split": {"training_fraction": 0.9, "validation_fraction": 0.2}},
        {"fraction_split": {"training_fraction": -0.1}},
        {"predefined_split": {"key": "x"}},
    ],
)
def test_a_bad_split_is_an_invalid_argument(here: World, dataset_id: str, split: Request) -> None:
    wrong = changed(pipeline(dataset_id), DATA, {"dataset_id": dataset_id, **split})
    refused(
        lambda: here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=wrong),
        exceptions.InvalidArgument,
        "split",
    )


@pytest.mark.parametrize(
    ("definition", "model_type", "least", "most"),
    [
        (CLASSIFICATION, "CLOUD", 8_000, 800_000),
        (CLASSIFICATION, "CLOUD_1", 8_000, 800_000),
        (CLASSIFICATION, "MOBILE_TF_LOW_LATENCY_1", 1_000, 100_000),
        (CLASSIFICATION, "MOBILE_TF_VERSATILE_1", 1_000, 100_000),
        (CLASSIFICATION, "MOBILE_TF_HIGH_ACCURACY_1", 1_000, 100_000),
        (DETECTION, "CLOUD_HIGH_ACCURACY_1", 20_000, 900_000),
        (DETECTION, "CLOUD_LOW_LATENCY_1", 20_000, 900_000),
        (DETECTION, "MOBILE_TF_VERSATILE_1", 1_000, 100_000),
    ],
)
def test_budgets_are_bounded_by_objective_and_model_type(
    here: World, dataset_id: str, definition: str, model_type: str, least: int, most: int
) -> None:
    request = changed(pipeline(dataset_id, definition), f"{INPUTS}.modelType", model_type)
    for budget in (least, most, str(least)):
        accepted = changed(request, f"{INPUTS}.budgetMilliNodeHours", budget)
        assert here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=accepted).name
    for budget in (least - 1, most + 1):
        wrong = changed(request, f"{INPUTS}.budgetMilliNodeHours", budget)
        refused(
            lambda wrong=wrong: here.clients.pipelines.create_training_pipeline(  # type: ignore[misc]
                parent=PARENT, training_pipeline=wrong
            ),
            exceptions.InvalidArgument,
            f"{least:,} to {most:,}",
        )


def test_multi_label_is_of_classification_only(here: World, dataset_id: str) -> None:
    wrong = changed(pipeline(dataset_id, DETECTION), f"{INPUTS}.multiLabel", True)
    refused(
        lambda: here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=wrong),
        exceptions.InvalidArgument,
        "multiLabel; Message: Unknown field",
    )


def test_training_on_an_unknown_data_set_is_not_found(here: World) -> None:
    refused(
        lambda: here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=pipeline("1")),
        exceptions.NotFound,
        "datasets/1",
    )


def test_a_model_id_is_taken_once(here: World, dataset_id: str) -> None:
    operation = here.clients.models.upload_model(
        request={"parent": PARENT, "model": uploaded_model(), "model_id": "taken"}
    )
    assert operation.result(timeout=10).model == f"{PARENT}/models/taken"
    wrong = changed(pipeline(dataset_id), "model_id", "taken")
    refused(
        lambda: here.clients.pipelines.create_training_pipeline(parent=PARENT, training_pipeline=wrong),
        exceptions.AlreadyExists,
        "taken",
    )
    refused(
        lambda: here.clients.models.upload_model(
            request={"parent": PARENT, "model": uploaded_model(), "model_id": "taken"}
        ),
        exceptions.AlreadyExists,
        "taken",
    )


# --- models and batch prediction ---


def uploaded_model() -> Request:
    return {"display_name": "m", "container_spec": {"image_uri": "us-docker.pkg.dev/p/r/serve:1"}}


@pytest.mark.parametrize(
    ("request_fields", "words"),
    [
        ({"model": changed(uploaded_model(), "display_name", "")}, "display_name; Message: Required"),
        ({"model": changed(uploaded_model(), "labels", {"A": "b"})}, "model.labels"),
        ({"model": changed(uploaded_model(), "container_spec", ...)}, "image_uri; Message: Required"),
        ({"model": changed(uploaded_model(), "artifact_uri", "/tmp")}, "uri is invalid"),
        ({"model": uploaded_model(), "model_id": "9"}, "model id"),
    ],
)
def test_a_bad_model_upload_is_an_invalid_argument(here: World, request_fields: Request, words: str) -> None:
    refused(
        lambda: here.clients.models.upload_model(request={"parent": PARENT, **request_fields}),
        exceptions.InvalidArgument,
        words,
    )


def batch_job(model: str) -> Request:
    return {
        "display_name": "b",
        "model": model,
        "labels": {"lb_run": "a"},
        "input_config": {"instances_format": "jsonl", "gcs_source": {"uris": ["gs://a-bucket/i.jsonl"]}},
        "output_config": {
            "predictions_format": "jsonl",
            "gcs_destination": {"output_uri_prefix": "gs://a-bucket/out/"},
        },
        "model_parameters": {"confidenceThreshold": 0.0, "maxPredictions": 500},
    }


def test_the_batch_job_that_every_rule_accepts_is_accepted(here: World, model: str) -> None:
    job = here.clients.jobs.create_batch_prediction_job(parent=PARENT, batch_prediction_job=batch_job(model))
    assert job.name.startswith(f"{PARENT}/batchPredictionJobs/")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("display_name", "", "display_name; Message: Required"),
        ("labels", {"A": "b"}, "batch_prediction_job.labels"),
        ("model", "", "model; Message: Required"),
        ("input_config.instances_format", "csv", "jsonl only"),
        ("input_config.gcs_source.uris", [], "uris; Message: Required"),
        ("input_config.gcs_source.uris", ["/tmp/x"], "uri is invalid"),
        ("output_config.predictions_format", "bigquery", "jsonl only"),
        ("output_config.gcs_destination.output_uri_prefix", "", "uri is invalid"),
        ("model_parameters.confidenceThreshold", 1.5, "number of 0 to 1"),
        ("model_parameters.confidenceThreshold", "high", "number of 0 to 1"),
        ("model_parameters.maxPredictions", 0, "at least 1"),
        ("model_parameters.maxPredictions", 1.5, "at least 1"),
        ("model_parameters.temperature", 1, "Unknown field"),
        ("dedicated_resources", {"machine_spec": {"machine_type": "n1-standard-4"}}, "dedicated resources"),
    ],
)
def test_a_bad_batch_prediction_is_an_invalid_argument(
    here: World, model: str, path: str, value: Any, words: str
) -> None:
    wrong = changed(batch_job(model), path, value)
    refused(
        lambda: here.clients.jobs.create_batch_prediction_job(parent=PARENT, batch_prediction_job=wrong),
        exceptions.InvalidArgument,
        words,
    )


def test_a_batch_prediction_with_an_unknown_model_is_not_found(here: World) -> None:
    refused(
        lambda: here.clients.jobs.create_batch_prediction_job(
            parent=PARENT, batch_prediction_job=batch_job(f"{PARENT}/models/1")
        ),
        exceptions.NotFound,
        "models/1",
    )
