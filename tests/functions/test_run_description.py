"""Every job is told of its run: pipeline, parameters, and how the jobs before it went."""

from __future__ import annotations

import json
from typing import Any

from tests.functions.world import MODEL_VERSION, World


def described(world: World, number: int) -> dict[str, Any]:
    """What the job of a launch was told."""
    container = world.jobs.requests[number].body["job_spec"]["worker_pool_specs"][0]["container_spec"]
    (text,) = [item["value"] for item in container["env"] if item["name"] == "RUN_DESCRIPTION"]
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_job_knows_its_run_and_how_the_jobs_before_it_went() -> None:
    world = World()
    world.start()
    world.complete_text_run()
    first, last = described(world, 0), described(world, 2)
    for told in (first, last):
        assert (told["run"], told["pipeline"], told["model_run_id"]) == ("mr-1.1", "text_single_classification", "mr-1")
        assert told["parameters"]["seed"] == 0
    assert [f"{job['stage']}/{job['job']}" for job in first["jobs"]] == ["etl/export"]
    assert (first["model_version"], last["model_version"]) == ("", MODEL_VERSION)
    assert [(job["stage"], job["state"], job["attempt"]) for job in last["jobs"]] == [
        ("etl", "SUCCEEDED", 1),
        ("train", "SUCCEEDED", 1),
        ("inference", "launching", 1),
    ]
    train = last["jobs"][1]
    assert first["accepted"] <= train["launched"] <= train["ended"]
    assert (train["machine"], train["spot"], train["kind"]) == ("n1-standard-4", False, "CustomJob")
    assert train["resources"] == [["n1-standard-4", 1]]
    assert "train-text-classification" in train["image"] or train["image"] == "train/text_classification"


def test_a_job_knows_the_prices_of_what_its_run_holds_and_no_others() -> None:
    world = World(hourly_prices=(("n1-standard-4", 0.25), ("n1-highmem-8", 0.5)))
    world.start()
    world.complete_text_run()
    assert described(world, 2)["prices"] == {"n1-standard-4": 0.25}
    without = World()
    without.start()
    assert described(without, 0)["prices"] == {}
