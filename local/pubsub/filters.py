"""The filter language of subscriptions: parsed once, then asked about each message's attributes.

Grammar (https://cloud.google.com/pubsub/docs/subscription-message-filter):
    expression: term (AND term)* | term (OR term)*     AND and OR mix only with parentheses
    term:       NOT term | -term | ( expression ) | attributes:KEY | attributes.KEY = "v" | attributes.KEY != "v"
                | hasPrefix(attributes.KEY, "v")
A message without the key does not equal any value, so `!=` matches it.
"""

import json
import re
from collections.abc import Callable, Mapping

from local.pubsub.errors import InvalidArgument

Filter = Callable[[Mapping[str, str]], bool]

MAX_FILTER_BYTES = 256
_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w-]*\w)|(?P<sign>!=|[-=:.,()]))', re.UNICODE)
_RESERVED = {"AND", "OR", "NOT"}


def parse_filter(text: str) -> Filter:
    """The test that `text` describes; the empty filter matches everything.

    Raises InvalidArgument for more than 256 bytes and for anything that is not in the language.
    """
    if len(text.encode()) > MAX_FILTER_BYTES:
        raise InvalidArgument(f"The filter is longer than {MAX_FILTER_BYTES} bytes.")
    if not text.strip():
        return lambda attributes: True
    return _Parser(text).parse()


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidArgument(f"Invalid filter: cannot read {text[position:]!r}.")
        word = match["word"]
        if word is not None and word.startswith("-") and found[-1:] != ["."] and found[-1:] != [":"]:
            # A minus before a term is NOT; inside a key (after '.' or ':') it belongs to the key.
            found.append("-")
            word = word.lstrip("-")
        found.append(word or match["string"] or match["sign"])
        position = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens; each method consumes what it names."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    def parse(self) -> Filter:
        whole = self._expression()
        if self._peek():
            raise self._wrong(f"unexpected {self._peek()!r}")
        return whole

    def _expression(self) -> Filter:
        terms = [self._term()]
        operator = self._peek()
        if operator not in ("AND", "OR"):
            return terms[0]
        while self._peek() == operator:
            self._take()
            terms.append(self._term())
        if self._peek() in ("AND", "OR"):
            raise self._wrong("AND and OR need parentheses when they are combined")
        if operator == "AND":
            return lambda attributes: all(term(attributes) for term in terms)
        return lambda attributes: any(term(attributes) for term in terms)

    def _term(self) -> Filter:
        token = self._take()
        if token in ("NOT", "-"):
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if token == "(":
            inner = self._expression()
            self._expect(")")
            return inner
        if token == "hasPrefix":
            return self._prefix()
        if token != "attributes":
            raise self._wrong(f"expected attributes, hasPrefix, NOT or '(', found {token!r}")
        return self._attribute()

    def _attribute(self) -> Filter:
        sign = self._take()
        key = self._key()
        if sign == ":":
            return lambda attributes: key in attributes
        if sign != ".":
            raise self._wrong("expected ':' or '.' after attributes")
        comparison = self._take()
        if comparison not in ("=", "!="):
            raise self._wrong(f"expected = or !=, found {comparison!r}")
        value = self._string()
        if comparison == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _prefix(self) -> Filter:
        for token in ("(", "attributes", "."):
            self._expect(token)
        key = self._key()
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _key(self) -> str:
        token = self._take()
        if token.startswith('"'):
            return self._unquoted(token)
        if not re.fullmatch(r"[\w-]+", token) or token in _RESERVED:
            raise self._wrong(f"{token!r} is not an attribute key")
        return token

    def _string(self) -> str:
        token = self._take()
        if not token.startswith('"'):
            raise self._wrong(f"expected a value in double quotes, found {token!r}")
        return self._unquoted(token)

    def _unquoted(self, token: str) -> str:
        try:
            return str(json.loads(token))
        except ValueError as error:
            raise self._wrong(f"unknown escape in {token}") from error

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        if not token:
            raise self._wrong("it ends too early")
        self._next += 1
        return token

    def _expect(self, token: str) -> None:
        found = self._take()
        if found != token:
            raise self._wrong(f"expected {token!r}, found {found!r}")

    def _wrong(self, reason: str) -> InvalidArgument:
        return InvalidArgument(f"Invalid filter {self._text!r}: {reason}.")
