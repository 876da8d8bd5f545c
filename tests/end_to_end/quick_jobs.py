"""A pipeline whose jobs end at once, with model runs of its own: the orchestrator is tested, not the training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

QUICK = "quick"
STAGES = ("etl", "train", "inference")
MODEL = "9a000000-0000-0000-0000-0000000000aa"

_MAIN = '''"""Ends at once, with the result file as its last act. Its imports cost more than its work: they are few."""

import os
import socket
import sys
import time

arguments = dict(word[2:].split("=", 1) for word in sys.argv[1:])
bucket, _, folder = arguments["ending-uri"][len("gs://") :].partition("/")
host, _, port = os.environ["STORAGE_EMULATOR_HOST"][len("http://") :].partition(":")
name = (folder + os.environ["CLOUD_ML_JOB_ID"] + "/result.json").replace("/", "%2F")
body = b'{"version": 1, "outputs": {"done": "gs://done"}, "counts": {}, "metrics": {}, "metadata": {}}'
request = (
    f"POST /upload/storage/v1/b/{bucket}/o?uploadType=media&name={name} HTTP/1.1\\r\\n"
    f"Host: {host}:{port}\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
)
for left in reversed(range(100)):  # as Google's client does while storage refuses
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request.encode() + body)
            if connection.recv(1000).split(b" ")[1] == b"200":
                break
            raise OSError("storage refused")
    except (OSError, IndexError):
        if not left:
            raise
        time.sleep(0.3)
'''


def write_jobs(folder: Path) -> Path:
    """A jobs folder with one image, `etl/quick`."""
    image = folder / "jobs" / "etl" / "quick"
    image.mkdir(parents=True)
    (image / "Dockerfile").write_text('FROM python:3.11-slim\nENTRYPOINT ["python", "-S", "-m", "etl.quick.main"]\n')
    (image / "requirements.txt").write_text("")
    (image / "main.py").write_text(_MAIN)
    return folder / "jobs"


def write_pipelines(folder: Path) -> Path:
    """A pipelines folder with the one pipeline: three stages of one job each."""
    statuses = dict(zip(STAGES, ("EXPORTING_DATA", "TRAINING_MODEL", "TRAINING_MODEL"), strict=True))
    stages = [
        {
            "name": stage,
            "jobs": [
                {
                    "name": "job",
                    "kind": "CustomJob",
                    "image": "etl/quick",
                    "status": statuses[stage],
                    "timeout_s": 600,
                    "outputs": ["done"],
                }
            ],
        }
        for stage in STAGES
    ]
    pipeline = {"version": 1, "model_type": QUICK, "description": "Ends at once.", "stages": stages}
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines" / f"{QUICK}.yaml").write_text(json.dumps(pipeline))  # JSON is YAML
    return folder / "pipelines"


def model_run_id(number: int) -> str:
    """The id of one of the model runs."""
    return f"9a000000-0000-0000-0000-{number:012d}"


def write_export(folder: Path, model_runs: Iterable[str]) -> Path:
    """An export of one data row that stands in every one of the model runs."""
    runs = {run: {"name": run, "labels": [], "predictions": []} for run in model_runs}
    row = {
        "data_row": {"id": "row-1", "global_key": "row-1", "row_data": "a text"},
        "media_attributes": {"asset_type": "text"},
        "experiments": {MODEL: {"name": "quick", "runs": runs}},
    }
    path = folder / "export.ndjson"
    path.write_text(json.dumps(row) + "\n")
    return path


def request_body(model_run: str, model_type: str = QUICK) -> bytes:
    """What Labelbox posts for a model run."""
    return json.dumps({"modelId": MODEL, "modelRunId": model_run, "modelType": model_type}).encode()
