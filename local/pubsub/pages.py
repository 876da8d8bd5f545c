"""Pages of names for the list calls."""

import base64
from collections.abc import Sequence

from local.pubsub.errors import InvalidArgument

_DEFAULT_SIZE = 100
_LARGEST_SIZE = 1000


def page(names: Sequence[str], size: int, token: str) -> tuple[list[str], str]:
    """The names after `token`, at most `size` (0 = 100), and the token of the next page or ''. Names are sorted."""
    if size < 0:
        raise InvalidArgument("page_size must not be negative.")
    try:
        after = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidArgument("Invalid page token.") from error
    rest = [name for name in names if name > after]
    size = min(size or _DEFAULT_SIZE, _LARGEST_SIZE)
    more = len(rest) > size
    return rest[:size], base64.urlsafe_b64encode(rest[size - 1].encode()).decode() if more else ""
