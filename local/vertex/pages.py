"""Pages of a list: Vertex gives at most so many resources a call and a token for the rest."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import grpc

from local.vertex.refusal import Refused

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000


def page(resources: Sequence[Any], size: int, token: str) -> tuple[Sequence[Any], str]:
    """Return one page and the next token, empty at the end.

    The token names the last resource of its page, so what is created between two calls moves nothing; refuses a
    negative size and a token that is not one of ours.
    """
    if size < 0:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "page_size must not be negative.")
    size = min(size or DEFAULT_SIZE, LARGEST_SIZE)
    start = _position_after(resources, token) if token else 0
    chosen = resources[start : start + size]
    more = start + size < len(resources)
    return chosen, base64.urlsafe_b64encode(chosen[-1].name.encode()).decode() if more else ""


def _position_after(resources: Sequence[Any], token: str) -> int:
    try:
        name = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "page_token is invalid.") from error
    for position, resource in enumerate(resources):
        if resource.name == name:
            return position + 1
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "page_token is invalid or its page is gone.")
