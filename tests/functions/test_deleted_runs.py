"""A model run that was deleted in Labelbox: its jobs are cancelled, and nothing more is told."""

from __future__ import annotations

import pytest

from orchestrator.deleted_runs import MOST_A_TICK, look_for_deleted
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.identities import RunId
from tests.functions.world import World


def delete(world: World) -> None:
    world.labelbox.configs.clear()
    world.labelbox.error = LabelboxRefused("unknown", "RESOURCE_NOT_FOUND")


def assert_stopped(world: World, run: RunId) -> None:
    cancel = world.run(run).cancel
    assert cancel and (cancel.by, cancel.reason, cancel.gone) == ("Labelbox", "the model run was deleted", True)
    world.pump()
    world.tick()
    job = next(iter(world.jobs.by_name))
    assert job in world.jobs.cancelled
    world.log_hint(world.end_job(job, state="CANCELLED"))
    world.pump()
    finished = world.run(run).finished
    assert finished and finished.outcome == "FAILED"
    assert finished.sentence == "Cancelled by Labelbox: the model run was deleted"
    assert len(world.jobs.by_name) == 1


def test_a_deletion_during_a_long_job_is_noticed_by_looking_and_stops_it() -> None:
    world = World()
    run = world.start()
    told = len(world.labelbox.told)
    delete(world)
    ticks = 0
    while world.run(run).cancel is None:
        world.clock.advance(60)
        world.tick()
        ticks += 1
        assert ticks <= 15, "each run has its turn once in deleted_check_s"
    assert_stopped(world, run)
    world.labelbox.error = None  # whoever answers now is told nothing all the same
    world.clock.advance(1200)
    world.tick()
    assert len(world.labelbox.told) == told
    assert not [name for name in world.store.objects if name.startswith("active/")]


def test_a_deletion_is_noticed_when_a_status_is_told() -> None:
    world = World()
    run = world.start()
    delete(world)
    labels = next(iter(world.jobs.by_name.values())).labels
    name = f"endings/{run.slug}/{run.number}/{labels['lb_attempt']}/1000/phase-PREPARING_DATA.json"
    assert world.object_hint(name) == 204
    assert_stopped(world, run)


@pytest.mark.parametrize(
    "error", [LabelboxUnavailable("Labelbox answered 503"), LabelboxRefused("key", "AUTHENTICATION_ERROR")]
)
def test_a_labelbox_that_is_down_or_refuses_the_key_stops_nothing(error: Exception) -> None:
    world = World()
    run = world.start()
    world.labelbox.error = error
    for _ in range(20):
        world.clock.advance(60)
        world.tick()
    assert world.run(run).cancel is None and world.jobs.cancelled == []


def test_a_status_that_alone_is_refused_is_no_deletion() -> None:
    world = World()
    tell = world.labelbox.tell

    def refuse(model_run_id: str, telling: object) -> None:
        raise LabelboxRefused("unknown", "the experimental operation does not know it")

    world.labelbox.tell = refuse  # type: ignore[method-assign,assignment]
    run = world.start()
    world.labelbox.tell = tell  # type: ignore[method-assign]
    assert world.run(run).cancel is None
    world.complete_text_run()
    finished = world.run(run).finished
    assert finished and finished.outcome == "COMPLETE"


def test_looking_costs_a_few_calls_a_tick_and_misses_no_run_however_many_there_are() -> None:
    world = World(deleted_check_s=60.0, max_active_runs=1000, max_runs_per_day=1000)
    runs = []
    for number in range(25):
        world.labelbox.configs[f"mr-{number}"] = {}
        runs.append(world.start(model_run_id=f"mr-{number}"))
    looked: set[str] = set()
    real = world.labelbox.look_up

    def look_up(model_run_id: str) -> object:
        looked.add(model_run_id)
        return real(model_run_id)

    world.labelbox.look_up = look_up  # type: ignore[method-assign,assignment]
    for _ in range(3):
        before = world.labelbox.look_ups
        look_for_deleted(world.services.begin(), runs)
        assert world.labelbox.look_ups - before <= MOST_A_TICK
        world.clock.advance(60)
    assert len(looked) == 25
