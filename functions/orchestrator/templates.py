"""Placeholders in pipeline files: `${parameters.seed}`, `${etl.export.training_file}`, `${job.data_uri}`,
`${image.inference.predict}` (the image that a job of this pipeline runs, by digest)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Scalar = str | int | float | bool

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


def references(value: object) -> Iterator[str]:
    """Every placeholder's name in a value: a scalar, or a mapping or list of such."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def render(text: Scalar, values: Mapping[str, Scalar]) -> Scalar:
    """Put values in the place of placeholders. A text that is one placeholder alone keeps the value's own type.

    Raises KeyError with the placeholder's name if it has no value; definitions are checked when they are read, so
    this happens only when a job's result lacks an output that its definition promised.
    """
    if not isinstance(text, str):
        return text
    if whole := _PLACEHOLDER.fullmatch(text):
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda match: in_words(values[match[1]]), text)


def in_words(value: Scalar) -> str:
    """A value as it stands on a command line: booleans are `true` and `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
