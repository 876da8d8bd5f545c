"""Where an entity stands in a text: Labelbox's locations read, checked against their token, and written back. Pure.

Labelbox's `end` is inclusive (https://docs.labelbox.com/reference/export-text-annotations). What its offsets count is
not documented, so each location is checked against the token that the export repeats: by code points first, else by
UTF-16 units (what a browser counts: an emoji is two). Inside, spans are code points with an exclusive end.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

CODE_POINTS = "code_points"
UTF16 = "utf16"
UNITS = (CODE_POINTS, UTF16)

NO_LOCATION = "no_location"
REVERSED = "end_before_start"
PAST_THE_END = "past_the_end"
TOKEN_DIFFERS = "token_differs"  # noqa: S105 - a reason, not a secret

Span = tuple[int, int]  # code points, end exclusive

_PAIR = re.compile("[\U00010000-\U0010ffff]")  # a character that is two UTF-16 units


class Entity(NamedTuple):  # millions are made: a third of a dataclass's time
    """One entity of a text; `start` and `end` are code points, the end is exclusive."""

    start: int
    end: int
    name: str
    confidence: float = 1.0


class Units:
    """Translates between code points and UTF-16 units of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Else both units are the same. An encoder counts units far quicker than a look at each character.
        self.wide = not text.isascii() and len(text.encode("utf-16-le", "surrogatepass")) > 2 * len(text)

    @cached_property
    def _pairs(self) -> tuple[list[int], list[int]]:
        """Where the characters of two units begin: in code points, and in UTF-16 units."""
        points = [found.start() for found in _PAIR.finditer(self._text)]
        return points, [point + before for before, point in enumerate(points)]

    def to_utf16(self, offset: int) -> int:
        """The UTF-16 offset of a code point's."""
        return offset + bisect_left(self._pairs[0], offset) if self.wide else offset

    def from_utf16(self, offset: int) -> int | None:
        """The code point at a UTF-16 offset; None past the end or inside a pair."""
        if self.wide:
            begins = self._pairs[1]
            before = bisect_left(begins, offset)
            if before and begins[before - 1] == offset - 1:
                return None
            offset -= before
        return offset if offset <= len(self._text) else None


def location_of(start: int, end: int, units: Units, unit: str) -> tuple[int, int]:
    """Labelbox's (start, end inclusive) of a span, in the unit that the text's labels count in."""
    if unit == UTF16:
        return units.to_utf16(start), units.to_utf16(end) - 1
    return start, end - 1


class Located(NamedTuple):
    """What a location means: by code points, by UTF-16 units (None where it does not fit), or why neither fits."""

    points: Span | None = None
    utf16: Span | None = None
    reason: str = ""

    def span(self, unit: str) -> Span | None:
        """The span by the unit that goes first, else by the other."""
        first, second = (self.utf16, self.points) if unit == UTF16 else (self.points, self.utf16)
        return first or second


def locate(text: str, location: object, units: Units) -> Located:
    """Reads one location of the export; offsets may be numbers or digits. A location without a token is only checked
    against the text's length."""
    if not isinstance(location, dict):
        return Located(reason=NO_LOCATION)
    start, last = location.get("start"), location.get("end")
    if type(start) is not int or type(last) is not int:
        start, last = _whole(start), _whole(last)
    if start is None or last is None or start < 0:
        return Located(reason=NO_LOCATION)
    if last < start:
        return Located(reason=REVERSED)
    token = location.get("token")
    token = token if isinstance(token, str) else None
    end = last + 1
    if token and not units.wide and text[start:end] == token and len(token) == end - start:  # nearly all entities
        span = (start, end)
        return Located(span, span)
    inside = end <= len(text)
    points = (start, end) if inside and (token is None or text[start:end] == token) else None
    if not units.wide:
        if points is None:
            return Located(reason=TOKEN_DIFFERS if inside else PAST_THE_END)
        return Located(points, points)
    utf16, inside_utf16 = _by_utf16(text, start, end, token, units)
    reason = "" if points or utf16 else TOKEN_DIFFERS if inside or inside_utf16 else PAST_THE_END
    return Located(points, utf16, reason)


def _by_utf16(text: str, start: int, end: int, token: str | None, units: Units) -> tuple[Span | None, bool]:
    first, after = units.from_utf16(start), units.from_utf16(end)
    inside = end <= units.to_utf16(len(text))
    if first is None or after is None or (token is not None and text[first:after] != token):
        return None, inside
    return (first, after), inside


def _whole(value: object) -> int | None:
    """An offset as a number, whole or written in digits; None for anything else."""
    if type(value) is int:  # not a bool
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    return None


def unit_of(located: Sequence[Located]) -> str:
    """The unit that a text's locations count in; "" where they fit both or contradict each other."""
    points = any(one.points and not one.utf16 for one in located)
    utf16 = any(one.utf16 and not one.points for one in located)
    if points == utf16:
        return ""
    return CODE_POINTS if points else UTF16


def without_overlaps(entities: Sequence[Entity]) -> tuple[tuple[Entity, ...], int, int]:
    """(entities of which no two overlap, in the text's order; duplicates dropped; overlapping ones dropped).

    Of two that overlap the longer stays, of equally long ones the one that stands or was named first.
    """
    if not any(before.end > after.start for before, after in pairwise(entities)):
        return tuple(entities), 0, 0  # nearly all texts
    distinct = dict.fromkeys(entities)
    duplicates = len(entities) - len(distinct)
    kept: list[Entity] = []
    starts: list[int] = []  # of `kept`, which stays sorted, so that thousands of entities a text stay quick
    for entity in sorted(distinct, key=lambda one: (one.start - one.end, one.start)):
        place = bisect_left(starts, entity.start)
        after = place < len(kept) and kept[place].start < entity.end
        before = place > 0 and kept[place - 1].end > entity.start
        if not after and not before:
            kept.insert(place, entity)
            starts.insert(place, entity.start)
    return tuple(kept), duplicates, len(distinct) - len(kept)
