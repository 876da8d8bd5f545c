"""From a pipeline's job to the Vertex request that launches it. Pure: the same facts give the same request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import run_description
from orchestrator.identities import TIME_LIMIT_LABEL, AttemptIdentity, AttemptRef
from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob, JobSpec
from orchestrator.run import Run
from orchestrator.settings import Settings
from orchestrator.templates import Scalar, in_words, render

_TASKS = "gs://google-cloud-aiplatform/schema/trainingjob/definition/"
_TASK_OF = {
    "single_label_classification": _TASKS + "automl_image_classification_1.0.0.yaml",
    "multi_label_classification": _TASKS + "automl_image_classification_1.0.0.yaml",
    "object_detection": _TASKS + "automl_image_object_detection_1.0.0.yaml",
}
_ML_USE = "labels.aiplatform.googleapis.com/ml_use="


class MissingOutput(Exception):
    """An earlier job's result lacks an output that its definition promised. Names the placeholder."""


@dataclass(frozen=True)
class JobRequest:
    """A create call: the kind of resource and its body, in the snake_case of aiplatform_v1's messages."""

    kind: str
    body: dict[str, Any]


def output_values(run: Run) -> dict[str, Scalar]:
    """`STAGE.JOB.OUTPUT` of every job that ended well."""
    return {
        f"{stage}.{job}.{name}": value
        for (stage, job), ended in run.ended_jobs().items()
        for name, value in ended.outputs.items()
    }


def values_for(run: Run, ref: AttemptRef, settings: Settings) -> dict[str, Scalar]:
    """Everything a placeholder may name for this attempt."""
    identity = run.identity(ref)
    labels = _labels(run, ref, settings)
    parameters = run.configured.parameters if run.configured else {}
    return {
        "run.model_run_id": run.accepted.model_run_id,
        "run.model_id": run.accepted.model_id,
        "run.model_type": run.accepted.model_type,
        "run.id": str(run.id),
        "run.number": run.id.number,
        "run.labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "job.data_uri": f"gs://{settings.bucket}/{identity.folder('data')}",
        "job.batch_uri": f"gs://{settings.bucket}/{identity.folder('batch')}",
        "job.attempt_id": identity.id,
        **{f"parameters.{name}": value for name, value in parameters.items()},
        **{name: image_uri(run, job) for name, job in run.pipeline.images()},
        **output_values(run),
    }


def job_request(run: Run, ref: AttemptRef, settings: Settings) -> JobRequest:
    """The request that launches this attempt; raises MissingOutput."""
    _, job = run.pipeline.find(ref.stage, ref.job)
    values = values_for(run, ref, settings)
    try:
        if isinstance(job, CustomJob):
            return JobRequest("CustomJob", _custom_job(run, ref, job, values, settings))
        if isinstance(job, AutoMLImageTraining):
            return JobRequest("TrainingPipeline", _training_pipeline(run, ref, job, values, settings))
        return JobRequest("BatchPredictionJob", _batch_prediction(run, ref, job, values, settings))
    except KeyError as error:
        raise MissingOutput(str(error.args[0])) from error


def ending_folder(identity: AttemptIdentity) -> str:
    """Where a custom job leaves its result or error, below a folder named by its own job number."""
    return identity.folder("endings")


def _labels(run: Run, ref: AttemptRef, settings: Settings) -> dict[str, str]:
    return {**dict(settings.resource_labels), **run.identity(ref).labels(settings.deployment_name)}


def _frame(run: Run, ref: AttemptRef, job: JobSpec, settings: Settings) -> dict[str, Any]:
    """What every kind of request begins with."""
    labels = {**_labels(run, ref, settings), TIME_LIMIT_LABEL: str(job.timeout_s)}
    return {"display_name": _display_name(run, ref), "labels": labels, **_encryption(settings)}


def _encryption(settings: Settings) -> dict[str, Any]:
    return {"encryption_spec": {"kms_key_name": settings.kms_key_name}} if settings.kms_key_name else {}


def _display_name(run: Run, ref: AttemptRef) -> str:
    return f"{run.accepted.model_type}-{run.id}-{ref.stage}-{ref.job}-{ref.number}"[:128]


