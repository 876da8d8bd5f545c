"""One schedule: from the first request until the world is at rest, and what was found there."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import logs
from simulation.faults import Dice, Fault, Forced
from simulation.invariants import Findings, check
from simulation.world import World

_STORMS_S = (600.0, 600.0, 1500.0, 4000.0)
_LONGEST_S = 400_000.0
_MOST_EVENTS = 40_000
REST_HOLDS, REST_TICKS = 3, 3
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Result:
    """What one schedule came to."""

    seed: int
    faults: frozenset[Fault]
    findings: Findings
    repairs: int
    events: int
    trace: tuple[str, ...] = ()


class Schedule:
    """Runs a world: faults for a while, then none, until nothing is left to happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._storm_s = world.dice.random.choice(_STORMS_S)
        self._calm = False
        self.events = 0

    def run(self) -> bool:
        """Whether it came to rest. At rest: faults off, every thread done, every job ended, then three holds and
        three ticks in which nothing changes."""
        world, timeline = self.world, self.world.timeline
        world.begin()
        while timeline.now_s < _LONGEST_S and self.events < _MOST_EVENTS:
            timeline.step()
            self.events += 1
            if not self._calm and timeline.now_s >= self._storm_s:
                self._begin_calm()
            if self._calm and timeline.pending == 0 and self._is_rest():
                return True
        return False

    def _begin_calm(self) -> None:
        self._calm = True
        self.world.calm_since_s = self.world.timeline.now_s
        self.world.dice.calm()
        self.world.gate.note("--- no faults from now on")

    def _is_rest(self) -> bool:
        world = self.world
        if not world.bucket.names("active/") and not world.vertex.live():
            return True  # nothing that a tick could look at: the ticks to come would find two empty lists
        settings = world.settings
        quiet_s = world.timeline.now_s - max(world.gate.last_change_s, self._storm_s)
        needed_s = REST_HOLDS * settings.claim_hold_s + (REST_TICKS + 1) * settings.reconcile_period_s
        if world.bucket.has_unaccepted_marker():
            needed_s += ABANDONED_S
        return quiet_s > needed_s


def run_schedule(seed: int, forced: Forced | None = None, quiet: bool = False, trace: bool = False) -> Result:
    """Play one seed. The same arguments give the same result, whatever ran before."""
    dice = Dice(seed, forced, quiet)
    world = World(dice, trace)
    schedule = Schedule(world)
    try:
        rested = schedule.run()
    finally:
        logs.redirect(None)
    findings = check(world, rested)
    return Result(
        seed=seed,
        faults=frozenset(dice.happened),
        findings=findings,
        repairs=world.repairs,
        events=schedule.events,
        trace=tuple(world.gate.trace or ()),
    )


def places(seed: int) -> dict[str, int]:
    """Every place that a schedule without faults comes to, and how often: what a forced fault may name."""
    dice = Dice(seed, quiet=True)
    schedule = Schedule(World(dice))
    try:
        schedule.run()
    finally:
        logs.redirect(None)
    return dict(dice.places or {})
