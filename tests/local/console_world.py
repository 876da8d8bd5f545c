"""A small cloud for the console: a pipeline whose jobs end at once and leave what the page shows, and two data sets."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from rich.console import Console as Screen

from local.cloud import CloudOptions, EmbeddedCloud
from local.console.service import ConsoleService
from local.job_environments import prepare
from local.state import StateFolder
from orchestrator.pipelines import read_pipelines

NOTES = "notes"
MODEL = "4e000000-0000-0000-0000-0000000000aa"
TEXTS = 30
HOSTILE = "<script>document.title = 'taken over'</script>"
SCHEMAS = {"cl-ask": "Is it urgent?", "cl-yes": "Yes & now", "cl-no": "No"}

_MAIN = '''"""Does what the stage it is in would do, at once."""

import json
import os
import sys
import time
import urllib.parse
import urllib.request

given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
bucket = given["ending-uri"].removeprefix("gs://").partition("/")[0]
host = os.environ["STORAGE_EMULATOR_HOST"].removeprefix("http://")


def write(uri, text):
    name = urllib.parse.quote(uri.removeprefix("gs://").partition("/")[2], safe="")
    url = f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    urllib.request.urlopen(urllib.request.Request(url, text.encode(), method="POST"), timeout=10).close()
    return uri


def lines(rows):
    return "".join(json.dumps(row) + "\\n" for row in rows)


def answer(number):
    # Every third is wrong.
    return "cl-yes" if (number % 2 == 0) != (number % 3 == 0) else "cl-no"


print(json.dumps({"severity": "INFO", "message": f"Doing {given['do']}", "done": 3, "total": 3}), flush=True)
while given.get("hold") == "true":
    time.sleep(1)
folder, outputs, metrics = given["output-uri"], {}, {}
names = {"cl-yes": "Yes & now", "cl-no": "No"}
if given["do"] == "etl":
    rows = [{"data_row_id": f"row-{n}", "global_key": f"note-{n}", "content": f"Note {n} <b>&</b> more",
             "labelled": n != 1, "split": "test" if n % 3 == 0 else "training",
             "labels": ["Yes & now" if n % 2 == 0 else "No"]} for n in range(30)]
    outputs["manifest"] = write(folder + "manifest.jsonl", lines(rows))
    classes = [{"feature_schema_id": key, "display_name": name} for key, name in names.items()]
    outputs["dataset_report"] = write(folder + "dataset_report.json", json.dumps({"classes": classes}))
if given["do"] == "inference":
    rows = [{"dataRow": {"id": f"row-{n}"}, "schemaId": "cl-ask", "answer": {"schemaId": answer(n), "confidence": 0.75}}
            for n in range(30)]
    rows.append({"dataRow": {"id": "row-0"}, "metricName": "classification", "metricValue": {}})
    outputs["predictions"] = write(folder + "predictions.ndjson", lines(rows))
    outputs["report"] = write(folder + "report.html", "<!doctype html><title>r</title><h1>The report</h1>")
    metrics = {"accuracy": 0.655, "majority_baseline": 0.5}
result = {"version": 1, "outputs": outputs, "counts": {"rows": 30}, "metrics": metrics, "metadata": {}}
write(f"{given['ending-uri']}{os.environ['CLOUD_ML_JOB_ID']}/result.json", json.dumps(result))
'''
_OUTPUTS = {"etl": ["manifest", "dataset_report"], "train": [], "inference": ["predictions", "report"]}
_PARAMETERS = {
    "seed": {"type": "integer", "default": 0, "minimum": 0, "maximum": 9, "help": "Of everything random."},
    "rate": {"type": "number", "default": 0.5, "minimum": 0, "maximum": 1, "help": "How fast."},
    "mood": {"type": "string", "default": "calm", "choices": ["calm", "bold"], "help": "How daring."},
    "hold": {"type": "boolean", "default": False, "help": "Never end by itself."},
    "machine": {"type": "string", "default": "n1-standard-4", "help": "Machine type."},
}
_ARGUMENTS = {
    "etl": {"seed": "${parameters.seed}"},
    "train": {"hold": "${parameters.hold}", "rate": "${parameters.rate}"},
}


def model_run(number: int) -> str:
    """The id of one of the model runs that the notes stand in."""
    return f"4e000000-0000-0000-0000-{number:012d}"


def _write_pipeline(folder: Path) -> None:
    stages = [
        {"name": stage, "jobs": [{
            "name": "job", "kind": "CustomJob", "image": "etl/notes", "outputs": outputs,
            "machine": "${parameters.machine}",
            "status": "EXPORTING_DATA" if stage == "etl" else "TRAINING_MODEL",
            "args": {"do": stage, "output-uri": "${job.data_uri}", **_ARGUMENTS.get(stage, {})},
        }]}
        for stage, outputs in _OUTPUTS.items()
    ]  # fmt: skip
    pipeline = {"version": 1, "model_type": NOTES, "description": "Quick.", "parameters": _PARAMETERS, "stages": stages}
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / f"{NOTES}.yaml").write_text(json.dumps(pipeline))  # JSON is YAML
    image = folder / "jobs" / "etl" / NOTES
    image.mkdir(parents=True)
    (image / "Dockerfile").write_text(f'FROM python:3.11-slim\nENTRYPOINT ["python", "-m", "etl.{NOTES}.main"]\n')
    (image / "requirements.txt").write_text("")
    (image / "main.py").write_text(_MAIN)


def _choice(name: str) -> dict[str, Any]:
    answer = {"feature_schema_id": name, "name": SCHEMAS[name]}
    return {"feature_schema_id": "cl-ask", "name": SCHEMAS["cl-ask"], "radio_answer": answer}


def _note(number: int, runs: list[str]) -> dict[str, Any]:
    label = {"annotations": {"classifications": [_choice("cl-yes" if number % 2 == 0 else "cl-no")], "objects": []}}
    body = {
        "name": "run 1",
        "split": "TEST" if number % 3 == 0 else "TRAINING",
        "labels": [] if number == 1 else [label],
    }
    text = HOSTILE if number == 2 else f"Note {number} <b>&</b> more"
    return {
        "data_row": {"id": f"row-{number}", "global_key": f"note-{number}", "row_data": text},
        "media_attributes": {"asset_type": "text"},
        "experiments": {MODEL: {"name": f"Notes {HOSTILE}", "runs": dict.fromkeys(runs, body)}},
    }


def _png(path: Path, side: int) -> None:
    """A grey square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x99" * side) * side)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _picture() -> dict[str, Any]:
    box = {
        "name": "Crate",
        "feature_schema_id": "cl-crate",
        "bounding_box": {"top": 10, "left": 5, "height": 20, "width": 30},
    }
    label = {"annotations": {"objects": [box], "classifications": []}}
    return {
        "data_row": {"id": "p-1", "global_key": "picture-1", "row_data": "files/one picture.png"},
        "media_attributes": {"asset_type": "image", "width": 64, "height": 64},
        "experiments": {
            "4e-pictures": {"name": "Pictures", "runs": {"4e-boxes": {"name": "run 1", "labels": [label]}}}
        },
    }


