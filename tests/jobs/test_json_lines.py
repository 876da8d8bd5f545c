"""JSON by the line: read as json reads it, down to strange numbers, and written so that every reader gets it back."""

import json
import math
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobkit.json_lines import dumps, loads

DEEP = 200  # levels, more than orjson writes


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


READ: dict[str, str | bytes] = {
    "half a surrogate pair": '{"text": "a\\ud800b", "id": "r"}',
    "the other half": b'"\\udc00"',
    "two first halves": b'"\\ud83d\\ud83d"',
    "a whole pair": b'"\\ud83d\\ude80"',
    "half a pair in the text itself": '"\ud800"',
    "half a pair as three bytes": b'"\xed\xa0\x80"',
    "NaN": b'{"a": NaN}',
    "infinities": b"[Infinity, -Infinity]",
    "a float beyond all floats": b"[1e400, -1e400]",
    "the largest number of 64 bits": b"18446744073709551615",
    "one more": b"18446744073709551616",
    "the smallest number of 64 bits": b"-9223372036854775808",
    "one less": b"-9223372036854775809",
    "thirty digits": b'{"id": 123456789012345678901234567890}',
    "thirty digits in a text": b'"123456789012345678901234567890"',
    "a float of many digits": b"0.12345678901234567890123456789",
    "the smallest float": b"[5e-324, 4.9e-324, 1e-400]",
    "zeros with a sign": b"[-0, -0.0, 0e5]",
    "floats that are whole": b"[1.0, 1E5, 1e22]",
    "a key twice": b'{"a": 1, "b": 2, "a": 3}',
    "an empty key": b'{"": 0}',
    "NUL, written out": b'"a\\u0000b"',
    "line ends that are none": '"\u2028\u2029\x85\x7f"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": "é"}'.encode("utf-16"),
    "blanks around": b" \t{} \r\n",
    "deep": deep(DEEP),
}

REFUSED: dict[str, str | bytes] = {
    "nothing": b"",
    "blanks": "  ",
    "two values": b"{} {}",
    "half a line": b'{"a": [1, ',
    "a bare NUL": b'"a\x00b"',
    "a bare tab": b'"a\tb"',
    "a bare NUL behind": b"{}\x00",
    "not UTF-8": b'"\xff"',
    "cut UTF-8": b'"\xf0\x9f\x9a"',
    "a byte order mark in text": "\ufeff{}",
    "a comma too many": b"[1,]",
    "single quotes": b"{'a': 1}",
    "a leading zero": b"01",
    "no digit behind the point": b"1.",
    "a plus": b"+1",
    "more digits than Python counts": b"1" * (sys.get_int_max_str_digits() + 1),
    "an unknown escape": b'"\\x41"',
    "nan": b"nan",
}


def same(one: object, other: object) -> bool:
    """Equal to the type, the sign of zero, and NaN."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("line", READ.values(), ids=READ)
def test_a_line_is_read_as_json_reads_it(line: str | bytes) -> None:
    assert same(loads(line), json.loads(line))


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_a_line_that_json_refuses_is_refused(line: str | bytes) -> None:
    with pytest.raises(ValueError):
        json.loads(line)
    with pytest.raises(ValueError):
        loads(line)


@pytest.mark.parametrize("line", [deep(100_000), deep(100_000).encode(), '{"a":' * 100_000])
def test_a_line_deeper_than_python_goes_is_refused_and_does_no_harm(line: str | bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        loads(line)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_whatever_json_writes_is_read_the_same(value: Any, only_ascii: bool) -> None:
    line = json.dumps(value, ensure_ascii=only_ascii)
    assert same(loads(line), json.loads(line))
    if only_ascii:
        assert same(loads(line.encode()), json.loads(line))


class Span(NamedTuple):
    start: int
    end: int


WRITTEN: dict[str, tuple[object, bytes]] = {
    "letters of all alphabets": ({"a": 'é🚀\n"\\'}, '{"a":"é🚀\\n\\"\\\\"}'.encode()),
    "characters that some take for line ends": (
        "\u2028\u2029\x85\x1c\x0b",
        '"\u2028\u2029\x85\\u001c\\u000b"'.encode(),
    ),
    "NUL": ("a\x00", b'"a\\u0000"'),
    "floats in full": ([0.1 + 0.2, 5.0, -0.0, 1e300], b"[0.30000000000000004,5.0,-0.0,1e+300]"),
    "the order of keys": ({"b": 1, "a": 2}, b'{"b":1,"a":2}'),
    "64 bits": ([2**64 - 1, -(2**63)], b"[18446744073709551615,-9223372036854775808]"),
    "more than 64 bits": ({"a": 2**64, "b": "é"}, '{"a":18446744073709551616,"b":"é"}'.encode()),
    "keys that are numbers": ({1: "a", 0.5: "b"}, b'{"1":"a","0.5":"b"}'),
    "tuples, named or not": ([(1, 2), Span(3, 4)], b"[[1,2],[3,4]]"),
    "no numbers": ([math.nan, math.inf, -math.inf], b"[null,null,null]"),
    "no numbers beside a long one": ([math.nan, 2**64], b"[null,18446744073709551616]"),
    "nothing": ({}, b"{}"),
}


@pytest.mark.parametrize(("value", "line"), WRITTEN.values(), ids=WRITTEN)
def test_what_is_written(value: object, line: bytes) -> None:
    assert dumps(value) == line


def test_more_levels_than_orjson_writes_are_written() -> None:
    levels = 400
    value = json.loads(deep(levels))
    assert dumps(value) == deep(levels).encode()


@pytest.mark.parametrize("value", [{"a": "\ud800"}, "\udfff", {"\ud800": 1}, ["\ud800", 2**64]])
def test_half_a_surrogate_pair_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        dumps(value)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), {(1, 2): 3}])
def test_what_is_not_json_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_is_written_is_one_line_and_json_reads_it_back(value: Any) -> None:
    line = dumps(value)
    assert b"\n" not in line and b"\r" not in line
    assert same(json.loads(line), value)
    assert same(loads(line), value)
