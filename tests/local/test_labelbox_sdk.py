"""The real labelbox SDK against the stand-in: every call that training needs comes back as the SDK expects it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labelbox
import pytest
import requests
from labelbox.schema.annotation_import import MALPredictionImport, MEAPredictionImport
from labelbox.schema.enums import AnnotationImportState
from labelbox.schema.export_task import ExportTask
from lbox import exceptions

from tests.local import labelbox_service as kit

KEY, MODEL, RUN, PROJECT = kit.KEY, kit.MODEL, kit.RUN, kit.PROJECT
EXPORT_PARAMS = {"metadata_fields": True, "data_row_details": True, "model_run_details": True}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Any]:
    with kit.serving_sample(tmp_path) as running:
        yield running


@pytest.fixture
def client(service: Any) -> Iterator[labelbox.Client]:
    made = labelbox.Client(api_key=KEY, endpoint=service.endpoint, enable_experimental=True)
    yield made
    made._request_client._connection.close()


@pytest.fixture
def run(client: labelbox.Client) -> Any:
    return client.get_model_run(RUN)


def prediction(number: int = 0, answer: str = "Good", **more: Any) -> dict[str, Any]:
    return {
        "uuid": f"00000000-0000-0000-0000-{number:012}",
        "dataRow": {"globalKey": f"gk-{number}"},
        "name": "mood",
        "answer": {"name": answer, "confidence": 0.75},
        **more,
    }


def metric(number: int = 0, name: str = "score", **more: Any) -> dict[str, Any]:
    row = {"dataRow": {"id": f"dr-{number}"}, "metricName": name, "metricValue": 0.5, "aggregation": "ARITHMETIC_MEAN"}
    return {**row, **more}


def test_a_model_run_leads_to_its_model_and_ontology(client: labelbox.Client, run: Any) -> None:
    model = client.get_model(run.model_id)
    ontology = client.get_ontology(model.ontology_id)
    assert (run.uid, run.name, model.uid, model.name) == (RUN, "run 1", MODEL, "Moods")
    assert ontology.normalized == kit.ONTOLOGY["normalized"]
    assert [question.name for question in ontology.classifications()] == ["mood", "topics", "note"]
    assert [tool.name for tool in ontology.tools()] == ["box", "person", "shape"]


def test_what_does_not_exist_is_not_found(client: labelbox.Client) -> None:
    for get in (client.get_model_run, client.get_model, client.get_ontology, client.get_project):
        with pytest.raises(exceptions.ResourceNotFoundError):
            get("nothing")


def test_a_wrong_key_is_refused(service: Any) -> None:
    stranger = labelbox.Client(api_key="wrong", endpoint=service.endpoint)
    with pytest.raises(exceptions.AuthenticationError):
        stranger.get_model_run(RUN)
    stranger._request_client._connection.close()


def test_statuses_merge_metadata_and_keep_the_error(service: Any, client: labelbox.Client, run: Any) -> None:
    read = "query trainingPipelinePyApi($modelRunId: ID!){trainingPipeline(where: {id : $modelRunId}) %s}"
    read %= "{status, errorMessage, metadata}"
    write = "mutation M($id: ID!, $data: UpdateTrainingPipelineInput!){updateTrainingPipeline(%s){status}}"
    write %= "modelRun: {id: $id}, data: $data"

    def current() -> Any:
        return client.execute(read, {"modelRunId": RUN}, experimental=True)["trainingPipeline"]

    assert current() == {"status": None, "errorMessage": None, "metadata": {}}
    run.update_status("EXPORTING_DATA", metadata={"a": "1"})
    run.update_status("FAILED", error_message="no labels", metadata={"b": "2"})
    run.update_status("COMPLETE")
    assert current() == {"status": "COMPLETE", "errorMessage": "no labels", "metadata": {"a": "1", "b": "2"}}
    client.execute(write, {"id": RUN, "data": {"status": "EXPORTING_DATA", "errorMessage": ""}}, experimental=True)
    assert not current()["errorMessage"]
    history = service.state()["statuses"]
    assert [entry["status"] for entry in history] == ["EXPORTING_DATA", "FAILED", "COMPLETE", "EXPORTING_DATA"]
    assert [entry["errorMessage"] for entry in history] == [None, "no labels", None, ""]
    assert [entry["metadata"] for entry in history] == [{"a": "1"}, {"b": "2"}, None, None]


def test_an_error_message_of_256_characters_is_refused(service: Any, run: Any) -> None:
    run.update_status("FAILED", error_message="x" * 255)
    with pytest.raises(exceptions.UnprocessableEntityError, match="Error message cannot exceed 255 characters"):
        run.update_status("FAILED", error_message="x" * 256)
    assert [len(entry["errorMessage"]) for entry in service.state()["statuses"]] == [255]


def test_a_config_is_replaced_and_reset(service: Any, run: Any) -> None:
    assert run.get_config() is None
    assert run.update_config({"batch_size": 16})["trainingMetadata"] == {"batch_size": 16}
    run.update_config({"learning_rate": 0.1})
    assert run.get_config() == {"learning_rate": 0.1}
    service.settings(camel_case_config=True)
    assert run.get_config() == {"learningRate": 0.1}
    run.reset_config()
    assert run.get_config() is None
    assert service.state()["config"] == {}


def exported(run: Any, **params: Any) -> list[dict[str, Any]]:
    task = run.export(params=params or EXPORT_PARAMS)
    task.wait_till_done()
    assert task.status == "COMPLETE"
    assert not task.has_errors()
    return [output.json for output in task.get_buffered_stream()] if task.has_result() else []


@pytest.mark.parametrize("chunk_bytes", [1, 1_000, 10_000_000])
def test_an_export_is_whole_in_chunks_of_any_size(service: Any, run: Any, chunk_bytes: int) -> None:
    service.settings(export_chunk_bytes=chunk_bytes)
    rows = exported(run)
    assert [row["data_row"]["id"] for row in rows] == [f"dr-{number}" for number in range(5)]
    runs = rows[0]["experiments"][MODEL]["runs"]
    assert list(runs) == [RUN]
    assert runs[RUN]["split"] == "TRAINING"
    assert runs[RUN]["labels"] == [kit.radio_label("Bad")]
    assert rows[0]["metadata_fields"][0]["value"] == kit.TRICKY


def test_an_export_holds_only_what_was_asked_for(run: Any) -> None:
    bare = exported(run, predictions=True)[0]
    body = bare["experiments"][MODEL]["runs"][RUN]
    assert "details" not in bare["data_row"] and "metadata_fields" not in bare
    assert "split" not in body and body["predictions"] == []
    full = exported(run)[0]
    assert full["data_row"]["details"] == {"dataset_name": "d"}
    assert "predictions" not in full["experiments"][MODEL]["runs"][RUN]


def test_relative_row_data_is_served_by_the_stand_in(run: Any) -> None:
    url = exported(run)[3]["data_row"]["row_data"]
    answer = requests.get(url, timeout=5)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == f"text 3 {kit.TRICKY}"


def test_an_export_can_take_its_time_and_come_without_labels_at_first(service: Any, run: Any) -> None:
    service.settings(export_delay_polls=1, labels_appear_after_exports=1)
    task = run.export(params=EXPORT_PARAMS)
    assert task.status == "IN_PROGRESS"
    with pytest.raises(ExportTask.ExportTaskException, match="not ready"):
        task.has_result()
    task.wait_till_done()
    assert task.status == "COMPLETE"
    assert all(row.json["experiments"][MODEL]["runs"][RUN]["labels"] == [] for row in task.get_buffered_stream())
    service.settings(export_delay_polls=0)
    assert all(row["experiments"][MODEL]["runs"][RUN]["labels"] for row in exported(run))


def test_signed_urls_expire_and_cannot_be_altered(service: Any, run: Any) -> None:
    service.settings(expire_urls_s=1e-9)
    task = run.export(params=EXPORT_PARAMS)
    with pytest.raises(requests.HTTPError, match="400"):
        list(task.get_buffered_stream())
    service.settings(expire_urls_s=3600)
    url = exported(run)[0]["data_row"]["row_data"]
    assert requests.get(url, timeout=5).status_code == 200
    assert requests.get(url.replace("/0.txt", "/1.txt"), timeout=5).status_code == 403


def test_data_rows_of_a_run_come_in_pages_with_their_splits(tmp_path: Path) -> None:
    with kit.serving_sample(tmp_path, rows=203) as running:
        client = labelbox.Client(api_key=KEY, endpoint=running.endpoint)
        rows = list(client.get_model_run(RUN).model_run_data_rows())
        ids = [row.data_row().uid for row in rows]
        client._request_client._connection.close()
    assert ids == [f"dr-{number}" for number in range(203)]
    assert [row.data_split.value for row in rows[:5]] == list(kit.SPLITS)
    assert rows[0].label_id == "label-Bad"


def test_an_assigned_split_shows_in_export_and_data_rows(run: Any) -> None:
    assert exported(run)[0]["experiments"][MODEL]["runs"][RUN]["split"] == "TRAINING"
    assert [row.data_split.value for row in run.model_run_data_rows()] == list(kit.SPLITS)
    assert run.assign_data_rows_to_split(["dr-0"], "TEST")
    assert run.assign_data_rows_to_split(global_keys=["gk-1"], split="VALIDATION")
    splits = [row["experiments"][MODEL]["runs"][RUN]["split"] for row in exported(run)]
    assert splits == ["TEST", "VALIDATION", *kit.SPLITS[2:]]
    assert [row.data_split.value for row in run.model_run_data_rows()] == splits
    with pytest.raises(Exception, match="Job failed"):
        run.assign_data_rows_to_split(["nothing"], "TEST")


def test_predictions_and_metrics_are_taken_row_by_row(service: Any, run: Any) -> None:
    rows = [prediction(0), prediction(1, "Bad"), prediction(2, "Ugly"), metric(0), metric(1, "recall")]
    made = run.add_predictions("first", rows)
    assert made.state == AnnotationImportState.FINISHED and made.progress == "100%"
    assert made.inputs == rows
    assert [row["status"] for row in made.statuses] == ["SUCCESS", "SUCCESS", "FAILURE", "SUCCESS", "FAILURE"]
    assert [error["message"] for row in made.errors for error in row["errors"]] == [
        "'mood' has no option with name 'Ugly'",
        "metricName 'recall' is reserved",
    ]
    state = service.state()
    assert (state["predictions"], state["metrics"], state["prediction_rows"]) == (2, 1, 2)
    summary = state["imports"][0]
    assert (summary["name"], summary["state"], summary["rows"], summary["failures"]) == ("first", "FINISHED", 5, 2)
    received = requests.get(f"{service.url}/_control/predictions", {"modelRunId": RUN}, timeout=5)
    assert [json.loads(line) for line in received.text.split("\n") if line] == rows


def test_the_same_predictions_sent_again_count_once(service: Any, run: Any) -> None:
    for name in ("first", "second"):
        run.add_predictions(name, [prediction(0), metric(0)])
    assert (service.state()["predictions"], service.state()["metrics"]) == (1, 1)
    with pytest.raises(exceptions.ResourceConflict, match="first"):
        run.add_predictions("first", [prediction(1)])
    assert service.state()["predictions"] == 1


def test_an_import_by_url_reads_the_uploaded_file(service: Any, client: labelbox.Client, run: Any) -> None:
    url = client.upload_data(
        json.dumps(prediction(0)).encode(), filename="p.ndjson", content_type="text/plain", sign=True
    )
    assert run.add_predictions("by url", url).inputs == [prediction(0)]
    assert service.state()["predictions"] == 1


def test_a_slow_import_is_finished_on_the_second_look(service: Any, client: labelbox.Client, run: Any) -> None:
    service.settings(slow_imports=True)
    made = run.add_predictions("slow", [prediction(0)])
    seen = [(made.state.value, made.progress, made.status_file_url)]
    for _ in range(2):
        made = MEAPredictionImport.from_name(client, RUN, "slow")
        seen.append((made.state.value, made.progress, made.status_file_url is not None))
    assert seen == [("RUNNING", "0%", None), ("RUNNING", "50%", False), ("FINISHED", "100%", True)]


def test_predictions_can_be_refused_as_labelbox_does(service: Any, run: Any) -> None:
    service.settings(refuse_predictions=True)
    with pytest.raises(exceptions.LabelboxError, match="MEA prediction import has been deprecated") as refusal:
        run.add_predictions("refused", [prediction(0)])
    assert refusal.value.message == "9 FAILED_PRECONDITION: MEA prediction import has been deprecated"
    assert service.state()["imports"] == []


def test_pre_labels_go_into_a_project(service: Any, client: labelbox.Client) -> None:
    service.settings(refuse_predictions=True)  # which is about model runs only
    rows = [prediction(0), metric(0)]
    made = MALPredictionImport.create_from_objects(client, PROJECT, "labels", rows)
    assert made.project().uid == PROJECT
    assert [row["status"] for row in made.statuses] == ["SUCCESS", "FAILURE"]
    assert MALPredictionImport.from_name(client, PROJECT, "labels").inputs == rows
    with pytest.raises(exceptions.LabelboxError):
        client.get_project("nothing")


def test_registration_and_deletion(service: Any, client: labelbox.Client, run: Any) -> None:
    assert run.upsert_data_rows(["dr-0"])
    assert run.upsert_labels(project_id=PROJECT)
    run.delete_model_run_data_rows(["dr-0"])
    assert [row["data_row"]["id"] for row in exported(run)] == ["dr-1", "dr-2", "dr-3", "dr-4"]
    assert run.add_predictions("gone", [prediction(0)]).statuses[0]["status"] == "FAILURE"
    run.delete()
    with pytest.raises(exceptions.ResourceNotFoundError):
        client.get_model_run(RUN)


def test_a_rate_limit_is_an_api_limit_error_and_passes(service: Any, client: labelbox.Client) -> None:
    service.settings(rate_limit=1)
    with pytest.raises(exceptions.ApiLimitError):
        client.get_model_run(RUN)
    assert client.get_model_run(RUN).uid == RUN


def test_an_unknown_operation_is_named(client: labelbox.Client) -> None:
    with pytest.raises(exceptions.InvalidQueryError, match='"projects" on type "Query" \\(operation ListPyApi\\)'):
        client.execute("query ListPyApi {projects {id}}", {})
