"""What a CRF sees of each token: its letters and shape, its neighbours, and clusters of words that are alike. Pure.

The clusters (k-means of word-piece vectors of all-MiniLM-L6-v2, Apache-2.0, see NOTICE) tell that "Anna" and "Boris"
are alike, though only one of them was ever labelled. jobs/train/ner/make_clusters.py makes the table again.
"""

import gzip
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from jobkit.ner.tokens import Place
from jobkit.text import wordpieces

TABLE = Path(__file__).with_name("clusters.json.gz")
WORDS = "words"
CLUSTERS = "clusters"
KINDS = (CLUSTERS, WORDS)

Features = list[str]


@lru_cache(maxsize=1)
def _table() -> dict[int, tuple[str, ...]]:
    """Number of a word piece -> its clusters, coarse to fine."""
    with gzip.open(TABLE, "rt", encoding="utf-8") as file:
        known = json.load(file)
    numbers = wordpieces.vocabulary()
    return {
        numbers[piece]: tuple(f"{size}.{cluster}" for size, cluster in zip("abc", clusters, strict=True))
        for piece, clusters in known.items()
        if piece in numbers
    }


@lru_cache(maxsize=100_000)
def clusters_of(word: str) -> tuple[str, ...]:
    """The clusters of the word's first piece, marked as whole where it is the only one; none for unknown signs."""
    found = wordpieces.words(word)
    pieces = wordpieces.pieces(found[0]) if found else ()
    if not pieces:
        return ()
    clusters = _table().get(pieces[0], ())
    if len(pieces) == 1 and len(found) == 1:
        return clusters
    return tuple(f"part.{cluster}" for cluster in clusters)


@lru_cache(maxsize=100_000)
def shape(word: str) -> str:
    """ "Xxxx" of "Anna", "dd" of "12": the kind of each character, runs of more than three cut short."""
    kinds: list[str] = []
    for character in word:
        kind = "X" if character.isupper() else "x" if character.isalpha() else "d" if character.isdigit() else character
        if kinds[-3:] != [kind] * 3:
            kinds.append(kind)
    return "".join(kinds)


@lru_cache(maxsize=100_000)
def _own(word: str, kind: str) -> tuple[str, ...]:
    lower = word.lower()
    found = [f"w={lower}", f"s={shape(word)}", f"n={min(len(word), 12)}"]
    for size in (1, 2, 3):
        if len(lower) > size:
            found += [f"p{size}={lower[:size]}", f"e{size}={lower[-size:]}"]
    if len(lower) > 4:
        found.append(f"e4={lower[-4:]}")
    if kind == CLUSTERS:
        found += [f"c={cluster}" for cluster in clusters_of(word)]
    return tuple(found)


@lru_cache(maxsize=200_000)
def _beside(word: str, kind: str, distance: int) -> tuple[str, ...]:
    lower = word.lower()
    found = [f"{distance}w={lower}", f"{distance}s={shape(word)}"]
    if kind == CLUSTERS:
        clusters = clusters_of(word)
        found += [f"{distance}c={cluster}" for cluster in (clusters if abs(distance) == 1 else clusters[:2])]
    return tuple(found)


_START = ("text-starts",)
_END = ("text-ends",)


def features(words: Sequence[str], text: str, places: Sequence[Place], kind: str) -> list[Features]:
    """The features of each token. `kind` is CLUSTERS or WORDS (without the table)."""
    found: list[Features] = []
    last = len(words) - 1
    for index, word in enumerate(words):
        own = [*_own(word, kind)]
        if index:
            before = words[index - 1]
            own += _beside(before, kind, -1)
            own.append(f"-s={shape(before)}|{shape(word)}")
            own += _beside(words[index - 2], kind, -2) if index > 1 else _START
            if "\n" in text[places[index - 1][1] : places[index][0]]:
                own.append("line-starts")
            elif places[index - 1][1] == places[index][0]:
                own.append("glued")
        else:
            own += _START
            own.append("first")
        if index < last:
            after = words[index + 1]
            own += _beside(after, kind, 1)
            own.append(f"+s={shape(word)}|{shape(after)}")
            own += _beside(words[index + 2], kind, 2) if index + 1 < last else _END
        else:
            own.append("last")
        found.append(own)
    return found
