"""Where one data row shows in a file of a run, and the file without it. Pure.

A line of a line file goes whole where any string in it is the row's id, its global key, its text or its image's
address. A JSON document loses those strings from its lists and maps. Pages and plain texts go whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

LINE_FILES = (".jsonl", ".ndjson")
DOCUMENTS = (".json",)
TEXTS = (".html", ".txt", ".csv", ".md")
_SHORTEST_EXCERPT = 40  # letters of a text that a page may show of it


@dataclass(frozen=True)
class Traces:
    """What a data row is known by. `contents` are its text or the addresses of its image."""

    names: frozenset[str]
    contents: frozenset[str] = frozenset()

    @property
    def strings(self) -> frozenset[str]:
        """All of them."""
        return self.names | self.contents

    @property
    def excerpts(self) -> frozenset[str]:
        """What gives the row away inside a page: its names, and the beginning of its contents."""
        beginnings = {content[:_SHORTEST_EXCERPT] for content in self.contents if len(content) >= _SHORTEST_EXCERPT}
        return self.names | beginnings


@dataclass(frozen=True)
class Cleaned:
    """A file without the row: its new content, None if it must go whole; `gone` says what was taken out."""

    content: bytes | None
    gone: str


def is_readable(name: str) -> bool:
    """Whether the files of this name can be looked into; models and caches cannot."""
    return name.endswith((*LINE_FILES, *DOCUMENTS, *TEXTS))


def cleaned(name: str, content: bytes, traces: Traces) -> Cleaned | None:
    """The file without the row; None where the row is not in it, or the file is of a kind that cannot be read."""
    if name.endswith(LINE_FILES):
        return _lines(content, traces.strings)
    if name.endswith(DOCUMENTS):
        return _document(content, traces.strings)
    text = content.decode("utf-8", "replace")
    if name.endswith(TEXTS) and any(part in text for part in traces.excerpts):
        return Cleaned(None, "the whole file")
    return None


def _lines(content: bytes, strings: Collection[str]) -> Cleaned | None:
    lines = content.split(b"\n")
    kept = [line for line in lines if not (line.strip() and _tells(line, strings))]
    gone = len(lines) - len(kept)
    return Cleaned(b"\n".join(kept), f"{gone} line{'s' if gone > 1 else ''}") if gone else None


def _tells(line: bytes, strings: Collection[str]) -> bool:
    try:
        return any(text in strings for text in _texts(json.loads(line)))
    except ValueError:
        return any(part.encode() in line for part in strings)


def _texts(value: object) -> Iterator[str]:
    """Every string in a JSON value, keys of maps too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _document(content: bytes, strings: Collection[str]) -> Cleaned | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    count = sum(text in strings for text in _texts(value))
    if not count:
        return None
    text = json.dumps(_without(value, strings), ensure_ascii=False, indent=1) + "\n"
    return Cleaned(text.encode("utf-8", "surrogatepass"), f"{count} mention{'s' if count > 1 else ''}")


def _without(value: object, strings: Collection[str]) -> object:
    if isinstance(value, dict):
        return {
            key: _without(item, strings)
            for key, item in value.items()
            if key not in strings and not (isinstance(item, str) and item in strings)
        }
    if isinstance(value, list):
        return [_without(item, strings) for item in value if not (isinstance(item, str) and item in strings)]
    return value
