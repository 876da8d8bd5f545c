"""The deployments of a schedule: settings and pipelines, and what a deploy in the middle changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from orchestrator.pipelines import Pipeline
from orchestrator.settings import Settings

THREE_STAGES, AUTOML = "three_stages", "automl"
SETTINGS = Settings(
    google_cloud_project="simulated",
    region="here",
    deployment_name="sim",
    bucket="bucket",
    job_service_account="jobs@simulated",
    image_repository="images",
    labelbox_api_key="key",
    service_secret="signing secret",  # noqa: S106 - nothing real is signed with it
    deleted_check_s=300.0,  # jobs are short here
)


def _custom(name: str, status: str, *inputs: str, **more: object) -> dict[str, Any]:
    args = {value.rpartition(".")[2] + str(number): f"${{{value}}}" for number, value in enumerate(inputs)}
    return {
        "name": name,
        "kind": "CustomJob",
        "image": f"simulated/{name}",
        "status": status,
        "args": {"output": "${job.data_uri}", **args},
        "outputs": ["out"],
        "metadata": {name: "${output.out}"},
        **more,
    }


def _stages(variant: int) -> dict[str, list[dict[str, Any]]]:
    """Stages of both pipelines. A later deployment renames a job, adds one, and gives a stage a name of its own."""
    last = "inference" if variant == 0 else "scoring"
    export = _custom("export", "EXPORTING_DATA", timeout_s=14400)
    name = "fit" if variant == 0 else "refit"
    fit = _custom(name, "TRAINING_MODEL", "etl.export.out", "parameters.seed", timeout_s=2400)
    more = [] if variant == 0 else [_custom("check", "TRAINING_MODEL", f"train.{name}.out")]
    predict = _custom("predict", "TRAINING_MODEL", f"train.{name}.out", "etl.export.out", "parameters.threshold")
    automl = {
        "name": "automl",
        "kind": "TrainingPipeline",
        "objective": "single_label_classification",
        "status": "TRAINING_MODEL",
        "dataset": "${etl.export.out}",
        "model_type": "CLOUD",
        "budget_milli_node_hours": 8000,
    }
    batch = {
        "name": "batch",
        "kind": "BatchPredictionJob",
        "status": "TRAINING_MODEL",
        "model": "${train.automl.model}",
        "instances": "${etl.export.out}",
    }
    return {
        THREE_STAGES: [
            {"name": "etl", "jobs": [export]},
            {"name": "train", "jobs": [fit, *more]},
            {"name": last, "jobs": [predict]},
        ],
        AUTOML: [
            {"name": "etl", "jobs": [export]},
            {"name": "train", "jobs": [automl]},
            {"name": last, "jobs": [batch]},
        ],
    }


@cache
def pipelines(variant: int) -> Mapping[str, Pipeline]:
    """The pipelines of one deployment."""
    return {
        model_type: Pipeline.model_validate(
            {
                "version": 1,
                "model_type": model_type,
                "description": "simulated",
                "parameters": {
                    "question": {"type": "string", "default": "", "question_kinds": ["radio"], "help": "etl asks"},
                    "seed": {"type": "integer", "default": 0, "help": "training needs it"},
                    "threshold": {"type": "integer", "default": 5, "help": "training does not"},
                },
                "stages": stages,
            }
        )
        for model_type, stages in _stages(variant).items()
    }
