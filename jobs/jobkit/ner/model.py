"""A named-entity model: a conditional random field over tokens, saved as crfsuite's own file plus JSON (no pickle).

Long texts are read in overlapping windows, so none is cut. The confidence of an entity is the least sure of what it
rests on: that each of its tokens belongs to it, and that the next one does not.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycrfsuite

from jobkit.errors import BadConfiguration
from jobkit.ner.features import KINDS, features
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import Place, places, snapped, windows, words_of

VERSION = 1
OUTSIDE = "O"
WEIGHTS_FILE = "model.crfsuite"
DESCRIPTION_FILE = "model.json"
_TAG = re.compile(r"[BI]\d+")


def begin(number: int) -> str:
    """The tag of an entity's first token; tags hold the class's number, for its name may be anything."""
    return f"B{number}"


def inside(number: int) -> str:
    """The tag of an entity's other tokens."""
    return f"I{number}"


def tags_of(spans: list[Place], entities: Sequence[Entity], numbers: dict[str, int]) -> list[str]:
    """The tag of each token; an entity that begins or ends within a token takes the whole token."""
    tags = [OUTSIDE] * len(spans)
    for entity in entities:
        first, after = snapped(entity.start, entity.end, spans)
        number = numbers[entity.name]
        for index in range(first, after):
            tags[index] = begin(number) if index == first else inside(number)
    return tags


@dataclass(frozen=True, slots=True)
class _Token:
    """What one token was taken for. `own` is how sure its tag is; `goes_on` how likely it continues class `number`'s
    entity before it."""

    tag: str
    own: float
    goes_on: dict[str, float]


class EntityModel:
    """Finds entities. Not safe in threads: crfsuite's tagger keeps the text that it reads."""

    def __init__(self, classes: Sequence[str], kind: str, weights: bytes) -> None:
        self.classes = tuple(classes)
        self.kind = kind
        self._weights = weights
        self._tagger: Any = pycrfsuite.Tagger()
        self._tagger.open_inmemory(weights)
        self._known = frozenset(self._tagger.labels())

    def find(self, text: str) -> tuple[Entity, ...]:
        """The entities of a text, in its order; none overlap."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair becomes "?": crfsuite dies of it
        spans = places(text)
        words = words_of(text, spans)
        tokens: list[_Token] = []
        for low, high, first, after in windows(len(spans)):
            self._tagger.set(features(words[low:high], text, spans[low:high], self.kind))
            tags = self._tagger.tag()
            tokens += [self._token(tags, index - low) for index in range(first, after)]
        return tuple(self._entities(spans, tokens))

    def _token(self, tags: list[str], index: int) -> _Token:
        tag = tags[index]
        before = tags[index - 1] if index else OUTSIDE
        if tag == OUTSIDE and before == OUTSIDE:
            return _NOTHING  # nearly all tokens: nobody asks how sure they are
        own = self._tagger.marginal(tag, index) if tag != OUTSIDE else 1.0
        follows = f"I{before[1:]}"
        goes_on = {}
        if before != OUTSIDE and follows in self._known:
            goes_on[follows] = self._tagger.marginal(follows, index)
        return _Token(tag, own, goes_on)

    def _entities(self, spans: list[Place], tokens: list[_Token]) -> list[Entity]:
        found: list[Entity] = []
        index = 0
        while index < len(tokens):
            if tokens[index].tag == OUTSIDE:
                index += 1
                continue
            first, number = index, tokens[index].tag[1:]
            sure = tokens[index].own
            index += 1
            while index < len(tokens) and tokens[index].tag == f"I{number}":
                sure = min(sure, tokens[index].own)
                index += 1
            if index < len(tokens):
                sure = min(sure, 1.0 - tokens[index].goes_on.get(f"I{number}", 0.0))
            found.append(
                Entity(spans[first][0], spans[index - 1][1], self.classes[int(number)], min(max(sure, 0.0), 1.0))
            )
        return found

    def save(self, folder: Path) -> None:
        """Writes model.crfsuite and model.json."""
        (folder / WEIGHTS_FILE).write_bytes(self._weights)
        body = {"version": VERSION, "classes": list(self.classes), "features": self.kind}
        (folder / DESCRIPTION_FILE).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "EntityModel":
        """Reads what save wrote; it finds the same entities with the same confidences."""
        body = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        if body.get("version") != VERSION or body.get("features") not in KINDS:
            raise BadConfiguration("The model is of a kind that this version does not know.")
        return cls(body["classes"], body["features"], (folder / WEIGHTS_FILE).read_bytes())


_NOTHING = _Token(OUTSIDE, 1.0, {})
