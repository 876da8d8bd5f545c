"""A run is the same whichever way its facts are taken in: all at once, in any order, or as they come."""

from __future__ import annotations

import random

import pytest

from orchestrator.facts import CancelRequested, Stored, Told, Trouble, decode
from orchestrator.identities import RunId
from orchestrator.run import Run, extend, fold
from tests.functions.world import World


def facts_of(world: World, run: RunId) -> list[Stored]:
    return [
        decode(data, created) for name, (data, created) in world.store.objects.items() if name.startswith(run.facts)
    ]


@pytest.fixture(scope="module")
def facts() -> tuple[RunId, list[Stored]]:
    """Every fact of a run that was retried, refused and troubled, and then completed."""
    world = World()
    run = world.start()
    world.log_hint(world.end_job(state="FAILED", message="the machine was preempted"))
    world.clock.advance(120)
    world.tick()
    world.complete_text_run()
    created = world.clock.now()
    more = [Trouble(str(number), delivery, "etl", "busy") for number in (1, 2) for delivery in (1, 2)]
    others = (CancelRequested("ann"), Told("early", "EXPORTING_DATA"))
    return run, [*facts_of(world, run), *(Stored(fact, "w", created) for fact in (*more, *others))]


def test_a_run_that_is_extended_is_the_run_that_is_folded(facts: tuple[RunId, list[Stored]]) -> None:
    run_id, stored = facts
    whole = fold(run_id, stored)
    assert whole and whole.finished and len(whole.attempts_of("etl", "export")) == 2 and len(whole.troubles) == 4
    chance = random.Random(1)
    for _ in range(40):
        order = chance.sample(stored, len(stored))
        grown: Run | None = None
        while order:
            several = [order.pop() for _ in range(min(len(order), chance.randint(1, 3)))]
            taken = [item for item in stored if item not in order]
            grown = fold(run_id, taken) if grown is None else extend(grown, several)
            assert grown == fold(run_id, taken)
        assert grown == whole
