"""The simulated clock and what happens when: nothing here knows of real time, and equal times keep their order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Timeline:
    """Actions in the order of their times. `pending` counts those that are work: not the scheduler's ticks."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pending = 0
        self._queue: list[tuple[float, int, bool, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0
        self._datetime = _START
        self._datetime_s = 0.0

    def now(self) -> datetime:
        """The time that handlers and servers see."""
        if self._datetime_s != self.now_s:
            self._datetime, self._datetime_s = self.when(self.now_s), self.now_s
        return self._datetime

    @staticmethod
    def when(seconds: float) -> datetime:
        """The date of a moment."""
        return _START + timedelta(seconds=seconds)

    def after(self, delay_s: float, action: Callable[..., None], *arguments: object) -> None:
        """Let something happen later; a delay of 0 means: as soon as what happens now is over."""
        self.pending += 1
        self._push(delay_s, True, action, arguments)

    def background(self, delay_s: float, action: Callable[..., None], *arguments: object) -> None:
        """As `after`, for what goes on for ever and so keeps nothing from being at rest."""
        self._push(delay_s, False, action, arguments)

    def _push(self, delay_s: float, work: bool, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._count, work, action, arguments))

    def step(self) -> None:
        """Let the next thing happen."""
        self.now_s, _, work, action, arguments = heapq.heappop(self._queue)
        if work:
            self.pending -= 1
        action(*arguments)
