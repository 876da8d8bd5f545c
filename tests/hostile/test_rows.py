"""Data rows of strangers through the whole text pipeline at once: each is skipped for its reason or kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local import deployment
from local.cloud import API_KEY, SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.job_environments import prepare
from local.labelbox_side import TrainingRequest
from local.run_view import RunReader, RunView
from local.state import StateFolder
from orchestrator.identities import RunId
from orchestrator.pipelines import read_pipelines
from tests.end_to_end.cloud_runs import TEXT
from tests.hostile.strangers import MODEL, MODEL_RUN, SCRIPT_TEXT, SLOW_TEXT, Export, hostile_export, stranger

# What a report may hold; a script or an event handler can come only from data.
NEVER = {"script", "iframe", "object", "embed", "form", "base", "link"}


@dataclass
class HostileRun:
    """The finished run, and all that it left."""

    cloud: EmbeddedCloud
    export: Export
    view: RunView
    end: Any

    def text(self, output: str) -> str:
        return self.cloud.local_path(self.view.outputs()[output]).read_text(encoding="utf-8")

    def manifest(self) -> dict[str, dict[str, Any]]:
        rows = [json.loads(line) for line in self.text("etl.export.manifest").split("\n") if line]
        return {row["data_row_id"]: row for row in rows}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, eventually: Any) -> Iterator[HostileRun]:
    folder: Path = tmp_path_factory.mktemp("rows")
    with stranger() as origin:
        export = hostile_export(origin)
        export.write(folder / "samples")
        state = StateFolder(folder / "state")
        options = CloudOptions(samples_dir=folder / "samples")
        prepare(read_pipelines()[TEXT], options.environments_dir, state, Console(quiet=True))
        with EmbeddedCloud(state, options) as cloud:
            cloud.labelbox_control.set_config(MODEL_RUN, {"backbone": "none"})
            answer = TrainingRequest(MODEL, MODEL_RUN, TEXT).send(cloud.origin, SERVICE_SECRET)
            run_id = RunId.parse(answer["runId"])
            assert run_id is not None
            reader = RunReader(cloud.storage.host, deployment.BUCKET, run_id, read_pipelines()[TEXT])
            ends = ("COMPLETE", "FAILED")
            eventually(lambda: cloud.labelbox_control.model_run(MODEL_RUN).status in ends, "the run ends", 150)
            yield HostileRun(cloud, export, reader.look(), cloud.labelbox_control.model_run(MODEL_RUN))


def test_the_run_ends_complete(run: HostileRun) -> None:
    assert (run.view.outcome, run.view.sentence) == ("COMPLETE", "")
    assert (run.end.status, run.end.error_message) == ("COMPLETE", "")


def test_each_bad_row_is_skipped_for_its_reason_and_each_other_is_kept(run: HostileRun) -> None:
    report = json.loads(run.text("etl.export.dataset_report"))
    found = dict.fromkeys(run.manifest(), "kept")
    for reason, skipped in report["skipped"].items():
        found |= dict.fromkeys(skipped["ids"], reason)
        assert skipped["count"] == len(skipped["ids"])
    assert found == run.export.expected


def test_a_slow_text_is_whole_and_no_file_or_metadata_was_read(run: HostileRun) -> None:
    rows = run.manifest()
    assert rows["address-kept-0"]["content"] == SLOW_TEXT
    assert rows["address-kept-1"]["content"] == SCRIPT_TEXT
    assert rows["address-kept-2"]["content"] == "file:///etc/passwd"  # a text like any other
    assert "root:" not in run.text("etl.export.manifest")


def test_every_kept_row_gets_a_prediction(run: HostileRun) -> None:
    predicted = {
        json.loads(line)["dataRow"]["id"] for line in run.text("inference.predict.predictions").split("\n") if line
    }
    assert {row for row, expected in run.export.expected.items() if expected == "kept"} == predicted


class _Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href", "action")}


def test_the_report_escapes_everything(run: HostileRun) -> None:
    html = run.text("inference.predict.report")
    page = _Tags()
    page.feed(html)
    assert not page.tags & NEVER
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not [address for address in page.addresses if not address.startswith(("#", "data:image/", "gs:", "https:"))]
    assert "&lt;script&gt;" in html  # the hostile class is shown, escaped


def kept_for_comparison(name: str) -> bool:
    """Whether the object is what the run keeps of itself for the reports of later ones."""
    return name.startswith("reports/text_single_classification/") and name.endswith(f"-{MODEL_RUN}.1.jsonl")


def test_nothing_is_written_outside_the_runs_folders(run: HostileRun) -> None:
    bucket = run.cloud.local_path(f"gs://{deployment.BUCKET}")
    own = [f"{top}/{MODEL_RUN}/1/" for top in ("facts/runs", "data", "endings")]
    others = [
        name
        for name in (str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file())
        if not name.startswith((*own, f"active/{MODEL_RUN}.1.", "facts/days/")) and not kept_for_comparison(name)
    ]
    assert others == []
    assert {path.name for path in bucket.parent.iterdir() if path.is_dir()} == {deployment.BUCKET}


def test_no_fact_message_or_status_holds_a_secret(run: HostileRun) -> None:
    state = run.cloud.state.path
    files = [path for top in ("storage", "pubsub", "labelbox") for path in (state / top).rglob("*") if path.is_file()]
    assert len(files) > 10
    for secret in (API_KEY, SERVICE_SECRET):
        assert [str(path) for path in files if secret.encode() in path.read_bytes()] == []
        assert secret not in repr(run.cloud.labelbox_control.state())


def test_no_log_of_function_or_job_holds_a_secret(run: HostileRun) -> None:
    logs = [*(run.cloud.state.path / "logs").glob("*.log"), *(run.cloud.state.path / "vertex").rglob("*.log")]
    assert len(logs) > 10
    for secret in (API_KEY, SERVICE_SECRET):
        assert [log.name for log in logs if secret.encode() in log.read_bytes()] == []
