"""Faults: what can go wrong, how often, and the dice of one seed that decide when."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from random import Random


class Fault(Enum):
    """What can go wrong, or come in between. The value is how the table names it."""

    CRASH = "handler dies"
    STALL = "handler stalls, thawed later"
    REFUSED = "call refused or timed out"
    ANSWER_LOST = "effect applied, answer lost"
    OWN_412 = "412 on one's own write"
    QUOTA = "Vertex: 429 on create"
    SURE_NO = "Vertex: sure refusal"
    STALE_LIST = "lists up to 30 s stale"
    LOST = "hint lost"
    DUPLICATED = "message duplicated"
    REORDERED = "message reordered"
    DELAYED = "message delayed past the hold"
    WRONG_HINT = "hint that is not true"
    TICK = "reconcile between two steps"
    REPOST = "the same POST again"
    CANCEL = "user cancels"
    RETRY = "retry from a stage"
    DELETED = "model run deleted in Labelbox"
    BAD_CONFIG = "config that cannot be"
    LIMITED = "deployment allows few runs"
    CAPPED = "deployment caps what a run spends"
    DEPLOY = "deploy in the middle"
    JOB_FAILS = "job fails"

    __hash__ = object.__hash__  # enum's own is slow; nothing depends on the order of a set of faults


class Place(Enum):
    """Where a handler can be interrupted."""

    POINT = "at"  # a crash point that the engine names
    BEFORE_READ = "before"
    BEFORE_EFFECT = "before "
    AFTER_EFFECT = "after"

    __hash__ = object.__hash__


# Not a fault: another handler's turn. Even a schedule without faults has these.
PAUSE = "pause"

_ANYWHERE = {
    Fault.CRASH: 3.0,
    Fault.STALL: 3.0,
    Fault.TICK: 1.0,
    Fault.REPOST: 0.5,
    Fault.CANCEL: 0.15,
    Fault.DEPLOY: 0.5,
    Fault.RETRY: 0.5,
    Fault.DELETED: 0.1,
}
_WEIGHTS: dict[Place, dict[Fault, float]] = {
    Place.POINT: _ANYWHERE,
    Place.BEFORE_READ: _ANYWHERE | {Fault.REFUSED: 3.0},
    Place.BEFORE_EFFECT: _ANYWHERE | {Fault.REFUSED: 2.0, Fault.ANSWER_LOST: 3.0, Fault.OWN_412: 1.0},
    Place.AFTER_EFFECT: _ANYWHERE,
}
# Chances of what is drawn per event and not per step of a handler.
CHANCES = {
    Fault.QUOTA: 0.15,
    Fault.SURE_NO: 0.02,
    Fault.LOST: 0.25,
    Fault.DUPLICATED: 0.15,
    Fault.REORDERED: 0.3,
    Fault.DELAYED: 0.05,
    Fault.WRONG_HINT: 0.5,
    Fault.STALE_LIST: 1.0,
    Fault.JOB_FAILS: 0.12,
    Fault.BAD_CONFIG: 0.15,
    Fault.LIMITED: 0.3,
    Fault.CAPPED: 0.5,
}
_INTENSITIES = (0.004, 0.012, 0.03, 0.08)
_PAUSES = (0.0, 0.02, 0.1, 0.3)


@dataclass(frozen=True)
class Forced:
    """One fault at one place: the `occurrence`-th time (from 1) that a handler comes to `place`."""

    place: str
    occurrence: int
    fault: Fault


class Dice:
    """Everything random of one schedule, from one seed.

    Each seed draws which faults may happen at all, and how often handlers are interrupted, so that some schedules
    are rough and some hold one fault alone. `forced` replaces chance by that one fault.
    """

    def __init__(self, seed: int, forced: Forced | None = None, quiet: bool = False) -> None:
        self.random = Random(seed)  # noqa: S311 - chance, not secrecy
        self.happened: Counter[Fault] = Counter()
        self.forced = forced
        self.places: Counter[str] | None = Counter() if forced or quiet else None
        self.enabled: frozenset[Fault] = frozenset()
        self._fault_rate = 0.0
        if not (forced or quiet):
            self._draw_profile()
        self._pause_rate = 0.0 if forced or quiet else self.random.choice(_PAUSES)
        self._tables = {place: self._table(place) for place in Place}
        self._left = self._gap()

    def _draw_profile(self) -> None:
        shape = self.random.random()
        every = list(Fault)
        if shape < 0.1:
            return
        count = 1 if shape < 0.25 else self.random.randint(2, len(every))
        self.enabled = frozenset(self.random.sample(every, count))
        self._fault_rate = self.random.choice(_INTENSITIES)

    def _table(self, place: Place) -> tuple[list[Fault], list[float], float]:
        items = [(fault, weight) for fault, weight in _WEIGHTS[place].items() if fault in self.enabled]
        full = sum(_WEIGHTS[place].values())
        faults = [fault for fault, _ in items]
        weights = [weight for _, weight in items]
        return faults, weights, self._fault_rate * sum(weights) / full if items else 0.0

    def _gap(self) -> int:
        """How many places are passed before the next that may be an interruption (geometric)."""
        rate = self._fault_rate + self._pause_rate
        if rate <= 0.0:
            return 1 << 60
        return int(math.log(1.0 - self.random.random()) / math.log(1.0 - rate))

    def meet(self, place: Place, name: str, detail: str) -> Fault | str | None:
        """What happens to a handler that comes to a place: a fault, a pause, or (mostly) nothing."""
        if self.places is not None:
            return self._meet_forced(place, name, detail)
        if self._left > 0:
            self._left -= 1
            return None
        self._left = self._gap()
        faults, weights, rate = self._tables[place]
        drawn = self.random.random() * (self._fault_rate + self._pause_rate)
        if drawn < rate:
            return self.random.choices(faults, weights)[0]
        return PAUSE if drawn >= self._fault_rate else None

    def _meet_forced(self, place: Place, name: str, detail: str) -> Fault | None:
        assert self.places is not None
        full = place_name(place, name, detail)
        self.places[full] += 1
        forced = self.forced
        if forced and forced.place == full and forced.occurrence == self.places[full]:
            return forced.fault
        return None

    def happens(self, fault: Fault) -> bool:
        """Whether a fault that is drawn per event happens now; it is counted."""
        if self.places is not None:
            if self._meet_forced(Place.POINT, fault.value, "") is None:
                return False
        elif fault not in self.enabled or self.random.random() >= CHANCES[fault]:
            return False
        self.happened[fault] += 1
        return True

    def calm(self) -> None:
        """No faults by chance from now on; what has been drawn already still comes."""
        self.enabled = frozenset()
        self._fault_rate = 0.0
        self._tables = {place: ([], [], 0.0) for place in Place}


def place_name(place: Place, name: str, detail: str) -> str:
    """A place in words that stay the same from run to run: `before bucket.create launched`."""
    if not detail:
        return f"{place.value.strip()} {name}"
    if name.startswith("bucket."):
        detail = _kind_of_object(detail)
    return f"{place.value.strip()} {name} {detail}"


def _kind_of_object(path: str) -> str:
    parts = path.rstrip("/").split("/")
    if parts[0] == "active":
        return "the look marker" if path.endswith(".look") else "the active markers"
    if parts[0] == "facts" and parts[1] == "days":
        return "the day's runs"
    if parts[0] in ("endings", "dead"):
        return f"{parts[0]}/"
    if parts[0] == "facts" and len(parts) <= 4:
        return "the facts"
    if parts[4] in ("told", "trouble"):
        return parts[4]
    return parts[-1].removesuffix(".json").rsplit("-", 1)[0]
