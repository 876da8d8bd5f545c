"""A tick's cost follows what changed: pages of two listings, and the facts of the few runs that need a look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.reconcile import CALLS_A_CHANGED_RUN, CALLS_A_LOOK, measure

BEGUN = datetime(2026, 11, 28, tzinfo=UTC)


# Of 500 runs, one that changed has its turn to be looked up at the first and last of these minutes, none at the other.
@pytest.mark.parametrize("minute", [0, 7, 40])
def test_a_tick_over_many_runs_costs_its_pages_and_what_changed(minute: int) -> None:
    begun = BEGUN + timedelta(minutes=minute)
    few, many, busy = (measure(runs, changed, begun=begun) for runs, changed in ((500, 3), (2000, 3), (2000, 9)))
    for found in (few, many, busy):
        assert found["went_on"] == found["changed"]
        assert found["calls"] <= found["calls_allowed"], found
    spared = CALLS_A_LOOK * few["changed"]  # at most, where changed runs have their turn
    assert many["calls"] - few["calls"] <= many["pages"] - few["pages"] + spared
    assert busy["calls"] - many["calls"] <= 6 * CALLS_A_CHANGED_RUN
