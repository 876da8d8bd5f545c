"""Finding what comes twice, in a few bytes a row: data rows, and contents that lie in more than one split."""

import hashlib
from array import array
from collections.abc import Iterator

from jobkit.splits import SPLITS

REPEATED = "repeated_data_row"  # why a row is skipped that came before
_BITS = 2  # low bits of a key hold its split
_HASHES = 2**64 - 1


class SplitDuplicates:
    """Remembers a digest of each row's content with its split; rows outside the three splits do not count."""

    def __init__(self) -> None:
        self._keys = array("Q")

    @staticmethod
    def digest(content: str) -> int:
        """62 bits of the content's hash; letter case and runs of white space make no difference."""
        same = " ".join(content.casefold().split())
        return int.from_bytes(hashlib.blake2b(same.encode("utf-8"), digest_size=8).digest(), "big") >> _BITS

    def add(self, content: str, split: str) -> None:
        """Remembers one row."""
        if split in SPLITS:
            self._keys.append(self.digest(content) << _BITS | SPLITS.index(split))

    def across(self) -> frozenset[int]:
        """Digests of contents that were seen in several splits."""
        return frozenset(self._repeated())

    def _repeated(self) -> Iterator[int]:
        last, splits = -1, 0
        for key in sorted(self._keys):
            digest, split = key >> _BITS, key & (2**_BITS - 1)
            if digest != last:
                last, splits = digest, 0
            splits |= 1 << split
            if splits & (splits - 1):  # more than one bit
                yield digest


class SeenRows:
    """Tells data rows that came before, by 64 bits of their id; a set would take four times the space."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def again(self, data_row_id: str) -> bool:
        """Whether the row was seen before; it is from now on."""
        if 2 * self._count >= len(self._table):
            self._grow()
        return not self._put(hash(data_row_id) % _HASHES + 1)  # 0 is an empty place

    def _put(self, key: int) -> bool:
        table, mask = self._table, len(self._table) - 1
        place = key & mask
        while found := table[place]:
            if found == key:
                return False
            place = (place + 1) & mask
        table[place] = key
        self._count += 1
        return True

    def _grow(self) -> None:
        keys, self._count = self._table, 0
        self._table = array("Q", bytes(16 * len(keys)))
        for key in keys:
            if key:
                self._put(key)
