"""What Vertex refuses at once about data sets, AutoML image training and batch prediction on its models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from local.vertex import rules
from local.vertex.refusal import Problems

SCHEMAS = "gs://google-cloud-aiplatform/schema/"
IMAGE_METADATA_SCHEMA = f"{SCHEMAS}dataset/metadata/image_1.0.0.yaml"
SINGLE_LABEL_SCHEMA = f"{SCHEMAS}dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml"
MULTI_LABEL_SCHEMA = f"{SCHEMAS}dataset/ioformat/image_classification_multi_label_io_format_1.0.0.yaml"
BOXES_SCHEMA = f"{SCHEMAS}dataset/ioformat/image_bounding_box_io_format_1.0.0.yaml"
IMPORT_SCHEMAS = (SINGLE_LABEL_SCHEMA, MULTI_LABEL_SCHEMA, BOXES_SCHEMA)
CLASSIFICATION = f"{SCHEMAS}trainingjob/definition/automl_image_classification_1.0.0.yaml"
DETECTION = f"{SCHEMAS}trainingjob/definition/automl_image_object_detection_1.0.0.yaml"

ML_USE = "aiplatform.googleapis.com/ml_use"
ML_USES = ("training", "validation", "test")
NOTHING = "-"  # a filter that matches no item
MOBILE_BUDGET = (1_000, 100_000)


@dataclass(frozen=True)
class Objective:
    """What one AutoML image objective accepts: budgets in milli node hours by model type, and its input's keys."""

    budgets: Mapping[str, tuple[int, int]]
    inputs: frozenset[str]


MOBILE = {f"MOBILE_TF_{name}_1": MOBILE_BUDGET for name in ("LOW_LATENCY", "VERSATILE", "HIGH_ACCURACY")}
COMMON_INPUTS = {"modelType", "budgetMilliNodeHours", "disableEarlyStopping", "uptrainBaseModelId"}
OBJECTIVES = {
    CLASSIFICATION: Objective(
        {"CLOUD": (8_000, 800_000), "CLOUD_1": (8_000, 800_000), **MOBILE},
        frozenset({*COMMON_INPUTS, "multiLabel", "baseModelId"}),
    ),
    DETECTION: Objective(
        {"CLOUD_HIGH_ACCURACY_1": (20_000, 900_000), "CLOUD_LOW_LATENCY_1": (20_000, 900_000), **MOBILE},
        frozenset(COMMON_INPUTS),
    ),
}


def dataset(value: Any) -> None:
    """Refuse a data set without a legal name, labels and the image schema (text and video are shut down)."""
    problems = Problems()
    rules.display_name(problems, "dataset.display_name", value.display_name)
    rules.labels(problems, "dataset.labels", value.labels)
    if value.metadata_schema_uri != IMAGE_METADATA_SCHEMA:
        problems.add("dataset.metadata_schema_uri", f"Not supported here: {value.metadata_schema_uri!r}")
    problems.refuse_if_any()


def import_configs(configs: Any) -> None:
    """Refuse an import without files, or of a schema that is not one of the three for images."""
    problems = Problems()
    if not configs:
        problems.add("import_configs", "Required field is not set.")
    for number, config in enumerate(configs):
        field = f"import_configs[{number}]"
        if not config.gcs_source.uris:
            problems.add(f"{field}.gcs_source.uris", "Required field is not set.")
        for uri in config.gcs_source.uris:
            rules.gcs_uri(problems, f"{field}.gcs_source.uris", uri)
        if config.import_schema_uri not in IMPORT_SCHEMAS:
            problems.add(f"{field}.import_schema_uri", f"Unknown schema: {config.import_schema_uri!r}")
        rules.labels(problems, f"{field}.data_item_labels", config.data_item_labels)
    problems.refuse_if_any()


def training_pipeline(pipeline: Any) -> None:
    """Refuse a training pipeline that Vertex would refuse before it looks at the data."""
    problems = Problems()
    rules.display_name(problems, "training_pipeline.display_name", pipeline.display_name)
    rules.labels(problems, "training_pipeline.labels", pipeline.labels)
    _model_to_upload(problems, pipeline)
    objective = OBJECTIVES.get(pipeline.training_task_definition)
    if objective is None:
        problems.add("training_pipeline.training_task_definition", f"Unknown: {pipeline.training_task_definition!r}")
    else:
        _task_inputs(problems, objective, task_inputs(pipeline))
    _input_data(problems, pipeline.input_data_config)
    problems.refuse_if_any()


def task_inputs(pipeline: Any) -> dict[str, Any]:
    """Return a training pipeline's inputs as plain values."""
    message = type(pipeline).pb(pipeline).training_task_inputs
    value = json_format.MessageToDict(message)
    return value if isinstance(value, dict) else {}


