"""A tick's cost follows what changed: pages of two listings, and the facts of the few runs that need a look."""

from __future__ import annotations

from benchmarks.reconcile import CALLS_A_CHANGED_RUN, measure


def test_a_tick_over_many_runs_costs_its_pages_and_what_changed() -> None:
    few, many, busy = measure(500, 3), measure(2000, 3), measure(2000, 9)
    for found in (few, many, busy):
        assert found["went_on"] == found["changed"]
        assert found["calls"] <= found["calls_allowed"], found
    assert many["calls"] - few["calls"] <= many["pages"] - few["pages"]
    assert busy["calls"] - many["calls"] <= 6 * CALLS_A_CHANGED_RUN
