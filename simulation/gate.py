"""The gate that every call of a handler passes: here it is counted, traced, interrupted, refused or lost."""

from __future__ import annotations

from collections.abc import Callable

from simulation.faults import PAUSE, Dice, Fault, Place
from simulation.threads import Died, Threads
from simulation.timeline import Timeline

CALL_DEADLINE_S = 20.0
_REQUEST_S = 30.0
_EVENTS = frozenset({Fault.TICK, Fault.REPOST, Fault.CANCEL, Fault.RETRY, Fault.DEPLOY, Fault.DELETED})
_OF_EFFECTS = frozenset({Fault.REFUSED, Fault.ANSWER_LOST, Fault.OWN_412})


class Gate:
    """Between the handlers and the world. What it returns is the fault that the port itself must act out."""

    def __init__(self, timeline: Timeline, threads: Threads, dice: Dice, longest_stall_s: float) -> None:
        self._timeline, self._threads, self._dice = timeline, threads, dice
        self._longest_stall_s = longest_stall_s
        self.on_event: Callable[[Fault], None] = lambda _fault: None
        self.trace: list[str] | None = None
        self.calls = 0
        self.crashes = 0
        self.last_change_s = 0.0

    def reached(self, point: str) -> None:
        """A crash point that the engine names."""
        if event := self._dice.meet(Place.POINT, point, ""):
            self._interrupt(event, f"at {point}")

    def read(self, name: str, detail: str) -> bool:
        """Before a call that changes nothing. True if the port must fail."""
        self.calls += 1
        if self.trace is not None:
            self.note(f"{name} {detail}")
        event = self._dice.meet(Place.BEFORE_READ, name, detail)
        return event is not None and self._interrupt(event, f"before {name}") is not None

    def effect(self, name: str, detail: str) -> Fault | None:
        """Before a call that changes something."""
        self.calls += 1
        if self.trace is not None:
            self.note(f"{name} {detail}")
        event = self._dice.meet(Place.BEFORE_EFFECT, name, detail)
        return None if event is None else self._interrupt(event, f"before {name}")

    def applied(self, name: str, detail: str) -> None:
        """After a call that changed something, before its answer is used."""
        self.changed()
        if event := self._dice.meet(Place.AFTER_EFFECT, name, detail):
            self._interrupt(event, f"after {name}")

    def changed(self) -> None:
        """Something in the world is different now."""
        self.last_change_s = self._timeline.now_s

    def note(self, text: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            thread = self._threads.current
            self.trace.append(f"{self._timeline.now_s:10.1f} s  {thread.name if thread else '-':<16} {text}")

    def _interrupt(self, event: Fault | str, where: str) -> Fault | None:
        thread = self._threads.current
        assert thread is not None
        random = self._dice.random
        if event == PAUSE:
            # Ordinary waiting: long enough for any order of two handlers, and within the time of a request.
            left_s = max(0.5, _REQUEST_S - (self._timeline.now_s - thread.began_s))
            self._threads.pause(min(left_s, random.random() * random.choice((0.05, 2.0, 20.0))))
            return None
        assert isinstance(event, Fault)
        if event is not Fault.OWN_412:
            self._dice.happened[event] += 1
        if self.trace is not None:
            self.note(f"*** {event.value} ({where})")
        if event is Fault.CRASH:
            # The instance is gone, and what it had read with it.
            self.crashes += 1
            thread.forget()
            raise Died
        if event is Fault.STALL:
            thread.disturbed = True
            stall_s = random.random() * (self._longest_stall_s - thread.stalled_s)
            thread.stalled_s += stall_s
            self._threads.pause(stall_s)
            if self.trace is not None:
                self.note("*** thawed")
            return None
        if event in _EVENTS:
            self.on_event(event)
            self._threads.pause(random.choice((0.0, 0.0, 1.0)))
            return None
        assert event in _OF_EFFECTS
        if event is not Fault.OWN_412:
            thread.disturbed = True
            if random.random() < 0.3:
                self._threads.pause(CALL_DEADLINE_S * random.random())
        return event
