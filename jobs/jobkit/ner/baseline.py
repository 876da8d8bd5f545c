"""The baseline that a named-entity model must beat: finding again the names that training rows already name.

As in the CoNLL-2003 task: every known name in a text is an entity of the class it most often had, the longest first.
"""

from collections import Counter
from collections.abc import Iterable

from jobkit.ner.spans import Entity
from jobkit.ner.tokens import places, snapped

MAX_NAMES = 200_000  # remembered at most; the first that are seen


class KnownNames:
    """Names (as runs of words, any letter case) and their most frequent class."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, ...], Counter[str]] = {}
        self._longest: dict[str, int] = {}

    def learn(self, text: str, entities: Iterable[Entity]) -> None:
        """Remembers the names of one training row."""
        spans = places(text)
        for entity in entities:
            first, after = snapped(entity.start, entity.end, spans)
            words = tuple(text[start:end].casefold() for start, end in spans[first:after])
            if words and (words in self._classes or len(self._classes) < MAX_NAMES):
                self._classes.setdefault(words, Counter())[entity.name] += 1
                self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))

    def find(self, text: str) -> tuple[Entity, ...]:
        """The known names of a text."""
        if not self._classes:
            return ()
        spans = places(text)
        words = [text[start:end].casefold() for start, end in spans]
        found: list[Entity] = []
        index = 0
        while index < len(words):
            length = self._length(words, index)
            if length:
                classes = self._classes[tuple(words[index : index + length])]
                start, end = spans[index][0], spans[index + length - 1][1]
                found.append(Entity(start, end, max(classes, key=lambda name: (classes[name], name))))
            index += length or 1
        return tuple(found)

    def _length(self, words: list[str], index: int) -> int:
        """How many words the longest known name at a place has; 0 where there is none."""
        for length in range(min(self._longest.get(words[index], 0), len(words) - index), 0, -1):
            if tuple(words[index : index + length]) in self._classes:
                return length
        return 0
