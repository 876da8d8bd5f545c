"""BERT's uncased word pieces, from the vocabulary that lies beside this file: text in, piece numbers out. Pure.

The rules are those of Google's BERT (Apache-2.0, see NOTICE): clean, lower case, strip accents, split at white space,
punctuation and CJK characters, then the longest known pieces from the left.
"""

import gzip
import unicodedata
from functools import lru_cache
from pathlib import Path

VOCABULARY = Path(__file__).with_name("wordpiece_vocabulary.txt.gz")
UNKNOWN = "[UNK]"
START = "[CLS]"
END = "[SEP]"
PADDING = 0
MAX_WORD = 100
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, int]:
    """piece -> number; pieces that go on a word start with ##."""
    with gzip.open(VOCABULARY, "rt", encoding="utf-8", newline="\n") as lines:
        return {line.removesuffix("\n"): number for number, line in enumerate(lines)}


@lru_cache(maxsize=65536)
def _kind(character: str) -> str:
    """ "drop", "space", "alone" (a word of its own) or "part"."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or category.startswith("Z"):
        return "space"
    code = ord(character)
    if code in (0, 0xFFFD) or category.startswith("C"):
        return "drop"
    ascii_sign = 33 <= code <= 126 and not character.isalnum()
    if ascii_sign or category.startswith("P") or any(low <= code <= high for low, high in _CJK):
        return "alone"
    return "part"


def words(text: str) -> list[str]:
    """Lower-case words and signs, without accents."""
    found: list[str] = []
    word: list[str] = []
    for character in unicodedata.normalize("NFD", text.lower()):
        if unicodedata.category(character) == "Mn":
            continue
        kind = _kind(character)
        if kind == "part":
            word.append(character)
        elif kind != "drop":
            if word:
                found.append("".join(word))
                word = []
            if kind == "alone":
                found.append(character)
    if word:
        found.append("".join(word))
    return found


@lru_cache(maxsize=65536)
def pieces(word: str) -> tuple[int, ...]:
    """The numbers of a word's pieces; a word that cannot be put together is unknown."""
    known = vocabulary()
    unknown = (known[UNKNOWN],)
    if len(word) > MAX_WORD:
        return unknown
    found = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        end = len(word)
        while end > start and prefix + word[start:end] not in known:
            end -= 1
        if end == start:
            return unknown
        found.append(known[prefix + word[start:end]])
        start = end
    return tuple(found)


def encode(text: str) -> list[int]:
    """Piece numbers of the text, without start and end marks."""
    return [number for word in words(text) for number in pieces(word)]
