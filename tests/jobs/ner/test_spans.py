"""Locations of entities: read by code points or UTF-16 units, checked against the token, written back."""

from __future__ import annotations

from typing import Any

import pytest

from jobkit.ner.spans import (
    CODE_POINTS,
    NO_LOCATION,
    PAST_THE_END,
    REVERSED,
    TOKEN_DIFFERS,
    UTF16,
    Entity,
    Units,
    locate,
    location_of,
    unit_of,
    without_overlaps,
)

FAMILY = "👩‍👩‍👧 Ada lives here"  # three emoji and two joiners: 5 code points, 8 UTF-16 units
ACCENTS = "Cafe\u0301 Zoe\u0308 opened"  # the accents are characters of their own


def at(start: object, end: object, token: object = None) -> dict[str, Any]:
    return {"start": start, "end": end} | ({} if token is None else {"token": token})


READ = {
    # name: (text, location, span found, unit that it speaks for)
    "the end is inclusive": ("Ada met Bo", at(0, 2, "Ada"), (0, 3), ""),
    "one character": ("a b", at(2, 2, "b"), (2, 3), ""),
    "up to the last character": ("met Bo", at(4, 5, "Bo"), (4, 6), ""),
    "offsets as strings": ("Ada met Bo", at("8", "9", "Bo"), (8, 10), ""),
    "offsets as whole floats": ("Ada met Bo", at(8.0, 9.0, "Bo"), (8, 10), ""),
    "an emoji before, by code points": (FAMILY, at(6, 8, "Ada"), (6, 9), CODE_POINTS),
    "an emoji before, by UTF-16 units": (FAMILY, at(9, 11, "Ada"), (6, 9), UTF16),
    "an emoji inside, by UTF-16 units": ("go 🚀 now", at(3, 4, "🚀"), (3, 4), UTF16),
    "an emoji inside, by code points": ("go 🚀 now", at(3, 3, "🚀"), (3, 4), CODE_POINTS),
    "carriage returns count": ("one\r\nAda\r\n", at(5, 7, "Ada"), (5, 8), ""),
    "combining marks count": (ACCENTS, at(6, 9, "Zoe\u0308"), (6, 10), ""),
    "without a token": ("Ada met Bo", at(8, 9), (8, 10), ""),
}


@pytest.mark.parametrize(("text", "location", "span", "unit"), READ.values(), ids=READ)
def test_a_location_is_found_in_its_text(text: str, location: object, span: tuple[int, int], unit: str) -> None:
    units = Units(text)
    located = locate(text, location, units)
    assert located.reason == ""
    assert located.span(unit or CODE_POINTS) == span
    assert unit_of([located]) == unit


REFUSED = {
    "past the end": ("short", at(3, 5, "rt!"), PAST_THE_END),
    "far past the end": ("short", at(10**9, 10**9 + 4), PAST_THE_END),
    "one past the end, no token": ("short", at(0, 5), PAST_THE_END),
    "past the end of a text with emoji": ("🚀🚀", at(0, 4, "x"), PAST_THE_END),
    "another word": ("Ada met Bo", at(0, 2, "Eve"), TOKEN_DIFFERS),
    "an exclusive end": ("Ada met Bo", at(0, 3, "Ada"), TOKEN_DIFFERS),
    "normalised token": (ACCENTS, at(6, 8, "Zo\u00eb"), TOKEN_DIFFERS),
    "line feeds for carriage returns": ("a\r\nb", at(0, 3, "a\nb"), TOKEN_DIFFERS),
    "half an emoji": ("🚀 go", at(1, 1, "x"), TOKEN_DIFFERS),
    "end before start": ("Ada", at(2, 1, ""), REVERSED),
    "negative": ("Ada", at(-1, 1), NO_LOCATION),
    "no numbers": ("Ada", at("one", None), NO_LOCATION),
    "true and false": ("Ada", at(False, True), NO_LOCATION),
    "half numbers": ("Ada", at(0.5, 1), NO_LOCATION),
    "not a number": ("Ada", at(float("nan"), float("inf")), NO_LOCATION),
    "digits of another script": ("Ada", at("\u0661", "\u0662"), NO_LOCATION),
    "endless digits": ("Ada", at("1" * 5000, 2), NO_LOCATION),
    "no location": ("Ada", None, NO_LOCATION),
    "a list": ("Ada", [0, 2], NO_LOCATION),
}


@pytest.mark.parametrize(("text", "location", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_location_that_does_not_fit_says_why_and_never_raises(text: str, location: object, reason: str) -> None:
    located = locate(text, location, Units(text))
    assert located.reason == reason
    assert located.span(CODE_POINTS) is None


def test_locations_that_fit_both_units_follow_those_that_fit_one() -> None:
    text = "🚀 aaaa Ada"
    units = Units(text)
    both = locate(text, at(3, 4, "aa"), units)  # there is an "aa" at 3 by code points and by UTF-16 units
    ada = locate(text, at(8, 10, "Ada"), units)
    assert unit_of([both]) == ""
    assert unit_of([both, ada]) == UTF16
    assert (both.span(CODE_POINTS), both.span(UTF16)) == ((3, 5), (2, 4))


@pytest.mark.parametrize("unit", [CODE_POINTS, UTF16])
@pytest.mark.parametrize("text", [FAMILY, ACCENTS, "plain", "go 🚀 now", "\r\n🚀"])
def test_what_is_written_is_read_back_as_the_same_span(text: str, unit: str) -> None:
    units = Units(text)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            first, last = location_of(start, end, units, unit)
            located = locate(text, at(first, last, text[start:end]), units)
            assert located.span(unit) == (start, end)


def test_of_two_entities_that_overlap_the_longer_stays_and_duplicates_count_once() -> None:
    a, b, inner, same = Entity(0, 9, "x"), Entity(9, 12, "y"), Entity(4, 9, "y"), Entity(0, 9, "x")
    kept, duplicates, overlaps = without_overlaps([inner, a, b, same])
    assert kept == (a, b)
    assert (duplicates, overlaps) == (1, 1)
    many = [Entity(n, n + 2, "x") for n in range(20_000)]
    kept, _, overlaps = without_overlaps(many)
    assert len(kept) == overlaps == 10_000
