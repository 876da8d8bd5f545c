"""Handlers as threads that take turns: each can be stalled anywhere and thawed later, in an order the seed fixes.

Greenlets, because a handler is plain synchronous code: it stops inside a port and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import getcurrent, greenlet

from simulation.timeline import Timeline


class Died(BaseException):
    """The process of this handler is gone; nothing may catch it."""


class Thread:
    """One request being handled."""

    __slots__ = ("_greenlet", "began_s", "disturbed", "done", "name", "stalled_s")

    def __init__(self, name: str, began_s: float) -> None:
        self.name, self.began_s = name, began_s
        self.done = False
        self.stalled_s = 0.0  # all its stalls together
        self.disturbed = False  # a port failed on it or it was stalled
        self._greenlet: greenlet | None = None

    def continue_(self) -> None:
        """Run until it pauses or ends."""
        assert self._greenlet is not None
        self._greenlet.switch()

    def enter(self, body: Callable[[], None]) -> None:
        """Make the body what this thread runs."""
        self._greenlet = greenlet(body)


class Threads:
    """All handlers at work. `current` is the one that runs now."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._scheduler = getcurrent()
        self._count = 0
        self.current: Thread | None = None
        self.open = 0

    def start(self, name: str, work: Callable[[], int], ended: Callable[[int | None], None]) -> Thread:
        """Run `work` in a thread of its own, at once, until it first pauses. `ended` gets its answer, or None if it
        died. Only the scheduler starts threads."""
        self._count += 1
        thread = Thread(f"{name}#{self._count}", self._timeline.now_s)

        def body() -> None:
            answer: int | None
            try:
                answer = work()
            except Died:
                answer = None
            thread.done = True
            self.open -= 1
            ended(answer)

        thread.enter(body)
        self.open += 1
        self._run(thread)
        return thread

    def pause(self, delay_s: float) -> None:
        """Let others run for this long; called by the thread that runs."""
        assert self.current is not None
        self._timeline.after(delay_s, self._run, self.current)
        self._scheduler.switch()

    def _run(self, thread: Thread) -> None:
        self.current = thread
        thread.continue_()
        self.current = None
