"""Which entries the index of images has, so that the rows of new images need not be asked for one by one."""

import re
import threading
from collections.abc import Callable

READS_A_PAGE = 20  # a page is listed for each so many reads that the pages before it did not spare
MAX_KNOWN = 500_000  # about 64 bytes of memory each
_ENTRY = re.compile(r"[0-9a-f]{64}\.json")
_DIGITS = 16  # of the 64: enough to tell so many apart
_END = 16**_DIGITS


class KnownEntries:
    """Learns the names of the index in their order, a page at a time. Safe in threads, none of which waits for another.

    A page tells as much as a thousand reads, and pages cost a twentieth of the reads at most: an index that is small
    beside the run is soon known whole, and of one that is large a little is learned at little cost.
    """

    def __init__(self, page: Callable[[str], tuple[list[str], str]]) -> None:
        """`page` gives (the last parts of names, the next page's token or "") of a token, "" for the first."""
        self._page = page
        self._listing = threading.Lock()
        self._known: set[int] = set()
        self._listed_to = -1  # no entry up to here is missing in `_known`
        self._token = ""
        self._pages = self._reads = 0

    def lacks(self, key: str) -> bool:
        """True for an entry that was not there when its part of the index was listed; False where it may be there."""
        number = int(key[:_DIGITS], 16)
        if number > self._listed_to and self._reads >= self._pages * READS_A_PAGE:
            self._learn()
        if number <= self._listed_to and number not in self._known:
            return True
        self._reads += 1  # threads may lose one
        return False

    def add(self, key: str) -> None:
        """Notes an entry that was made after the list. Where memory's bound is reached all of it is forgotten."""
        if len(self._known) < MAX_KNOWN:
            self._known.add(int(key[:_DIGITS], 16))
        else:
            self._listed_to = -1

    def _learn(self) -> None:
        """Lists the next page, unless another thread is at it."""
        if len(self._known) >= MAX_KNOWN or not self._listing.acquire(blocking=False):
            return
        try:
            names, token = self._page(self._token)
            numbers = [int(name[:_DIGITS], 16) for name in names if _ENTRY.fullmatch(name)]
            self._known.update(numbers)
            self._token = token
            self._pages += 1
            self._listed_to = max([self._listed_to, *numbers]) if token else _END
        finally:
            self._listing.release()
