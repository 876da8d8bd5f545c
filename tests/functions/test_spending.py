"""A deployment's caps on what a run spends: counted before each launch, and what would pass one is not launched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import BadSettings
from orchestrator.identities import RunId
from orchestrator.messages import StageRequested
from orchestrator.pipelines import read_pipelines
from orchestrator.settings import Settings
from orchestrator.spending import use_of
from tests.functions.world import SETTINGS, World

TEXT = "text_single_classification"
TEXT_HOURS = [job.timeout_s / 3600 for _, job in read_pipelines()[TEXT].jobs()]
TRAINED = {"version": 1, "outputs": {"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}}


def finished(world: World, run: RunId) -> tuple[str, str]:
    found = world.run(run).finished
    assert found
    return found.outcome, found.sentence


def test_a_launch_that_would_pass_the_cap_of_a_run_is_not_made_and_the_run_says_so() -> None:
    cap = TEXT_HOURS[0] + TEXT_HOURS[1] - 0.5  # both at their limits would pass it; what was really used decides
    for took_s, launches in ((600.0, 2), ((TEXT_HOURS[0] - 0.4) * 3600, 1)):
        world = World(max_run_hours=cap)
        run = world.start()
        assert len(world.jobs.requests) == 1
        world.clock.advance(took_s)
        world.log_hint(world.end_job(result=TRAINED))
        world.pump()
        assert len(world.jobs.requests) == launches
        if launches == 1:
            outcome, sentence = finished(world, run)
            assert outcome == "FAILED"
            assert sentence.startswith("train/fit may take") and f"{TEXT_HOURS[0] - 0.4:.4g} used so far" in sentence
            assert f"{cap:.4g} that this deployment allows a run (MAX_RUN_HOURS)" in sentence
            assert world.labelbox.statuses()[-1] == "FAILED" and world.labelbox.told[-1][3] == sentence
            assert "raise the cap" in world.labelbox.told[-1][2]["hint"]


@pytest.mark.parametrize(
    ("model_type", "changes", "words"),
    [
        (TEXT, {"max_job_hours": min(TEXT_HOURS) - 0.1}, "(MAX_JOB_HOURS)"),
        (TEXT, {"max_run_hours": 0.1}, "0 used so far would pass the 0.1 that this deployment allows a run"),
        ("image_single_classification", {"max_job_hours": 7.9}, "may take 8 machine hours"),
        (
            TEXT,
            {"max_run_cost": 5.0},
            "has no price here, and this deployment caps costs (HOURLY_PRICES)",
        ),
        (
            TEXT,
            {"max_job_cost": 5.0, "hourly_prices": (("e2-standard-4", 10.0), ("n1-standard-4", 10.0))},
            "(MAX_JOB_COST)",
        ),
        (
            "image_single_classification",
            {"max_run_cost": 20.0, "hourly_prices": (("e2-standard-4", 0.1), ("automl_image_training_node", 3.0))},
            "train/automl may cost 24.00",
        ),
    ],
)
def test_a_job_that_alone_passes_a_cap_fails_the_run_before_anything_is_launched(
    model_type: str, changes: dict[str, Any], words: str
) -> None:
    world = World(**changes)
    run = world.start(model_type)
    assert world.jobs.requests == []
    problems = world.run(run).configured
    assert problems and words in "; ".join(problems.problems)
    assert finished(world, run)[0] == "FAILED"


def test_retries_are_counted_and_the_one_that_would_pass_the_cap_is_not_made() -> None:
    took_hours = 2.2
    world = World(max_run_hours=TEXT_HOURS[0] + 2 * took_hours - 0.1)
    run = world.start()
    for launches in (1, 2, 2):
        assert len(world.jobs.requests) == launches
        if not world.run(run).finished:
            world.clock.advance(took_hours * 3600)
            world.log_hint(world.end_job(state="FAILED", message="the machine was preempted"))
            world.clock.advance(300)
            world.tick()
    assert "4.4 used so far" in finished(world, run)[1]


def test_a_lower_cap_does_not_strand_a_claim_that_may_have_made_its_job() -> None:
    world = World()
    world.jobs.lose_answer = True
    run = world.start()
    assert len(world.jobs.by_name) == 1 and world.run(run).attempts_of("etl", "export")[0].launched is None
    world.jobs.lose_answer = False
    world.services = replace(world.services, settings=replace(world.services.settings, max_run_hours=0.1))
    world.clock.advance(400)
    assert world.deliver("etl", StageRequested(run, "etl").encode(), attempt=2) == 204
    assert world.run(run).attempts_of("etl", "export")[0].launched


def test_what_a_launch_holds_is_its_machine_its_accelerators_and_whether_they_are_spot() -> None:
    pipelines = read_pipelines()
    job = pipelines[TEXT].find("train", "fit")[1]
    parameters = {name: item.default for name, item in pipelines[TEXT].parameters.items()}
    given = {"machine": "n1-standard-8", "accelerator": "NVIDIA_TESLA_T4", "accelerator_count": 2, "spot": True}
    use = use_of(job, {**parameters, **given}, 2.0)
    assert dict(use.resources) == {"n1-standard-8/spot": 1, "NVIDIA_TESLA_T4/spot": 2}
    assert use.cost({"n1-standard-8/spot": 0.5, "NVIDIA_TESLA_T4/spot": 0.25}) == 2.0


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("MAX_RUN_HOURS", "0", "above 0"),
        ("MAX_JOB_COST", "inf", "above 0"),
        ("MAX_RUN_COST", "much", "cannot be read"),
        ("HOURLY_PRICES", "n1-standard-4=-1", "not negative"),
        ("HOURLY_PRICES", "n1-standard-4", "cannot be read"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_when_a_function_starts(name: str, text: str, words: str) -> None:
    environment = {
        "GOOGLE_CLOUD_PROJECT": "p",
        "REGION": "r",
        "DEPLOYMENT_NAME": "d",
        "BUCKET": "b",
        "JOB_SERVICE_ACCOUNT": "a",
        "IMAGE_REPOSITORY": "i",
        "LABELBOX_API_KEY": "k",
        "SERVICE_SECRET": "s",
    }
    assert Settings.from_environment(environment).max_run_hours is SETTINGS.max_run_hours is None
    with pytest.raises(BadSettings, match=words):
        Settings.from_environment({**environment, name: text})
