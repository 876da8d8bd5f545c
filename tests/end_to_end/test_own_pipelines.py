"""Pipelines of one's own run to COMPLETE: examples/ and a scaffolded one, and no file of ours knows of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.endpoint_service.transports import EndpointServiceGrpcTransport
from rich.console import Console

from local import deployment
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.functions import ROOT
from local.job_environments import prepare
from local.labelbox_side import TrainingRequest
from local.offer import Offer
from local.run_view import RunReader, RunView
from local.state import StateFolder
from orchestrator.identities import RunId
from orchestrator.pipelines import Pipeline, read_pipelines
from scaffold.pipelines import new_pipeline

EXAMPLES = sorted(path.parent.parent for path in (ROOT / "examples").glob("*/pipelines/*.yaml"))
SCAFFOLDED = "freshly_made"
SAMPLE = ROOT / "samples" / "text_single_classification"
DEADLINE_S = 180.0
CONFIG = {"texts_to_endpoint": {"backbone": "none"}}


@dataclass
class OwnPipelines:
    """One cloud that offers them, and how each ended."""

    cloud: EmbeddedCloud
    pipelines: dict[str, Pipeline]
    ended: dict[str, RunView]

    def model_run(self, name: str) -> str:
        return model_run_id(sorted(self.pipelines).index(name))


def model_run_id(number: int) -> str:
    return f"0e000000-0000-0000-0000-{number:012d}"


def write_export(folder: Path, model_runs: int) -> Path:
    """The sample's rows, in so many model runs."""
    lines = []
    for line in (SAMPLE / "export.ndjson").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (model,) = row["experiments"].values()
        (run,) = model["runs"].values()
        model["runs"] = {model_run_id(number): run for number in range(model_runs)}
        lines.append(json.dumps(row))
    (folder / "ontology.json").write_text((SAMPLE / "ontology.json").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "export.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "export.ndjson"


def put_together(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """A folder with the examples' and a scaffolded pipeline, and where their jobs lie."""
    (folder / "functions" / "pipelines").mkdir(parents=True)
    new_pipeline(folder, SCAFFOLDED).write()
    offered = folder / "functions" / "pipelines"
    for example in EXAMPLES:
        for path in (example / "pipelines").glob("*.yaml"):
            (offered / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return offered, (*(example / "jobs" for example in EXAMPLES), folder / "jobs", ROOT / "jobs")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPipelines]:
    folder = tmp_path_factory.mktemp("own")
    offered, jobs_dirs = put_together(folder)
    pipelines = dict(read_pipelines(offered))
    options = CloudOptions(
        export=write_export(folder, len(pipelines)),
        jobs_dirs=jobs_dirs,
        settings={"PIPELINES_DIR": str(offered)},
        reconcile_period_s=1.0,
    )
    state = StateFolder(folder / "state")
    for pipeline in pipelines.values():
        prepare(pipeline, options.environments_dir, state, Console(quiet=True), jobs_dirs)
    with EmbeddedCloud(state, options) as cloud:
        own = OwnPipelines(cloud, pipelines, {})
        readers = {name: start(own, name) for name in pipelines}
        give_up_at = time.monotonic() + DEADLINE_S
        while len(own.ended) < len(readers) and time.monotonic() < give_up_at:
            views = {name: reader.look() for name, reader in readers.items() if name not in own.ended}
            own.ended |= {name: view for name, view in views.items() if view.outcome}
            time.sleep(0.1)
        yield own


def start(own: OwnPipelines, name: str) -> RunReader:
    model_run = own.model_run(name)
    if name in CONFIG:
        own.cloud.labelbox_control.set_config(model_run, CONFIG[name])
    answer = TrainingRequest("0e000000-0000-0000-0000-0000000000aa", model_run, name).send(
        own.cloud.origin, SERVICE_SECRET
    )
    run = RunId.parse(answer["runId"])
    assert run is not None
    return RunReader(own.cloud.storage.host, deployment.BUCKET, run, own.pipelines[name])


@pytest.mark.parametrize("name", [*(path.name for path in EXAMPLES), SCAFFOLDED])
def test_it_runs_to_complete_with_predictions_figures_and_a_report(own: OwnPipelines, name: str) -> None:
    view = own.ended[name]
    assert (view.outcome, view.sentence) == ("COMPLETE", "")
    assert {job.state for job in view.jobs} == {"SUCCEEDED"}
    reports = [uri for output, uri in view.outputs().items() if output.endswith(".report")]
    page = own.cloud.local_path(reports[0]).read_text(encoding="utf-8")
    assert "Majority baseline" in page or "majority baseline" in page
    told = own.cloud.labelbox_control.model_run(own.model_run(name))
    assert told.prediction_rows == 211
    assert float(told.metadata["test_accuracy"]) > float(told.metadata["test_majority_baseline"])


def endpoints(own: OwnPipelines) -> list[Any]:
    with grpc.insecure_channel(own.cloud.vertex.host) as channel:
        client = aiplatform_v1.EndpointServiceClient(transport=EndpointServiceGrpcTransport(channel=channel))
        return list(client.list_endpoints(parent="projects/local-project/locations/us-central1", timeout=10))


def test_the_model_is_deployed_to_one_endpoint_with_all_traffic(own: OwnPipelines) -> None:
    (endpoint,) = endpoints(own)
    (deployed,) = endpoint.deployed_models
    assert dict(endpoint.traffic_split) == {deployed.id: 100}
    outputs = own.ended["texts_to_endpoint"].outputs()
    assert deployed.model == outputs["deploy.endpoint.registered_model"]
    assert endpoint.name == outputs["deploy.endpoint.endpoint"]
    told = own.cloud.labelbox_control.model_run(own.model_run("texts_to_endpoint"))
    assert told.metadata["endpoint"] == endpoint.name


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_no_file_of_ours_knows_of_an_example(example: Path) -> None:
    names = {path.stem for path in (example / "pipelines").glob("*.yaml")}
    names |= {path.parent.name for path in (example / "jobs").glob("*/*/Dockerfile")}
    rooms = [ROOT / room for room in ("functions", "jobs", "local", "ops", "scaffold", "terraform", "samples")]
    files = [ROOT / "cloudbuild.yaml", *(path for room in rooms for path in room.rglob("*.*"))]
    kinds = {".py", ".yaml", ".tf", ".json", ".txt", ".sh"}
    for path in files:
        if path.suffix in kinds and path.is_file() and path.stat().st_size < 200_000:
            text = path.read_text(encoding="utf-8")
            assert not [name for name in names if re.search(rf"\b{name}\b", text)], path


def test_a_folder_that_is_no_pipeline_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold one pipelines/NAME\.yaml, and has none"):
        Offer.named(str(tmp_path))
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "broken.yaml").write_text("version: 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken.yaml: model_type: Field required"):
        Offer.named(str(tmp_path))
    with pytest.raises(ValueError, match=r"there is no pipeline 'no_such'; there are .*text_single_classification"):
        Offer.named("no_such")
