"""Handlers as threads that take turns: each can be stalled anywhere and thawed later, in an order the seed fixes.

Greenlets, because a handler is plain synchronous code: it stops inside a port and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local

from greenlet import getcurrent, greenlet

from simulation.timeline import Timeline


class Died(BaseException):
    """The process of this handler is gone; nothing may catch it."""


def _nothing() -> None:
    return


class _Worker:
    """A greenlet that runs one thread after another: making one costs more than most handlers do."""

    __slots__ = ("_greenlet", "_idle", "_scheduler", "body")

    def __init__(self, scheduler: greenlet, idle: list[_Worker]) -> None:
        self._scheduler, self._idle = scheduler, idle
        self.body: Callable[[], None] = _nothing
        self._greenlet = greenlet(self._work, scheduler)

    def _work(self) -> None:
        while True:
            self.body()
            self.body = _nothing  # else the last schedule's whole world would stay
            self._idle.append(self)
            self._scheduler.switch()

    def continue_(self) -> None:
        """Run until the body pauses or ends."""
        self._greenlet.switch()


# Idle workers of this (operating system's) thread, whatever schedule they worked for before.
_IDLE = local()


class Thread:
    """One request being handled."""

    __slots__ = ("began_s", "disturbed", "done", "forget", "name", "stalled_s", "worker")

    def __init__(self, name: str, began_s: float, worker: _Worker, forget: Callable[[], None]) -> None:
        self.name, self.began_s, self.worker = name, began_s, worker
        self.forget = forget  # what its death makes its instance forget
        self.done = False
        self.stalled_s = 0.0  # all its stalls together
        self.disturbed = False  # a port failed on it or it was stalled


class Threads:
    """All handlers at work. `current` is the one that runs now."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._scheduler = getcurrent()
        if getattr(_IDLE, "scheduler", None) is not self._scheduler:
            _IDLE.scheduler, _IDLE.workers = self._scheduler, []
        self._idle: list[_Worker] = _IDLE.workers
        self._count = 0
        self.current: Thread | None = None
        self.open = 0

    def start(
        self, name: str, work: Callable[[], int], ended: Callable[[int | None], None], forget: Callable[[], None]
    ) -> Thread:
        """Run `work` in a thread of its own, at once, until it first pauses. `ended` gets its answer, or None if it
        died; then `forget` was called before. Only the scheduler starts threads."""
        self._count += 1
        worker = self._idle.pop() if self._idle else _Worker(self._scheduler, self._idle)
        thread = Thread(f"{name}#{self._count}", self._timeline.now_s, worker, forget)

        def body() -> None:
            answer: int | None
            try:
                answer = work()
            except Died:
                answer = None
            thread.done = True
            self.open -= 1
            ended(answer)

        worker.body = body
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
        thread.worker.continue_()
        self.current = None
