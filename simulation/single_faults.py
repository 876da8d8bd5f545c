"""The table of single faults: where nothing else goes wrong, each fault at each place, one at a time."""

from __future__ import annotations

from collections.abc import Iterator

from simulation.faults import CHANCES, Fault, Forced, Place
from simulation.schedule import places

# Schedules without faults of their own: three custom jobs, and two runs of a pipeline whose ends nobody announces.
BASES = (2, 7)
_ANYWHERE = (
    Fault.CRASH,
    Fault.STALL,
    Fault.TICK,
    Fault.REPOST,
    Fault.CANCEL,
    Fault.RETRY,
    Fault.DEPLOY,
    Fault.DELETED,
)
_BEFORE_EFFECT = (Fault.REFUSED, Fault.ANSWER_LOST)
# Later occurrences of a place repeat the earlier ones with another job; three stages make three of most.
_MOST_OCCURRENCES, _MOST_EVENTS = 3, 40


def single_faults(base: int) -> Iterator[Forced]:
    """Every fault that can be forced on a schedule without faults."""
    of_events = {f"at {fault.value}": fault for fault in CHANCES}
    for place, times in places(base).items():
        faults = (of_events[place],) if place in of_events else faults_at(place)
        most = _MOST_EVENTS if place in of_events else _MOST_OCCURRENCES
        for fault in faults:
            for occurrence in range(1, min(times, most) + 1):
                yield Forced(place, occurrence, fault)


def faults_at(place: str) -> tuple[Fault, ...]:
    """What can go wrong at a place."""
    when, name = place.split(" ")[:2]
    if when != Place.BEFORE_EFFECT.value.strip():
        return _ANYWHERE
    if name == "bucket.create":
        return (*_ANYWHERE, *_BEFORE_EFFECT, Fault.OWN_412)
    return (*_ANYWHERE, *_BEFORE_EFFECT) if is_effect(name) else (*_ANYWHERE, Fault.REFUSED)


def is_effect(call: str) -> bool:
    """Whether a call changes something."""
    return call.split(".")[1] in ("create", "delete", "publish", "tell", "cancel")