def batch_prediction_job(job: Any) -> None:
    """Refuse a batch prediction that Vertex would refuse before it looks at the model and the data."""
    field = "batch_prediction_job"
    problems = Problems()
    rules.display_name(problems, f"{field}.display_name", job.display_name)
    rules.labels(problems, f"{field}.labels", job.labels)
    if not job.model:
        problems.add(f"{field}.model", "Required field is not set.")
    if job.input_config.instances_format != "jsonl":
        problems.add(f"{field}.input_config.instances_format", "Image models take jsonl only.")
    if not job.input_config.gcs_source.uris:
        problems.add(f"{field}.input_config.gcs_source.uris", "Required field is not set.")
    for uri in job.input_config.gcs_source.uris:
        rules.gcs_uri(problems, f"{field}.input_config.gcs_source.uris", uri)
    if job.output_config.predictions_format != "jsonl":
        problems.add(f"{field}.output_config.predictions_format", "Image models give jsonl only.")
    prefix = job.output_config.gcs_destination.output_uri_prefix
    rules.gcs_uri(problems, f"{field}.output_config.gcs_destination.output_uri_prefix", prefix)
    if "dedicated_resources" in job:
        problems.add(f"{field}.dedicated_resources", "The model does not support dedicated resources.")
    _model_parameters(problems, f"{field}.model_parameters", model_parameters(job))
    problems.refuse_if_any()


def model_parameters(job: Any) -> dict[str, Any]:
    """Return a batch prediction's model parameters as plain values."""
    value = json_format.MessageToDict(type(job).pb(job).model_parameters)
    return value if isinstance(value, dict) else {}


def filter_label(text: str) -> tuple[str, str] | None:
    """Return the label (key, value) that a split filter asks for, or None when it is none of the documented form."""
    match = re.fullmatch(r'labels\.("?)([^="]+)\1\s*=\s*("?)([^="]*)\3', text.strip())
    return (match[2], match[4]) if match else None


def _model_to_upload(problems: Problems, pipeline: Any) -> None:
    rules.display_name(
        problems, "training_pipeline.model_to_upload.display_name", pipeline.model_to_upload.display_name
    )
    rules.labels(problems, "training_pipeline.model_to_upload.labels", pipeline.model_to_upload.labels)
    if pipeline.model_id:
        rules.model_id(problems, "training_pipeline.model_id", pipeline.model_id)


def _task_inputs(problems: Problems, objective: Objective, inputs: dict[str, Any]) -> None:
    field = "training_pipeline.training_task_inputs"
    for key in sorted(set(inputs) - objective.inputs):
        problems.add(f"{field}.{key}", "Unknown field.")
    limits = objective.budgets.get(str(inputs.get("modelType", "")))
    if limits is None:
        known = ", ".join(objective.budgets)
        problems.add(f"{field}.modelType", f"Unknown model type: {inputs.get('modelType')!r}; known are {known}.")
    for key in ("multiLabel", "disableEarlyStopping"):
        if not isinstance(inputs.get(key, False), bool):
            problems.add(f"{field}.{key}", "Must be true or false.")
    budget = inputs.get("budgetMilliNodeHours")
    if limits and budget is not None and not _whole_number_within(budget, *limits):
        problems.add(f"{field}.budgetMilliNodeHours", f"Must be a whole number of {limits[0]:,} to {limits[1]:,}.")


def _input_data(problems: Problems, config: Any) -> None:
    field = "training_pipeline.input_data_config"
    if not re.fullmatch(r"\d+", config.dataset_id):
        problems.add(f"{field}.dataset_id", f"Must be the bare numeric id of a data set: {config.dataset_id!r}")
    if "filter_split" in config:
        for name in ("training_filter", "validation_filter", "test_filter"):
            _split_filter(problems, f"{field}.filter_split.{name}", getattr(config.filter_split, name))
    elif "fraction_split" in config:
        split = config.fraction_split
        fractions = (split.training_fraction, split.validation_fraction, split.test_fraction)
        if min(fractions) < 0 or sum(fractions) > 1.0 + 1e-9:
            problems.add(f"{field}.fraction_split", "The fractions must not be negative and sum up to at most 1.")
    elif any(name in config for name in ("predefined_split", "timestamp_split", "stratified_split")):
        problems.add(f"{field}.split", "Only filter and fraction splits are supported for images.")


def _split_filter(problems: Problems, field: str, text: str) -> None:
    if not text:
        problems.add(field, f'Required field is not set; use "{NOTHING}" to match no item.')
    elif text != NOTHING:
        label = filter_label(text)
        if label is None:
            problems.add(field, f"Invalid filter: {text!r}")
        elif label[0] == ML_USE and label[1] not in ML_USES:
            problems.add(field, f"Unknown ml_use {label[1]!r}; known are {', '.join(ML_USES)}.")


def _model_parameters(problems: Problems, field: str, parameters: dict[str, Any]) -> None:
    for key in sorted(set(parameters) - {"confidenceThreshold", "maxPredictions"}):
        problems.add(f"{field}.{key}", "Unknown field.")
    threshold = parameters.get("confidenceThreshold", 0.0)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        problems.add(f"{field}.confidenceThreshold", "Must be a number of 0 to 1.")
    if not _whole_number_within(parameters.get("maxPredictions", 10), 1, 2**31 - 1):
        problems.add(f"{field}.maxPredictions", "Must be a whole number of at least 1.")


def _whole_number_within(value: Any, least: int, most: int) -> bool:
    """Say whether a JSON number, or an int64 in JSON's string form, is whole and within both limits."""
    if isinstance(value, str):
        return value.isdigit() and least <= int(value) <= most
    return (
        not isinstance(value, bool)
        and isinstance(value, int | float)
        and value == int(value)
        and least <= value <= most
    )