def _custom_job(
    run: Run, ref: AttemptRef, job: CustomJob, values: Mapping[str, Scalar], settings: Settings
) -> dict[str, Any]:
    identity = run.identity(ref)
    ending = f"gs://{settings.bucket}/{ending_folder(identity)}"
    args = [f"--{name.replace('_', '-')}={in_words(render(value, values))}" for name, value in job.args.items()]
    machine: dict[str, Any] = {"machine_type": render(job.machine, values)}
    accelerator, count = job.accelerators(values)
    if accelerator:
        machine |= {"accelerator_type": accelerator, "accelerator_count": count}
    # Vertex's own restarts would run a job twice under one launch; attempts are ours to count.
    scheduling: dict[str, Any] = {"timeout": {"seconds": job.timeout_s}, "disable_retries": True}
    if render(job.spot, values) in (True, "true"):
        scheduling["strategy"] = "SPOT"
    environment = {**job_environment(settings), run_description.VARIABLE: run_description.describe(run, settings)}
    return {
        **_frame(run, ref, job, settings),
        "job_spec": {
            "service_account": settings.job_service_account,
            **({"network": settings.job_network} if settings.job_network else {}),
            "scheduling": scheduling,
            "worker_pool_specs": [
                {
                    "machine_spec": machine,
                    "replica_count": 1,
                    "disk_spec": {"boot_disk_type": "pd-ssd", "boot_disk_size_gb": job.disk_gb},
                    "container_spec": {
                        "image_uri": image_uri(run, job),
                        "args": [*args, f"--ending-uri={ending}"],
                        "env": [{"name": key, "value": value} for key, value in environment.items()],
                    },
                }
            ],
        },
    }


def named_image(run: Run, image: str) -> str:
    """The image of a folder below jobs/, as it was named when the run was accepted; a full URI stands for itself."""
    if ":" in image:
        return image
    name = image.replace("/", "-").replace("_", "-")
    return f"{run.accepted.image_repository}/{name}:{run.accepted.image_tag}"


def image_uri(run: Run, job: CustomJob) -> str:
    """The image that the run's parameters choose, as it was pinned before the run's first launch."""
    if run.configured is None:
        return named_image(run, job.image)
    named = named_image(run, job.image_for(run.configured.parameters))
    return run.configured.images.get(named, named)


def job_environment(settings: Settings) -> dict[str, str]:
    """Environment of every custom job: where to find the services, never a secret."""
    environment = {
        "GOOGLE_CLOUD_PROJECT": settings.google_cloud_project,
        "REGION": settings.region,
        "DEPLOYMENT_NAME": settings.deployment_name,
        "LABELBOX_ENDPOINT": settings.labelbox_endpoint,
        "LABELBOX_API_KEY_SECRET": settings.labelbox_api_key_secret,
        "VERTEX_ENDPOINT": settings.vertex_endpoint,
        "SECRET_MANAGER_ENDPOINT": settings.secret_manager_endpoint,
        "DATA_BUCKETS": settings.data_buckets,
        "KMS_KEY_NAME": settings.kms_key_name,
        "ALLOW_PRIVATE_ADDRESSES": "true" if settings.allow_private_addresses else "",
    }
    return {key: value for key, value in environment.items() if value}


def _training_pipeline(
    run: Run, ref: AttemptRef, job: AutoMLImageTraining, values: Mapping[str, Scalar], settings: Settings
) -> dict[str, Any]:
    identity = run.identity(ref)
    inputs: dict[str, Any] = {
        "modelType": render(job.model_type, values),
        "budgetMilliNodeHours": int(render(job.budget_milli_node_hours, values)),
        "disableEarlyStopping": job.disable_early_stopping,
    }
    if job.objective != "object_detection":
        inputs["multiLabel"] = job.objective == "multi_label_classification"
    return {
        **_frame(run, ref, job, settings),
        "model_id": identity.model_id,
        "training_task_definition": _TASK_OF[job.objective],
        "training_task_inputs": inputs,
        "input_data_config": {
            "dataset_id": str(render(job.dataset, values)),
            "filter_split": {
                "training_filter": _ML_USE + "training",
                "validation_filter": _ML_USE + "validation",
                "test_filter": _ML_USE + "test",
            },
        },
        # Neither labels nor the key are handed on from the TrainingPipeline to a model that is described.
        "model_to_upload": {
            "display_name": _display_name(run, ref),
            "labels": _labels(run, ref, settings),
            **_encryption(settings),
        },
    }


def _batch_prediction(
    run: Run, ref: AttemptRef, job: BatchPrediction, values: Mapping[str, Scalar], settings: Settings
) -> dict[str, Any]:
    identity = run.identity(ref)
    body: dict[str, Any] = {
        **_frame(run, ref, job, settings),
        "model": str(render(job.model, values)),
        "input_config": {
            "instances_format": "jsonl",
            "gcs_source": {"uris": [str(render(job.instances, values))]},
        },
        "output_config": {
            "predictions_format": "jsonl",
            "gcs_destination": {"output_uri_prefix": f"gs://{settings.bucket}/{identity.folder('batch')}"},
        },
        "model_parameters": {name: render(value, values) for name, value in job.model_parameters.items()},
    }
    if job.machine is not None:
        # AutoML image models run on automatic resources, and Vertex refuses dedicated ones for them.
        body["dedicated_resources"] = {
            "machine_spec": {"machine_type": render(job.machine, values)},
            "starting_replica_count": 1,
        }
    return body
