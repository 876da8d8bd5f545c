"""Progress of a job in its log: one JSON line a message, at most one a few seconds for a running count."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

EVERY_S = 5.0


def say(message: str, *, severity: str = "INFO", **fields: str | int | float | None) -> None:
    """Writes one log line; Cloud Logging reads `severity` and `message`. Never pass texts, labels or secrets."""
    line = json.dumps({"severity": severity, "message": message, **fields}, ensure_ascii=False)
    sys.stdout.write(line + "\n")  # one write a line: threads must not interleave
    sys.stdout.flush()


class Progress:
    """Counts steps and says now and then how many are done, how fast, and how long the rest may take."""

    def __init__(
        self,
        what: str,
        total: int | None = None,
        every_s: float = EVERY_S,
        more: Callable[[float], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """`more` gives further figures for the log, told the seconds since the start."""
        self._what = what
        self._total = total
        self._every_s = every_s
        self._more = more
        self._started = self._said = time.monotonic()
        self.done = 0

    def step(self, count: int = 1) -> None:
        """Notes that `count` more are done."""
        self.done += count
        now = time.monotonic()
        if now - self._said >= self._every_s:
            self._said = now
            self._say(now)

    def finish(self) -> None:
        """Says the final count."""
        self._say(time.monotonic())

    def _say(self, now: float) -> None:
        elapsed_s = max(now - self._started, 1e-6)
        rate = self.done / elapsed_s
        left_s = None
        if self._total is not None and rate > 0:
            left_s = round(max(self._total - self.done, 0) / rate, 1)
        more = self._more(elapsed_s)
        say(self._what, done=self.done, total=self._total, per_s=round(rate, 1), left_s=left_s, **more)
