"""What an operator is shown: the newest runs, one run whole, its logs and its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import LaunchRefused
from orchestrator.facts import Accepted
from orchestrator.identities import RunId
from orchestrator.ledger import Ledger
from tests.functions.world import World
from tests.ops.operators import Commands, CommandsFor, MemoryLogs, deployment_of

BAD_ROWS = {"version": 1, "sentence": "No row has a label", "kind": "bad_data", "hint": "label some"}


def waiting(world: World) -> None:
    world.jobs.refuse = LaunchRefused("quota", quota=True)
    world.start()


def running(world: World) -> None:
    world.start()


def cancelling(world: World) -> None:
    run = world.start()
    from orchestrator import steering

    steering.cancel(world.services.begin(), run, "ann")


def complete(world: World) -> None:
    world.start()
    world.complete_text_run()


def failed(world: World) -> None:
    world.start()
    world.log_hint(world.end_job(state="FAILED", error=BAD_ROWS))


def misconfigured(world: World) -> None:
    world.labelbox.configs["mr-1"] = {"no_such": 1}
    world.start()


def abandoned(world: World) -> None:
    lost = Accepted("mr-1", "", "", "key", {}, "", "", "", abandoned=True)
    Ledger(world.store, "test").record(RunId("mr-1", 1), lost)


@pytest.mark.parametrize(
    ("happen", "state", "at"),
    [
        (running, "RUNNING", "etl/export"),
        (waiting, "waits for quota", "etl/export"),
        (cancelling, "cancelling", "etl/export"),
        (complete, "COMPLETE", ""),
        (failed, "FAILED", "etl/export"),
        (misconfigured, "FAILED", ""),
        (abandoned, "abandoned", ""),
    ],
)
def test_a_run_s_state_and_place_are_shown_whatever_happened(
    world: World, ops: Commands, happen: Callable[[World], None], state: str, at: str
) -> None:
    happen(world)
    rows = ops("runs", "--json")
    assert rows.code == 0
    assert [(row["run"], row["state"], row["at"]) for row in rows.json] == [("mr-1.1", state, at)]
    whole = ops("show", "mr-1", "--json")
    assert (whole.code, whole.json["state"]) == (0, state)
    for plain in (ops("runs"), ops("show", "mr-1")):
        assert plain.code == 0
        assert state in plain.out and "mr-1.1" in plain.out


def test_the_newest_runs_come_first_and_filters_read_on_past_the_limit(world: World, ops: Commands) -> None:
    for number in range(1, 6):
        world.labelbox.configs[f"mr-{number}"] = {} if number > 1 else {"no_such": 1}
        world.start(model_run_id=f"mr-{number}")
        world.clock.advance(60)
    assert [row["run"] for row in ops("runs", "--json", "--limit", "2").json] == ["mr-5.1", "mr-4.1"]
    assert [row["run"] for row in ops("runs", "--json", "--limit", "1", "--state", "failed").json] == ["mr-1.1"]
    assert len(ops("runs", "--json", "--state", "active").json) == 4
    assert ops("runs", "--json", "--pipeline", "image_single_classification").json == []


def test_show_tells_jobs_outputs_figures_and_every_fact_in_its_order(world: World, ops: Commands) -> None:
    world.start()
    world.clock.advance(5)
    world.complete_text_run()
    shown = ops("show", "mr-1.1", "--json").json
    assert [(job["stage"], job["state"], job["attempt"]) for job in shown["jobs"]] == [
        ("etl", "SUCCEEDED", 1),
        ("train", "SUCCEEDED", 1),
        ("inference", "SUCCEEDED", 1),
    ]
    first = shown["jobs"][0]
    assert first["number"] in first["console"] and first["console"].startswith("https://console.cloud.google.com/")
    assert first["log"] == f"log of {first['number']}"
    assert shown["outputs"]["train.fit.model"] == "gs://b/model/"
    assert shown["metrics"]["inference.predict.accuracy"] == 0.9
    facts = [moment["fact"] for moment in shown["timeline"]]
    assert facts[0] == "Accepted" and {"Configured", "Claimed", "Launched", "Told", "Ended", "Finished"} <= set(facts)
    stored = [item for item in world.store.objects if item.startswith("facts/runs/mr-1/1/")]
    assert len(facts) == len(stored)
    times = [moment["at"] for moment in shown["timeline"]]
    assert times == sorted(times)


def test_a_failed_run_says_why_and_what_to_do(world: World, ops: Commands) -> None:
    failed(world)
    shown = ops("show", "mr-1").out
    assert "No row has a label" in shown and "label some" in shown
    assert ops("show", "mr-1", "--json").json["hint"] == "label some"


@pytest.mark.parametrize("name", ["mr-1.1", "mr-1", "mr", "mr-1."])
def test_a_run_is_found_by_its_id_its_model_run_or_its_beginning(world: World, ops: Commands, name: str) -> None:
    world.start()
    answer = ops("show", name, "--json")
    if name == "mr-1.":
        assert answer.code == 3
    else:
        assert (answer.code, answer.json["run"]) == (0, "mr-1.1")


def test_a_beginning_of_several_and_an_unknown_name_are_told_apart(world: World, ops: Commands) -> None:
    world.labelbox.configs["mr-2"] = {}
    world.start()
    world.start(model_run_id="mr-2")
    several, none = ops("show", "mr"), ops("show", "other")
    assert (several.code, none.code) == (2, 3)
    assert "mr-1, mr-2" in several.err
    assert "ops runs" in none.err and none.out == ""


def test_errors_are_json_on_standard_error_for_scripts(ops: Commands) -> None:
    answer = ops("show", "other", "--json")
    assert (answer.code, answer.out) == (3, "")
    told = json.loads(answer.err)
    assert told["exit_code"] == 3 and "other" in told["error"] and told["hint"]
    assert json.loads(ops("--json", "logs", "other").err)["exit_code"] == 3


def test_an_unreachable_bucket_is_a_failure_with_a_next_step(world: World, ops: Commands) -> None:
    world.store.down = True
    answer = ops("runs")
    assert answer.code == 1
    assert "The bucket is down" in answer.err and "doctor" in answer.err


def test_logs_come_by_stage_and_say_where_the_whole_log_is(world: World, commands_for: CommandsFor) -> None:
    logs = MemoryLogs()
    ops = commands_for(deployment_of(world, job_logs=logs))
    world.start()
    number = next(iter(world.jobs.by_name)).rpartition("/")[2]
    assert "look again" in ops("logs", "mr-1").out
    logs.by_job[number] = ["first", "second", "third"]
    answer = ops("logs", "mr-1", "--stage", "etl", "--lines", "2")
    assert (answer.code, answer.out) == (0, "second\nthird\n")
    assert f"log of {number}" in answer.err
    assert ops("logs", "mr-1", "--json").json[0]["lines"] == ["first", "second", "third"]
    assert ops("logs", "mr-1", "--stage", "train").code == 3
    assert ops("logs", "mr-1", "--stage", "nope").code == 2


def test_a_report_is_fetched_from_the_bucket(world: World, ops: Commands, tmp_path: Path) -> None:
    world.start()
    assert ops("report", "mr-1").code == 3
    outputs = {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}
    for left in (outputs, {"model": "gs://b/model/"}, {"report": "gs://bucket/data/r.html"}):
        world.log_hint(world.end_job(result={"version": 1, "outputs": left}))
        world.pump()
    file = tmp_path / "report.html"
    gone = ops("report", "mr-1", "--output", str(file))
    assert gone.code == 3 and "is gone" in gone.err and not file.exists()
    world.store.create("data/r.html", b"<html>")
    assert ops("report", "mr-1", "--output", str(file), "--json").json["file"] == str(file)
    assert file.read_bytes() == b"<html>"


def test_watch_follows_to_the_end_and_its_exit_code_is_the_outcome(world: World, commands_for: CommandsFor) -> None:
    from dataclasses import replace

    world.start()
    outcomes = iter(
        [
            lambda: world.log_hint(world.end_job(result={"version": 1, "outputs": {}})),
            lambda: world.log_hint(world.end_job(state="FAILED", error=BAD_ROWS)),
        ]
    )

    def later(seconds: float) -> None:
        world.clock.advance(seconds)
        next(outcomes, lambda: None)()
        world.pump()

    services = replace(world.services, sleep=later)
    deployment = replace(deployment_of(world), services=services)
    answer = commands_for(deployment)("watch", "mr-1", "--json", "--timeout", "600")
    moments = [json.loads(line) for line in answer.out.splitlines()]
    assert [(m["stage"], m["state"]) for m in moments[:-1]][:2] == [("etl", "RUNNING"), ("etl", "SUCCEEDED")]
    assert (answer.code, moments[-1]["state"]) == (1, "FAILED")
    given_up = commands_for(replace(deployment, services=replace(services, sleep=world.clock.advance)))
    world.labelbox.configs["mr-2"] = {}
    world.start(model_run_id="mr-2")
    assert given_up("watch", "mr-2", "--timeout", "30").code == 1
