"""What jobs read from their environment is what the functions, the platform or the image put there, and no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator import run_description
from orchestrator.job_requests import job_environment
from tests.functions.world import SETTINGS
from tests.terraform.workspace import ROOT

# Variables that nobody of ours sets on a job of a deployment, and who does or why nobody needs to.
ELSEWHERE = {
    "CLOUD_ML_JOB_ID": "Vertex, in every custom job",
    "CLOUD_ML_PROJECT_ID": "Vertex, in every custom job",
    "AIP_CHECKPOINT_DIR": "Vertex, where a request has a base output directory; ours have none",
    "AIP_HTTP_PORT": "Vertex, where an image serves",
    "AIP_HEALTH_ROUTE": "Vertex, where an image serves",
    "AIP_PREDICT_ROUTE": "Vertex, where an image serves",
    "AIP_STORAGE_URI": "Vertex, where an image serves",
    "PREDICTION_FOLDERS": "the model's own container settings, where an image serves",
    "LABELBOX_API_KEY": "the laptop; a deployment names the secret",
    "OMP_NUM_THREADS": "who runs the container",
    "OMP_WAIT_POLICY": "the image",
    "MODELS_DIR": "the image",
    "HF_HUB_OFFLINE": "the image",
    "HF_ENDPOINT": "the build of an image",
    "STORAGE_EMULATOR_HOST": "the laptop's stand-in",
    "TOKENIZERS_PARALLELISM": "the job itself, before a library reads it",
    "CUBLAS_WORKSPACE_CONFIG": "the job itself, before a library reads it",
}
# For images of others: a job of one's own may want to know its deployment.
FOR_OTHERS = {"DEPLOYMENT_NAME"}
NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def _given() -> set[str]:
    settings = replace(
        SETTINGS,
        labelbox_api_key_secret="key",
        vertex_endpoint="https://v",
        secret_manager_endpoint="https://s",
        data_buckets="b",
        kms_key_name="k",
        allow_private_addresses=True,
    )
    return job_environment(settings).keys() | {run_description.VARIABLE}


def _constants(tree: ast.Module) -> dict[str, object]:
    return {
        target.id: item.value.value
        for item in tree.body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
        for target in item.targets
        if isinstance(target, ast.Name)
    }


def _read(tree: ast.Module, constants: Mapping[str, object]) -> Iterator[str]:
    """Names that a module asks its environment for, by a literal or by a constant."""
    for node in ast.walk(tree):
        where = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else None
        if where is None or not re.search(r"\benviron(ment)?\b(\.get|\.setdefault)?$", ast.unparse(where)):
            continue
        asked = node.args[0] if isinstance(node, ast.Call) and node.args else getattr(node, "slice", None)
        name = constants.get(asked.id) if isinstance(asked, ast.Name) else getattr(asked, "value", None)
        if isinstance(name, str) and NAME.fullmatch(name):
            yield name


def test_jobs_read_what_they_are_given_and_are_given_what_they_read() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "jobs").rglob("*.py")]
    shared = {name: value for tree in trees for name, value in _constants(tree).items()}
    read = {name for tree in trees for name in _read(tree, shared | _constants(tree))}
    given = _given()
    assert len(read & given) >= 8
    assert read - given == ELSEWHERE.keys(), "a job asks for what nobody sets, or a reason here is out of date"
    assert given - read == FOR_OTHERS, "a variable that no job reads, or one that got a reader"
