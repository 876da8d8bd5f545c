"""List filters of Vertex: `labels.a=x AND NOT state="JOB_STATE_FAILED"` becomes a test of a resource.

The language is that of https://google.aip.dev/160 as far as Vertex documents it for lists: AND, OR (which binds tighter
than AND there), NOT, parentheses; `=`, `!=`, `:`, `<`, `<=`, `>`, `>=`; and per kind of resource the fields that
its List request names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import grpc

from local.vertex.names import last_part
from local.vertex.refusal import Refused

Test = Callable[[Any], bool]

TOKEN = re.compile(
    r"""\s*(?: (?P<punctuation>[()]|!=|<=|>=|=|<|>|:)
             | "(?P<quoted>(?:[^"\\]|\\.)*)"
             | (?P<word>labels\."(?:[^"\\]|\\.)*" | [^\s()=<>:!"]+) )""",
    re.VERBOSE,
)
ALL_ORDERS = frozenset({"=", "!=", "<", "<=", ">", ">="})
LABEL_OPERATORS = frozenset({"=", "!=", ":"})


@dataclass(frozen=True)
class Field:
    """A field that a filter may name: how it is read, and which operators Vertex documents for it."""

    read: Callable[[Any], Any]
    operators: frozenset[str]
    values: frozenset[str] | None = None


def _text(name: str, operators: str) -> Field:
    return Field(lambda resource: getattr(resource, name), frozenset(operators.split()))


def _time(name: str) -> Field:
    return Field(lambda resource: getattr(resource, name), ALL_ORDERS)


def _state(names: frozenset[str]) -> Field:
    return Field(lambda resource: resource.state.name, frozenset({"=", "!="}), names)


def job_fields(states: frozenset[str], *texts: str) -> dict[str, Field]:
    """Return what lists of jobs and pipelines may be filtered by (their proto's comments on `filter`)."""
    fields = {"display_name": _text("display_name", "= != :"), "state": _state(states)}
    fields["create_time"] = _time("create_time")
    return fields | {name: _text(name, "= != :") for name in texts}


DATASET_FIELDS = {
    "display_name": _text("display_name", "= !="),
    "metadata_schema_uri": _text("metadata_schema_uri", "= !="),
}
MODEL_FIELDS = {
    "display_name": _text("display_name", "= !="),
    "model": Field(lambda resource: last_part(resource.name), frozenset({"=", "!="})),
}
MODEL_VERSION_FIELDS: dict[str, Field] = {}  # labels only


def parse(text: str, fields: dict[str, Field]) -> Test:
    """Return the test that a filter describes; an empty filter accepts all. Raises Refused for anything else."""
    return _Parser(text, fields).parse() if text.strip() else lambda resource: True


def needed_texts(text: str) -> list[bytes]:
    """Return what the bytes of every accepted resource hold: label values that the filter asks for without an OR, a NOT
    or a parenthesis. Of thousands of jobs only the few that have them need to be read."""
    parts = [match for match in TOKEN.finditer(text) if match.lastgroup]
    if any(match["word"] in ("OR", "NOT") or match["punctuation"] in ("(", ")") for match in parts):
        return []
    terms = zip(parts, parts[1:], parts[2:], strict=False)
    return [
        (value["quoted"] or value["word"] or "").encode()
        for name, operator, value in terms
        if (name["word"] or "").startswith("labels.") and operator["punctuation"] == "=" and "\\" not in value[0]
    ]


class _Parser:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str, fields: dict[str, Field]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = self._split()
        self._next = 0

    def parse(self) -> Test:
        test = self._conjunction()
        if self._next < len(self._tokens):
            raise self._refusal(f"unexpected {self._tokens[self._next][1]!r}")
        return test

    def _split(self) -> list[tuple[str, str]]:
        tokens, position = [], 0
        text = self._text.rstrip()
        while position < len(text):
            match = TOKEN.match(text, position)
            if not match:
                raise self._refusal(f"cannot read {text[position:]!r}")
            kind = str(match.lastgroup)
            tokens.append((kind, re.sub(r"\\(.)", r"\1", match[kind]) if kind == "quoted" else match[kind]))
            position = match.end()
        return tokens

    def _conjunction(self) -> Test:
        tests = [self._alternatives()]
        while self._take("word", "AND"):
            tests.append(self._alternatives())
        return lambda resource: all(test(resource) for test in tests)

    def _alternatives(self) -> Test:
        tests = [self._factor()]
        while self._take("word", "OR"):
            tests.append(self._factor())
        return lambda resource: any(test(resource) for test in tests)

    def _factor(self) -> Test:
        if self._take("word", "NOT"):
            test = self._factor()
            return lambda resource: not test(resource)
        if self._take("punctuation", "("):
            test = self._conjunction()
            if not self._take("punctuation", ")"):
                raise self._refusal("a parenthesis is not closed")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        (_, name), (_, operator) = self._need("word"), self._need("punctuation")
        _, value = self._need("word", "quoted")
        if name.startswith("labels."):
            return self._label(name.removeprefix("labels.").strip('"'), operator, value)
        field = self._fields.get(name)
        if field is None:
            raise self._refusal(f"unknown field {name!r}")
        if operator not in field.operators:
            raise self._refusal(f"operator {operator!r} is not supported for {name!r}")
        if field.values is not None and value not in field.values:
            raise self._refusal(f"unknown value {value!r} for {name!r}")
        return _comparison(field, operator, self._moment(value) if field.operators is ALL_ORDERS else value)

    def _label(self, key: str, operator: str, value: str) -> Test:
        if operator not in LABEL_OPERATORS or not key:
            raise self._refusal(f"operator {operator!r} is not supported for labels")
        if operator == ":":
            if value != "*":
                raise self._refusal("labels.key:* is the only use of ':' with labels")
            return lambda resource: key in resource.labels
        if operator == "=":
            return lambda resource: key in resource.labels and resource.labels[key] == value
        return lambda resource: key not in resource.labels or resource.labels[key] != value

    def _moment(self, value: str) -> datetime:
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError as error:
            raise self._refusal(f"{value!r} is not an RFC 3339 time") from error
        if moment.tzinfo is None:
            raise self._refusal(f"{value!r} has no time zone")
        return moment

    def _take(self, kind: str, text: str) -> bool:
        found = self._next < len(self._tokens) and self._tokens[self._next] == (kind, text)
        self._next += found
        return found

    def _need(self, *kinds: str) -> tuple[str, str]:
        if self._next == len(self._tokens) or self._tokens[self._next][0] not in kinds:
            raise self._refusal("a comparison is field, operator, value")
        self._next += 1
        return self._tokens[self._next - 1]

    def _refusal(self, reason: str) -> Refused:
        return Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Invalid filter {self._text!r}: {reason}.")


def _comparison(field: Field, operator: str, value: Any) -> Test:
    read = field.read
    tests: dict[str, Test] = {
        "=": lambda resource: read(resource) == value,
        "!=": lambda resource: read(resource) != value,
        "<": lambda resource: read(resource) < value,
        "<=": lambda resource: read(resource) <= value,
        ">": lambda resource: read(resource) > value,
        ">=": lambda resource: read(resource) >= value,
        ":": lambda resource: fnmatchcase(read(resource), value) or value in read(resource),
    }
    return tests[operator]
