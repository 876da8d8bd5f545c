"""One page of a list that is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items `first` to `last` (from 1) of `total`; `number` counts from 1 and is at least 1 even of nothing."""

    items: tuple[Item, ...]
    number: int
    count: int
    total: int
    size: int

    @property
    def first(self) -> int:
        """The place of the first item, from 1; 0 where there is none."""
        return (self.number - 1) * self.size + 1 if self.items else 0

    @property
    def last(self) -> int:
        """The place of the last item."""
        return self.first + len(self.items) - 1 if self.items else 0


def page_of(everything: Sequence[Item], number: str | None, size: int) -> Page[Item]:
    """The page that a request names; what is no number means the first, what is too high the last."""
    count = max(1, -(-len(everything) // size))
    wanted = int(number) if number and number.isdecimal() and len(number) < 10 else 1
    chosen = min(max(wanted, 1), count)
    items = everything[(chosen - 1) * size : chosen * size]
    return Page(tuple(items), chosen, count, len(everything), size)
