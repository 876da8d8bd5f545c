"""Texts cut into words and signs with their places, and long texts cut into windows. Pure.

Scripts without spaces between words are cut into characters, so that an entity's border can fall anywhere in them.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

Place = tuple[int, int]  # code points, end exclusive

WINDOW = 256  # tokens read at once
MAX_WORD = 64  # letters of a word that are looked at: a "word" of a million letters must not be kept
CONTEXT = 48  # tokens that a window reads beyond those it decides about, on either side

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Japanese and Chinese
)


def _marks() -> str:
    """Ranges of combining marks of the basic plane, which belong to the character before them."""
    ranges: list[list[int]] = []
    for code in range(0x10000):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ranges)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    mark = f"[{_marks()}\u200d]"
    letter = f"(?:(?![{_UNSPACED}])[^\\W\\d_]{mark}*)"
    return re.compile(f"{letter}+|\\d+|[^\\s]{mark}*")


def places(text: str) -> list[Place]:
    """Where the words, numbers and signs of the text stand, in order; white space is left out."""
    return [found.span() for found in _pattern().finditer(text)]


def words_of(text: str, spans: list[Place]) -> list[str]:
    """The texts of the places, as far as features look at them; equal words are one object, which keeps memory low."""
    return [sys.intern(text[start : min(end, start + MAX_WORD)]) for start, end in spans]


def windows(length: int) -> Iterator[tuple[int, int, int, int]]:
    """(first read, after the last read, first decided, after the last decided) of each window over `length` tokens."""
    if length <= WINDOW:
        yield 0, length, 0, length
        return
    step = WINDOW - 2 * CONTEXT
    for start in range(0, length, step):
        end = min(start + step, length)
        yield max(start - CONTEXT, 0), min(end + CONTEXT, length), start, end


def snapped(start: int, end: int, spans: list[Place]) -> tuple[int, int]:
    """The (first, after the last) token that a span touches; equal numbers where it touches none."""
    low, high = 0, len(spans)
    while low < high:
        middle = (low + high) // 2
        if spans[middle][1] <= start:
            low = middle + 1
        else:
            high = middle
    after = low
    while after < len(spans) and spans[after][0] < end:
        after += 1
    return low, after