def _write_sample(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    normalized: dict[str, Any] = {"tools": [], "classifications": []}
    (folder / "ontology.json").write_text(json.dumps({"name": folder.name, "normalized": normalized}))
    (folder / "export.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "export.ndjson"


class Visitor:
    """A browser that runs no script: it keeps cookies, and sends forms with the token that their page carried."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, **options)

    def send(self, page: str, action: str, fields: dict[str, str]) -> requests.Response:
        """Open a page and send its form."""
        token = re.search(r'name="token" value="([0-9a-f]+)"', self.get(page).text)
        assert token, f"{page} has no form"
        return self.session.post(self.url + action, data={"token": token[1], **fields}, timeout=30)

    def train(self, number: int, **parameters: str) -> requests.Response:
        """Press the button; parameters as their fields."""
        fields = {f"p.{name}": value for name, value in parameters.items()}
        return self.send(f"/data/{model_run(number)}", f"/data/{model_run(number)}/train", {"type": NOTES, **fields})


@contextmanager
def console_world(folder: Path) -> Iterator[ConsoleService]:
    """The console of a cloud of its own."""
    _write_pipeline(folder)
    runs = [model_run(number) for number in range(1, 5)]
    notes = _write_sample(folder / "samples" / "notes", [_note(number, runs) for number in range(TEXTS)])
    _write_sample(folder / "samples" / "pictures", [_picture()])
    (folder / "samples" / "pictures" / "files").mkdir()
    _png(folder / "samples" / "pictures" / "files" / "one picture.png", 64)
    (folder / "samples" / "secret.txt").write_text("not for the page")
    options = CloudOptions(
        reconcile_period_s=1.0,
        samples_dir=folder / "samples",
        jobs_dirs=(folder / "jobs",),
        environments_dir=folder / "envs",
        settings={"PIPELINES_DIR": str(folder / "pipelines")},
    )
    state = StateFolder(folder / "state")
    pipeline = read_pipelines(folder / "pipelines")[NOTES]
    prepare(pipeline, options.environments_dir, state, Screen(quiet=True), options.jobs_dirs)
    with EmbeddedCloud(state, options) as cloud, ConsoleService(cloud, {NOTES: notes}).serving() as service:
        service.wait_ready()
        yield service
