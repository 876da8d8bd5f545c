"""The queue of jobs: so many run at once, the others wait in the order in which they came."""

import threading
from collections import deque


class Slots:
    """A fair counting lock. `wake` is shared with the jobs' lives, so a cancel ends a wait at once."""

    def __init__(self, number: int, wake: threading.Condition) -> None:
        self._free = number
        self._wake = wake
        self._queue: deque[str] = deque()

    def join(self, name: str) -> None:
        """Take a place in the queue; called when a job is created, so that its order is that of creation."""
        with self._wake:
            self._queue.append(name)

    def try_enter(self, name: str) -> bool:
        """Enter when a slot is free and nobody is ahead; the caller holds `wake` and waits on it otherwise."""
        if self._free > 0 and self._queue and self._queue[0] == name:
            self._queue.popleft()
            self._free -= 1
            return True
        return False

    def enter_at_once(self, name: str) -> None:
        """Enter without waiting: a job that runs already, found again after a restart."""
        with self._wake:
            self._forget(name)
            self._free -= 1

    def leave(self) -> None:
        """Give a slot back."""
        with self._wake:
            self._free += 1
            self._wake.notify_all()

    def give_up(self, name: str) -> None:
        """Leave the queue without having entered."""
        with self._wake:
            self._forget(name)
            self._wake.notify_all()

    def _forget(self, name: str) -> None:
        if name in self._queue:
            self._queue.remove(name)
