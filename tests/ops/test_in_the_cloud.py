"""The commands against the embedded cloud: the page's examples, a training cancelled half way, what runs leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.dataset_service.transports import DatasetServiceGrpcTransport
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

from local.cloud import EmbeddedCloud
from ops.cleaning import carry_out, plan
from ops.deployment import Deployment
from orchestrator.facts import Accepted, Finished
from orchestrator.identities import RunId
from orchestrator.ledger import Ledger
from orchestrator.pipelines import dump, read_pipelines
from tests.ops.operating_page import MODEL_RUN, PAGE, TEXT, Stage, examples, missing_lines, page_cloud
from tests.ops.operators import CommandsFor

EXAMPLES = examples(PAGE.read_text(encoding="utf-8"))


def test_the_page_s_commands_print_what_the_page_shows(tmp_path: Path, commands_for: CommandsFor) -> None:
    ops = commands_for(None)

    def run(arguments: list[str]) -> str:
        answer = ops(*arguments)
        assert answer.code == 0, (arguments, answer)
        return answer.out + answer.err

    with page_cloud(tmp_path) as cloud:
        stage = Stage(cloud, tmp_path, tmp_path)
        for example in EXAMPLES:
            printed = stage.lines(example.command, run)
            assert not missing_lines(example, printed), (example.command, printed)
    assert (tmp_path / f"{MODEL_RUN}.1-report.html").read_text(encoding="utf-8").lstrip().startswith("<!")


def test_the_page_shows_every_command() -> None:
    from ops.cli import cli

    text = PAGE.read_text(encoding="utf-8")
    missing = [name for name in cli.commands if f"ops {name}" not in text and f"`{name} RUN`" not in text]
    assert not missing
    assert all(any(line.strip() for line in example.lines) for example in EXAMPLES)


def test_a_training_cancelled_half_way_leaves_no_job_and_labelbox_with_who_and_why(
    cloud: EmbeddedCloud,
    local_dir: Path,
    deployment: Deployment,
    commands_for: CommandsFor,
    eventually: Callable[..., object],
) -> None:
    ops = commands_for(None)
    here = ("--local-dir", str(local_dir), "--json")
    # Another model than that of other requests, so that this one is no repetition of theirs.
    asked = ops(*here, "train", MODEL_RUN, "--pipeline", TEXT, "--model", "of-this-test")
    run = RunId.parse(asked.json["run"])
    assert asked.code == 0 and run
    eventually(lambda: deployment.services.jobs.running("local"), "a job runs")
    again = ops(*here, "train", MODEL_RUN, "--pipeline", TEXT, "--model", "of-this-test")
    assert (again.json["run"], again.json["new"]) == (str(run), False)
    assert ops(*here, "cancel", str(run), "--by", "ann", "--reason", "enough", "--wait").code == 0
    sentence = "Cancelled by ann: enough"
    eventually(lambda: cloud.labelbox_control.model_run(MODEL_RUN).error_message == sentence, "Labelbox is told")
    assert cloud.labelbox_control.model_run(MODEL_RUN).status == "FAILED"
    mine = [job for job in cloud.vertex_jobs() if job["labels"].get("lb_run_number") == str(run.number)]
    assert mine and all(job["state"] in ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED") for job in mine)
    assert deployment.services.jobs.running("local") == []
    shown = ops(*here, "show", str(run)).json
    assert (shown["state"], shown["sentence"]) == ("FAILED", sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "no-such-model-run", "--pipeline", TEXT), "knows no model run"),
        (("train", MODEL_RUN, "--pipeline", "nope"), "known are"),
    ],
)
def test_what_the_coordinator_refuses_is_told_in_its_own_words(
    deployment: Deployment, commands_for: CommandsFor, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = commands_for(deployment)(*arguments)
    assert answer.code == 1 and sentence in answer.err


def test_a_replayed_message_reaches_its_function_again(
    deployment: Deployment, commands_for: CommandsFor, eventually: Callable[..., object]
) -> None:
    ops = commands_for(deployment)
    before = {letter["id"] for letter in ops("replay", "--settled", "--json").json}
    deployment.topics.publish(deployment.settings.topic("train"), b"not json", {})

    def new() -> set[str]:
        return {letter["id"] for letter in ops("replay", "--json").json} - before

    eventually(new, "the message is kept")
    (first,) = new()
    assert ops("replay", first).code == 0
    eventually(lambda: len(new() - {first}) == 1, "it came again, and is kept again")
    assert ops("replay", *new(), "--dismiss").code == 0


def test_clean_removes_objects_and_data_sets_of_the_run_and_of_no_other(
    cloud: EmbeddedCloud, deployment: Deployment
) -> None:
    store, ledger = deployment.services.store, Ledger(deployment.services.store, "test")
    pipeline = dump(read_pipelines()[TEXT])
    run, other = RunId("old-one", 1), RunId("old-one", 2)
    with grpc.insecure_channel(cloud.vertex.host) as channel:
        client = aiplatform_v1.DatasetServiceClient(transport=DatasetServiceGrpcTransport(channel=channel))
        for made in (run, other):
            ledger.record(made, Accepted("old-one", "", TEXT, "key", pipeline, "", "", ""))
            store.create(f"data/{made.slug}/{made.number}/a/training.jsonl", b"{}")
            labels = {"lb_deployment": "local", "lb_model_run": made.slug, "lb_run_number": str(made.number)}
            schema = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
            dataset = aiplatform_v1.Dataset(display_name=str(made), metadata_schema_uri=schema, labels=labels)
            client.create_dataset(parent=deployment.settings.parent, dataset=dataset).result(timeout=30)
        ledger.record(run, Finished("COMPLETE"))
        planned = plan(deployment, timedelta(0))
        mine = [old for old in planned.runs if old.run.slug == "old-one"]
        assert [old.run for old in mine] == [run]
        assert [item.kind for item in planned.leftovers if item.labels["lb_model_run"] == "old-one"] == ["data set"]
        carry_out(deployment, planned)
        left = client.list_datasets(request={"parent": deployment.settings.parent})
        assert [item.display_name for item in left if item.labels["lb_model_run"] == "old-one"] == [str(other)]
    assert [item.name for item in store.list("data/old-one/")] == ["data/old-one/2/a/training.jsonl"]
    assert plan(deployment, timedelta(0)).is_empty
    store.delete(f"{other.facts}accepted.json")


def test_clean_removes_versions_that_nobody_named_and_keeps_the_others_with_their_runs_data(
    cloud: EmbeddedCloud, deployment: Deployment
) -> None:
    store, ledger = deployment.services.store, Ledger(deployment.services.store, "test")
    pipeline = dump(read_pipelines()[TEXT])
    runs = [RunId("versions", number) for number in (1, 2, 3, 4)]
    model = f"{deployment.settings.parent}/models/of-many-runs"
    with grpc.insecure_channel(cloud.vertex.host) as channel:
        client = aiplatform_v1.ModelServiceClient(transport=ModelServiceGrpcTransport(channel=channel))
        for run in runs:
            ledger.record(run, Accepted("versions", "", TEXT, "key", pipeline, "", "", ""))
            ledger.record(run, Finished("COMPLETE"))
            store.create(f"data/{run.slug}/{run.number}/a/model/weights", b"{}")
            labels = {"lb_deployment": "local", "lb_model_run": run.slug, "lb_run_number": str(run.number)}
            given = {"display_name": "m", "labels": labels, "container_spec": {"image_uri": "us-docker.pkg.dev/p/r/i"}}
            place = {"parent_model": model} if run.number > 1 else {"model_id": "of-many-runs"}
            request = {"parent": deployment.settings.parent, "model": given, **place}
            client.upload_model(request=request).result(timeout=30)
        client.merge_version_aliases(name=f"{model}@2", version_aliases=["default"])
        client.merge_version_aliases(name=f"{model}@3", version_aliases=["golden"])
        planned = plan(deployment, timedelta(0))
        reasons = {item.name: item.kept_for for item in planned.kept if item.name.startswith(model)}
        assert reasons == {f"{model}@2": "has the alias default", f"{model}@3": "has the alias golden"}
        carry_out(deployment, planned)
        left = {item.version_id for item in client.list_model_versions(name=model)}
        assert left == {"2", "3"}
        names = [item.name for item in store.list("data/versions/")]
        assert names == [f"data/versions/{number}/a/model/weights" for number in (2, 3)]
        client.delete_model(name=model).result(timeout=30)
    carry_out(deployment, plan(deployment, timedelta(0)))
    assert not list(store.list("data/versions/"))


def test_job_logs_of_the_cloud_come_by_pages_oldest_first() -> None:
    from ops.errors import NotFound
    from ops.job_logs import CloudJobLogs
    from tests.ops.google_stand_in import google

    newest_first = [{"timestamp": f"t{number}", "severity": "INFO", "textPayload": f"{number}"} for number in (3, 2, 1)]

    def answer(body: dict[str, object]) -> dict[str, object]:
        assert body["resourceNames"] == ["projects/p"] and 'job_id="77"' in str(body["filter"])
        if "pageToken" in body:
            return {"entries": newest_first[2:]}
        return {"entries": newest_first[:2], "nextPageToken": "more"}

    with google() as (stand_in, rest):
        logs = CloudJobLogs("p", rest)
        stand_in.says("POST", "v2/entries:list", answer)
        assert [line.split()[-1] for line in logs.lines("77", 10)] == ["1", "2", "3"]
        assert [line.split()[-1] for line in logs.lines("77", 2)] == ["2", "3"]
        stand_in.says("POST", "v2/entries:list", {})
        with pytest.raises(NotFound):
            logs.lines("77", 10)
    assert json.dumps(logs.place("77"))
