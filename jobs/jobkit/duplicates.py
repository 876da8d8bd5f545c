"""Finding contents that lie in more than one split, in eight bytes a row."""

import hashlib
from array import array
from collections.abc import Iterator

from jobkit.splits import SPLITS

_BITS = 2  # low bits of a key hold its split


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
