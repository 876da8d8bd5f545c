"""GraphQL text to a tree: one operation, its variables and its selections; nothing that no Labelbox client sends.

Grammar: https://spec.graphql.org/October2021/ (without fragments, directives and block strings).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from local.labelbox.errors import BadSyntax

_TOKEN = re.compile(
    r"""(?P<skip>[\s,\ufeff]+|\#[^\n]*)
      | (?P<name>[_A-Za-z][_0-9A-Za-z]*)
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<mark>[!$(){}:=@\[\]|])""",
    re.VERBOSE,
)
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Variable:
    """`$name` in an argument."""

    name: str


@dataclass(frozen=True)
class Selection:
    """A field asked for: where its answer goes, its arguments, and what of it is wanted (empty: all)."""

    name: str
    alias: str
    arguments: dict[str, object]
    selections: tuple[Selection, ...]


@dataclass(frozen=True)
class VariableDefinition:
    """A declared variable; `required` when its type ends in `!` and it has no default."""

    name: str
    type_text: str
    required: bool
    default: object


@dataclass(frozen=True)
class Operation:
    """One operation of a document; `kind` is query or mutation."""

    kind: str
    name: str
    variables: tuple[VariableDefinition, ...]
    selections: tuple[Selection, ...]


@lru_cache(maxsize=256)
def parse(text: str) -> Operation:
    """The only operation of a document. BadSyntax when there is none, more than one, or a construct not known here."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def document(self) -> Operation:
        kind, name = "query", ""
        variables: tuple[VariableDefinition, ...] = ()
        if self._peek() != "{":
            kind = self._name()
            if kind not in ("query", "mutation"):
                raise BadSyntax(f'Syntax Error: Unexpected Name "{kind}".')
            if self._peek() not in ("(", "{"):
                name = self._name()
            variables = self._variable_definitions()
        selections = self._selections()
        if self._peek() != "":
            raise BadSyntax(f"Syntax Error: Expected one operation, found {self._peek()!r} after it.")
        return Operation(kind, name, variables, selections)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise BadSyntax("Syntax Error: Unexpected <EOF>.")
        self._at += 1
        return token

    def _expect(self, mark: str) -> None:
        found = self._next()
        if found != mark:
            raise BadSyntax(f"Syntax Error: Expected {mark!r}, found {found!r}.")

    def _name(self) -> str:
        token = self._next()
        if not (token[0].isalpha() or token[0] == "_"):
            raise BadSyntax(f"Syntax Error: Expected Name, found {token!r}.")
        return token

    def _variable_definitions(self) -> tuple[VariableDefinition, ...]:
        found: list[VariableDefinition] = []
        if self._peek() != "(":
            return ()
        self._next()
        while self._peek() != ")":
            self._expect("$")
            name = self._name()
            self._expect(":")
            type_text = self._type()
            default: object = None
            has_default = self._peek() == "="
            if has_default:
                self._next()
                default = self._value()
            found.append(VariableDefinition(name, type_text, type_text.endswith("!") and not has_default, default))
        self._next()
        return tuple(found)

    def _type(self) -> str:
        if self._peek() == "[":
            self._next()
            text = f"[{self._type()}]"
            self._expect("]")
        else:
            text = self._name()
        if self._peek() == "!":
            self._next()
            text += "!"
        return text

    def _selections(self) -> tuple[Selection, ...]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadSyntax(f"Syntax Error: Selections nest deeper than {_MAX_DEPTH}.")
        self._expect("{")
        found: list[Selection] = []
        while self._peek() != "}":
            found.append(self._selection())
        self._next()
        self._depth -= 1
        if not found:
            raise BadSyntax("Syntax Error: Expected Name, found '}'.")
        return tuple(found)

    def _selection(self) -> Selection:
        alias = name = self._name()
        if self._peek() == ":":
            self._next()
            name = self._name()
        arguments: dict[str, object] = {}
        if self._peek() == "(":
            self._next()
            arguments = self._pairs(")")
        selections = self._selections() if self._peek() == "{" else ()
        return Selection(name, alias, arguments, selections)

    def _pairs(self, end: str) -> dict[str, object]:
        found: dict[str, object] = {}
        while self._peek() != end:
            name = self._name()
            self._expect(":")
            found[name] = self._value()
        self._next()
        return found

    def _value(self) -> object:
        token = self._next()
        if token == "$":
            return Variable(self._name())
        if token == "{":
            return self._pairs("}")
        if token == "[":
            items: list[object] = []
            while self._peek() != "]":
                items.append(self._value())
            self._next()
            return items
        if token[0] == '"' or token[0] == "-" or token[0].isdigit():
            try:
                return json.loads(token)
            except ValueError as error:
                raise BadSyntax(f"Syntax Error: {token} is no value.") from error
        if token[0].isalpha() or token[0] == "_":
            return {"true": True, "false": False, "null": None}.get(token, token)  # any other name is an enum's value
        raise BadSyntax(f"Syntax Error: Unexpected {token!r}.")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadSyntax(f"Syntax Error: Unexpected character {text[at]!r}.")
        if match.lastgroup != "skip":
            found.append(match.group())
        at = match.end()
    return found
