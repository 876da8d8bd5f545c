"""The figures of many schedules, and the table that is printed of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from simulation.faults import Fault
from simulation.schedule import Result

_HEADINGS = ("schedules", "launches", "doubles created", "doubles at rest", "stuck", "repaired by reconcile")
_MOST_FAILURES = 20
NO_FAULT, EVERY = "none", "all"


@dataclass
class Row:
    """Sums over the schedules in which one fault happened."""

    schedules: int = 0
    launches: int = 0
    doubles: int = 0
    doubles_at_rest: int = 0
    stuck: int = 0
    repairs: int = 0
    broken: int = 0

    def add(self, other: Row) -> None:
        """Take another row's figures in."""
        self.schedules += other.schedules
        self.launches += other.launches
        self.doubles += other.doubles
        self.doubles_at_rest += other.doubles_at_rest
        self.stuck += other.stuck
        self.repairs += other.repairs
        self.broken += other.broken

    def figures(self) -> tuple[int, ...]:
        """In the order of the headings."""
        return self.schedules, self.launches, self.doubles, self.doubles_at_rest, self.stuck, self.repairs


@dataclass
class Table:
    """A row per fault, one of schedules without any, and one of all; and what failed, with its seed."""

    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    calls: int = 0

    def count(self, result: Result) -> None:
        """Take one schedule in."""
        found = result.findings
        row = Row(
            1, found.launches, found.doubles, found.doubles_at_rest, found.stuck, result.repairs, len(found.broken)
        )
        for name in (*(fault.value for fault in result.faults), EVERY, *(() if result.faults else (NO_FAULT,))):
            self.rows.setdefault(name, Row()).add(row)
        if found.broken and len(self.failures) < _MOST_FAILURES:
            self.failures.append((result.seed, found.broken))

    def merge(self, other: Table) -> None:
        """Take another process's table in."""
        for name, row in other.rows.items():
            self.rows.setdefault(name, Row()).add(row)
        self.failures = sorted(self.failures + other.failures)[:_MOST_FAILURES]

    @property
    def whole(self) -> Row:
        """The row of all schedules."""
        return self.rows.get(EVERY, Row())

    @property
    def verdict(self) -> str:
        """The last line."""
        whole = self.whole
        return f"duplicate jobs: {whole.doubles_at_rest}  stuck runs: {whole.stuck}  broken invariants: {whole.broken}"

    def lines(self) -> Iterator[str]:
        """The table as text. A schedule with several faults counts in the row of each."""
        names = [NO_FAULT, *(fault.value for fault in Fault), EVERY]
        width = max(map(len, names)) + 2
        yield "fault".ljust(width) + "  ".join(_HEADINGS)
        for name in names:
            if row := self.rows.get(name):
                figures = zip(row.figures(), _HEADINGS, strict=True)
                yield name.ljust(width) + "  ".join(f"{figure:>{len(heading)},}" for figure, heading in figures)
