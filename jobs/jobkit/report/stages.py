"""The stages of a run in its report: each attempt with its time, machine hours and cost, and all of them together.

Costs are hours at the prices that the deployment gives (its HOURLY_PRICES). No price is known to this code; where one
is missing the cost is unknown.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from jobkit.report.page import Cell, short, table
from jobkit.run_description import RunDescription

UNKNOWN = "unknown"
_BEGAN = time.monotonic()  # when this job's process loaded its code, nearly its beginning


@dataclass(frozen=True)
class Spent:
    """What one attempt took. `seconds` and `hours` are None where they are not known.

    at_most    hours are a budget, of which less may be billed
    resources  machine, accelerators or nodes that it held for all its hours, with their numbers
    """

    seconds: float | None
    hours: float | None
    at_most: bool
    resources: Sequence[tuple[str, int]]

    @classmethod
    def of(cls, job: Mapping[str, Any], so_far_s: float | None) -> "Spent":
        """Reads an attempt of the run's description; `so_far_s` are the seconds of one that has no end."""
        seconds = _seconds(str(job.get("launched", "")), str(job.get("ended", "")), so_far_s)
        budget = job.get("budget_milli_node_hours")
        hours = int(budget) / 1000 if budget else None if seconds is None else seconds / 3600
        resources = tuple((str(name), int(number)) for name, number in job.get("resources") or ())
        return cls(seconds, hours, bool(budget), resources)

    def cost(self, prices: Mapping[str, float]) -> float | None:
        """None where the hours, what was held, or a price of it is not known."""
        if self.hours is None or not self.resources or self.missing(prices):
            return None
        return sum(self.hours * number * prices[name] for name, number in self.resources)

    def missing(self, prices: Mapping[str, float]) -> set[str]:
        """What has no price."""
        return {name for name, _ in self.resources if name not in prices}


def stages_table(run: RunDescription, so_far_s: float | None = None) -> str:
    """Each attempt and their sum; "" for a job that was told nothing of its run. `so_far_s`: seconds that this job took
    until now, those of its process by default."""
    so_far_s = time.monotonic() - _BEGAN if so_far_s is None else so_far_s
    own = len(run.jobs) - 1 if run.jobs and not run.jobs[-1].get("ended") else None  # jobs are in the run's order
    each = [Spent.of(job, so_far_s if index == own else None) for index, job in enumerate(run.jobs)]
    lines = [
        _line(job, spent, run.prices, own=index == own)
        for index, (job, spent) in enumerate(zip(run.jobs, each, strict=True))
    ]
    lines += [[str(name), "taken over from an earlier run", "", "", "", ""] for name in run.reused_jobs]
    if not lines:
        return ""
    if each:
        lines.append(_total(each, run.prices))
    caption = f"Stages of run {run.run}, until this report was written"
    return table(("job", "state", "time", "machine", "hours", "cost"), lines, caption) + _note(each, run)


def _line(job: Mapping[str, Any], spent: Spent, prices: Mapping[str, float], *, own: bool) -> list[Cell]:
    name = f"{job.get('stage')}/{job.get('job')}/{job.get('attempt')}"
    node = spent.resources[0][0] if spent.resources else job.get("kind")
    beside = [f"{number} {one}" for one, number in spent.resources[1:]]
    machine = " + ".join([f"{job.get('machine') or node}{', spot' if job.get('spot') else ''}", *beside])
    took = "" if spent.seconds is None else f"{spent.seconds:.0f} s"
    state = "this job, so far" if own else str(job.get("state"))
    return [name, state, took, machine, *_amounts(spent.hours, spent.cost(prices), at_most=spent.at_most)]


def _total(each: Sequence[Spent], prices: Mapping[str, float]) -> list[Cell]:
    held = [spent for spent in each if spent.hours is not None]
    costs = [spent.cost(prices) for spent in held]
    known = [cost for cost in costs if cost is not None]
    hours, cost = sum(spent.hours or 0.0 for spent in held), sum(known) if len(known) == len(costs) else None
    return ["all", "", "", "", *_amounts(hours, cost, at_most=any(spent.at_most for spent in held))]


def _amounts(hours: float | None, cost: float | None, *, at_most: bool) -> list[Cell]:
    if hours is None:
        return ["", ""]
    most = "at most " if at_most else ""
    return [f"{most}{hours:.4f}", UNKNOWN if cost is None else f"{most}{cost:.4f}"]


def _note(each: Iterable[Spent], run: RunDescription) -> str:
    told = "Hours are from launch to end, so a wait for the machine is in them. "
    missing = sorted(set().union(*(spent.missing(run.prices) for spent in each)))
    if missing:
        told += (
            f"No cost where the deployment gives no price by the hour: it has none of {', '.join(missing)} "
            "(HOURLY_PRICES). python -m ops show counts at published prices, as far as they are known."
        )
    else:
        told += "Costs are these hours at the deployment's own prices (HOURLY_PRICES), in their currency: no bill."
    return f'<p class="note">{escape(short(told, 1000))}</p>'


def _seconds(start: str, end: str, so_far_s: float | None) -> float | None:
    if not start or not end:
        return so_far_s
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
