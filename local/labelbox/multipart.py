"""GraphQL multipart requests: `operations`, `map` and the files that the map puts into the variables.

https://github.com/jaydenseric/graphql-multipart-request-spec, as far as the labelbox SDK uses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.message import Message

from local.labelbox.errors import BadInput

_VARIABLE = re.compile(r"variables\.([_A-Za-z][_0-9A-Za-z]*)")


def request_of(content_type: str, body: bytes) -> dict[str, object]:
    """The {"query", "variables"} of a multipart body, with each file's bytes as the value of its variable."""
    parts = _parts(content_type, body)
    try:
        operations, places = json.loads(parts["operations"]), json.loads(parts["map"])
    except (KeyError, ValueError) as error:
        raise BadInput(f"A multipart request needs the JSON parts operations and map ({error}).") from error
    if not isinstance(operations, dict) or not isinstance(places, Mapping):
        raise BadInput("The parts operations and map must be JSON objects.")
    variables = dict(operations.get("variables") or {})
    for part, paths in places.items():
        for path in paths:
            match = _VARIABLE.fullmatch(path)
            if match is None or part not in parts:
                raise BadInput(f"The map's {part!r} -> {path!r} names no part or no variable.")
            variables[match.group(1)] = parts[part]
    return {**operations, "variables": variables}


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    boundary = _parameter(f"Content-Type: {content_type}", "content-type", "boundary")
    if not boundary:
        raise BadInput("A multipart request needs a boundary.")
    found: dict[str, bytes] = {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if piece.startswith(b"--"):
            break
        head, separator, content = piece.partition(b"\r\n\r\n")
        name = _disposition_name(head.decode("utf-8", "replace"))
        if separator and name:
            found[name] = content
    return found


def _disposition_name(head: str) -> str:
    for line in head.split("\r\n"):
        if line.lower().startswith("content-disposition:"):
            return _parameter(line, "content-disposition", "name")
    return ""


def _parameter(line: str, header: str, name: str) -> str:
    message = Message()
    message[header] = line.partition(":")[2].strip()
    return str(message.get_param(name, "", header=header) or "")
